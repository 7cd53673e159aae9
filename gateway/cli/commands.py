"""What all commands have in common: `--config`, an example in the help, and how they fail."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from gateway.clock import Clock, SystemClock

PROGRAM = "replicate-gateway"


class Failed(click.ClickException):
    """A command could not do its work; the message names the cause and, where known, the cure."""

    exit_code = 1


@dataclass(slots=True)
class Invocation:
    """What was said beside the command itself."""

    config_file: Path | None = None
    clock: Clock = field(default_factory=SystemClock)


def _choose_config(ctx: click.Context, _: click.Parameter, path: Path | None) -> None:
    invocation = ctx.ensure_object(Invocation)
    if path is not None:
        invocation.config_file = path


def _config_option() -> click.Option:
    return click.Option(
        ["--config"],
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        metavar="FILE",
        callback=_choose_config,
        expose_value=False,
        help="The configuration (default: config/gateway.toml, or what GATEWAY_CONFIG names).",
    )


def _write_example(formatter: click.HelpFormatter, example: str) -> None:
    if not example:
        return
    with formatter.section("Example"):
        for line in example.splitlines():
            formatter.write(f"{'':{formatter.current_indent}}{line}\n")


_ONE_SENTENCE = 200
"""Characters of a help's first sentence in a list of commands: it may take a second line there."""


class Command(click.Command):
    """A command with `--config` and an example."""

    # click hands its own keywords through here, and their types are not public.
    def __init__(self, *args: Any, example: str = "", **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.example = example
        self.params.append(_config_option())

    def get_short_help_str(self, limit: int = _ONE_SENTENCE) -> str:
        """Return the first sentence of the help, uncut."""
        return super().get_short_help_str(max(limit, _ONE_SENTENCE))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the example below the options."""
        _write_example(formatter, self.example)
        super().format_epilog(ctx, formatter)


class Group(click.Group):
    """A group with `--config` and an example, whose commands are :class:`Command`."""

    command_class = Command

    # See Command.
    def __init__(self, *args: Any, example: str = "", **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.example = example
        self.params.append(_config_option())

    def get_short_help_str(self, limit: int = _ONE_SENTENCE) -> str:
        """Return the first sentence of the help, uncut."""
        return super().get_short_help_str(max(limit, _ONE_SENTENCE))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the example below the commands."""
        _write_example(formatter, self.example)
        super().format_epilog(ctx, formatter)


_Decorated = Callable[..., None]

as_json: Callable[[_Decorated], _Decorated] = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, for programs."
)


def say(text: str) -> None:
    """Tell the person at the terminal; what is printed for programs stays apart from it."""
    click.echo(text, err=True)
