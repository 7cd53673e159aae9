"""The command at the root: which commands there are, each loaded when it is asked for.

Loading all of them takes seconds that completion, help and short commands should not cost.
"""

import difflib
import sys
from importlib import import_module

import click

import gateway
from gateway.cli.commands import PROGRAM, Group

_MODULES = {
    "serve": "gateway.cli.serve",
    "demo": "gateway.cli.serve",
    "users": "gateway.cli.users",
    "keys": "gateway.cli.keys",
    "predictions": "gateway.cli.predictions",
    "usage": "gateway.cli.usage",
    "export": "gateway.cli.usage",
    "webhooks": "gateway.cli.webhooks",
    "mirror": "gateway.cli.storage",
    "cache": "gateway.cli.storage",
    "prune": "gateway.cli.storage",
    "config": "gateway.cli.config",
    "doctor": "gateway.cli.doctor",
}


class _Root(Group):
    """Finds commands by name in the modules above; a module's attribute is named as its command."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the help."""
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command; None if there is none of this name."""
        if cmd_name not in _MODULES:
            return None
        command = getattr(import_module(_MODULES[cmd_name]), cmd_name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{_MODULES[cmd_name]} offers no command {cmd_name}")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that a line begins with, or say which one was probably meant."""
        name = args[0]
        if name not in _MODULES and not name.startswith("-") and not ctx.resilient_parsing:
            close = difflib.get_close_matches(name, _MODULES, n=1)
            cure = f'did you mean "{close[0]}"?' if close else f"there are {', '.join(_MODULES)}"
            raise click.UsageError(f'no such command "{name}"; {cure}', ctx)
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Root,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    example=(
        f"{PROGRAM} serve\n"
        f"{PROGRAM} users add alice\n"
        f"{PROGRAM} keys create alice --expires 30d\n\n"
        "Completion in bash (zsh_source and fish_source for the other shells):\n"
        f'eval "$(_REPLICATE_GATEWAY_COMPLETE=bash_source {PROGRAM})"'
    ),
)
@click.version_option(gateway.__version__, "-V", "--version", prog_name=PROGRAM)
def root() -> None:
    """Let a whole team share one Replicate account.

    Every command works on the data of the configuration that it finds, beside a running gateway
    too: what it changes holds there within a second.
    """


def main() -> None:
    """Run the command line of this process."""
    if sys.stdout.encoding.lower().replace("-", "") != "utf8":
        # A terminal that cannot show a character must not be the reason why a command fails.
        for stream in (sys.stdout, sys.stderr):
            reconfigure = getattr(stream, "reconfigure", None)
            if reconfigure is not None:
                reconfigure(errors="replace")
    root(prog_name=PROGRAM)
