"""The command line on a folder of its own."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.cli.commands import Invocation
from gateway.cli.root import root
from tests.support.canary import TOKEN, Canary, keys_in
from tests.support.clock import ManualClock

CONFIG = """
[server]
contact = "ops@example.com"

[plans.default]
concurrent_predictions = 4
quotas = [{ metric = "predictions", limit = 100, per = "day" }]

[plans.pro]
models_deny = ["acme/secret"]
quotas = [{ metric = "cost_usd", limit = 20, per = "month" }]

[teams.research]
plan = "pro"
quotas = [{ metric = "cost_usd", limit = 500, per = "month" }]
"""


@dataclass
class Program:
    """Runs commands; `ok` wants success and returns stdout, `fails` wants a status."""

    folder: Path
    clock: ManualClock
    canary: Canary = field(default_factory=lambda: Canary(TOKEN))

    def run(self, *arguments: str) -> Result:
        invocation = Invocation(self.folder / "gateway.toml", self.clock)
        result = CliRunner().invoke(root, list(arguments), obj=invocation)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        printed = result.stdout_bytes + result.stderr_bytes
        if arguments[:2] == ("keys", "create"):
            for key in keys_in(printed):
                self.canary.know(key)
        else:
            self.canary.look(f"what {' '.join(arguments[:2])} prints", printed)
        return result

    def ok(self, *arguments: str) -> str:
        result = self.run(*arguments)
        assert result.exit_code == 0, result.output
        return result.stdout

    def fails(self, status: int, *arguments: str) -> str:
        """Return what was told on stderr; nothing may have been printed for programs."""
        result = self.run(*arguments)
        assert (result.exit_code, result.stdout) == (status, ""), result.output
        assert "Traceback" not in result.stderr
        return result.stderr

    def json(self, *arguments: str) -> Any:
        return json.loads(self.ok(*arguments, "--json"))


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Program]:
    for name in ("GATEWAY_CONFIG", "REPLICATE_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gateway.toml").write_text(CONFIG, encoding="utf-8")
    made = Program(tmp_path, ManualClock())
    yield made
    # What the commands printed and stored has been looked through: no key stands there, but once.
    made.canary.look_at_folder(tmp_path)
    made.canary.check()
