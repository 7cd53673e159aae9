"""Tables: drawn on terminals, plain in pipes, and never a way to reach a terminal's controls."""

import io
import json

import pytest
from rich.console import Console

from gateway.cli import output

HOSTILE = "a\x1b[2Jb\r\x07[red]c"


def test_a_terminal_gets_a_drawn_table(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = io.StringIO()
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    console = Console(file=drawn, force_terminal=True, width=80)
    monkeypatch.setattr(output, "Console", lambda: console)
    output.print_table(["Name", "Cost"], [["alice", "$1.20"]], right=frozenset({1}))
    text = drawn.getvalue()
    assert "\x1b[1m" in text, "headings are bold"
    assert "─" in text
    assert "alice" in text


@pytest.mark.parametrize("terminal", [True, False])
def test_what_users_wrote_cannot_steer_a_terminal(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = io.StringIO()
    if terminal:
        monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
        console = Console(file=drawn, width=80)
        monkeypatch.setattr(output, "Console", lambda: console)
    output.print_table(["Label"], [[HOSTILE]])
    output.print_facts([("Label", HOSTILE), ("Empty", "")])
    for text in (drawn.getvalue(), capsys.readouterr().out):
        assert not set(text) & {"\x1b", "\r", "\x07"}
        assert not text or "[red]c" in text, "no markup is read either"
        assert "Empty" not in text


def test_programs_get_json_with_every_character(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_list([HOSTILE], [], lambda item: {"label": item}, as_json=True, empty="none")
    assert json.loads(capsys.readouterr().out) == [{"label": HOSTILE}]
