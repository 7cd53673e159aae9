"""What the commands say of themselves."""

import shlex
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from gateway.cli.commands import PROGRAM, Command, Group
from gateway.cli.root import root
from tests.cli.conftest import Program

CONTRACT = {
    "serve": {"--host", "--port", "--workers"},
    "demo": {"--port"},
    "users add": {"--team", "--plan", "--role"},
    "users list": {"--json"},
    "users show": {"--json"},
    "users set": {"--team", "--plan", "--role"},
    "users disable": set(),
    "users enable": set(),
    "users remove": {"--purge"},
    "keys create": {"--label", "--expires"},
    "keys list": {"--json"},
    "keys revoke": set(),
    "predictions list": {"--json", "--user", "--model", "--status", "--since", "--limit"},
    "predictions show": {"--json"},
    "predictions delete": set(),
    "usage": {"--user", "--team", "--model", "--since", "--until", "--by", "--format"},
    "export": {"--since", "--until", "--format"},
    "mirror stats": {"--json"},
    "mirror verify": {"--json"},
    "cache stats": {"--json"},
    "cache clear": set(),
    "prune": set(),
    "config check": set(),
    "config show": set(),
    "config reload": set(),
}


def commands(
    group: click.Group = root, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, click.Command]]:
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None
        yield " ".join((*path, name)), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


ALL = dict(commands())


def test_every_command_of_the_contract_is_there_with_its_options() -> None:
    for path, options in CONTRACT.items():
        offered = {option for parameter in ALL[path].params for option in parameter.opts}
        assert options <= offered, path


@pytest.mark.parametrize("path", ["", *ALL])
def test_every_help_has_an_example_that_names_a_command_there_is(path: str) -> None:
    result = CliRunner().invoke(root, [*path.split(), "--help"])
    assert result.exit_code == 0
    example = result.output.partition("Example:")[2]
    assert PROGRAM in example, f"{path} has no example"
    for line in example.splitlines():
        words = shlex.split(line.partition(f"{PROGRAM} ")[2], comments=True)
        if words and words[0] in ALL:
            assert path == "" or path.split()[0] == words[0]
            assert " ".join(words[:2]) in ALL or words[0] in ALL


@pytest.mark.parametrize("path", ["", *(p for p, c in ALL.items() if isinstance(c, click.Group))])
def test_no_line_of_a_list_of_commands_is_cut(path: str) -> None:
    listed = CliRunner().invoke(root, [*path.split(), "--help"]).output.partition("Commands:")[2]
    assert listed
    assert "..." not in listed.partition("Example:")[0]


@pytest.mark.parametrize("path", ALL)
def test_every_command_takes_a_configuration(path: str) -> None:
    command = ALL[path]
    assert isinstance(command, (Command, Group))
    assert any("--config" in parameter.opts for parameter in command.params)


@pytest.mark.parametrize(
    "line",
    [
        ("--config", "{}", "users", "add", "alice"),
        ("users", "--config", "{}", "add", "alice"),
        ("users", "add", "alice", "--config", "{}"),
    ],
)
def test_the_configuration_is_taken_before_and_after_the_command(
    program: Program, line: tuple[str, ...]
) -> None:
    other = program.folder / "other.toml"
    other.write_text('[storage]\ndata_dir = "elsewhere"\n', encoding="utf-8")
    program.ok(*(word.format(other) for word in line))
    assert (program.folder / "elsewhere" / "ledger.sqlite3").is_file()
    assert not (program.folder / "data").exists()


def test_a_configuration_that_is_not_there_is_misuse(program: Program) -> None:
    assert "nowhere.toml" in program.fails(2, "users", "list", "--config", "nowhere.toml")


def test_a_command_that_there_is_not_brings_up_the_one_that_was_meant(program: Program) -> None:
    assert 'did you mean "users"?' in program.fails(2, "user")


def test_the_version_is_told(program: Program) -> None:
    assert program.ok("--version").startswith(f"{PROGRAM}, version ")


def test_the_shell_can_complete(program: Program) -> None:
    environment = {"_REPLICATE_GATEWAY_COMPLETE": "bash_source"}
    result = CliRunner().invoke(root, [], prog_name=PROGRAM, env=environment)
    assert "_REPLICATE_GATEWAY_COMPLETE=bash_complete" in result.output
