"""The command line on a folder of its own."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.cli.commands import Invocation
from gateway.cli.root import root
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

    def run(self, *arguments: str) -> Result:
        invocation = Invocation(self.folder / "gateway.toml", self.clock)
        result = CliRunner().invoke(root, list(arguments), obj=invocation)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
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
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    for name in ("GATEWAY_CONFIG", "REPLICATE_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gateway.toml").write_text(CONFIG, encoding="utf-8")
    return Program(tmp_path, ManualClock())
