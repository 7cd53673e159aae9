"""Writes docs/commands.md from the commands themselves."""

import inspect
from collections.abc import Iterator

import click

from gateway.cli.commands import PROGRAM
from gateway.cli.root import root

_HEAD = f"""\
# Commands

<!-- Made from gateway/cli by `make docs`; changes here are overwritten. -->

`{PROGRAM}` (the same as `python -m gateway`). Every command takes `--config FILE` and explains
itself with `--help`, with an example; lists take `--json`. What programs may read goes to the
standard output, what is meant for people to the standard error. Exit status: 0 done, 1 failed, 2
misuse.

Completion, for the start-up file of the shell:

```sh
eval "$(_REPLICATE_GATEWAY_COMPLETE=bash_source {PROGRAM})"     # bash: ~/.bashrc
eval "$(_REPLICATE_GATEWAY_COMPLETE=zsh_source {PROGRAM})"      # zsh: ~/.zshrc
_REPLICATE_GATEWAY_COMPLETE=fish_source {PROGRAM} | source      # fish: ~/.config/fish/config.fish
```
"""
_EVERYWHERE = frozenset({"--config", "--help"})


def commands_page() -> str:
    """Return ``docs/commands.md``."""
    lines = [_HEAD]
    ctx = click.Context(root)
    for name in root.list_commands(ctx):
        command = root.get_command(ctx, name)
        if command is None:
            continue
        lines += [f"## {name}", "", _help(command), ""]
        for path, each in _commands((name,), command):
            if len(path) > 1:
                lines += [f"**`{_usage(path, each)}`** {_help(each)}", ""]
            else:
                lines += [f"`{_usage(path, each)}`", ""]
            lines += _options(each)
    return "\n".join(lines).rstrip() + "\n"


def _commands(
    path: tuple[str, ...], command: click.Command
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(command, click.Group):
        yield path, command
        return
    ctx = click.Context(command)
    for name in command.list_commands(ctx):
        found = command.get_command(ctx, name)
        if found is not None:
            yield from _commands((*path, name), found)


def _help(command: click.Command) -> str:
    return inspect.cleandoc(command.help or "").replace("\b\n", "")


def _usage(path: tuple[str, ...], command: click.Command) -> str:
    ctx = click.Context(command)
    words = [each.make_metavar(ctx) for each in command.params if isinstance(each, click.Argument)]
    return " ".join((*path, *words))


def _options(command: click.Command) -> list[str]:
    ctx = click.Context(command)
    lines = []
    for each in command.params:
        if not isinstance(each, click.Option) or _EVERYWHERE & set(each.opts):
            continue
        record = each.get_help_record(ctx)
        if record is not None:
            lines.append(f"- `{record[0]}`: {record[1]}")
    return [*lines, ""] if lines else []
