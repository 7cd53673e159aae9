"""`doctor`: each point found well and found ill, with the cure, and the exit status."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from gateway.app import checkup, checkup_network
from gateway.app.checkup import Verdict
from gateway.cli.demo_data import the_only_demo
from gateway.clock import SystemClock
from gateway.settings import Settings, load
from gateway.upstream.probe import Probed
from tests.cli.conftest import Program
from tests.support.process import ROOT, Processes, processes


def doctor(program: Program) -> dict[str, dict[str, str]]:
    """Run it; returns the findings by point, and checks that the status agrees with them."""
    result = program.run("doctor", "--json")
    told: dict[str, Any] = json.loads(result.stdout)
    by_name = {each["name"]: each for each in told["checks"]}
    failed = [name for name, each in by_name.items() if each["status"] == "failed"]
    assert (told["ok"], result.exit_code) == (not failed, 1 if failed else 0)
    for each in by_name.values():
        assert each["status"] in {"ok", "note", "failed", "skipped"}
        assert each["cure"] or each["status"] in {"ok", "skipped"}, each
        assert "\n" not in each["detail"] + each["cure"]
    return by_name


@pytest.fixture
def nowhere(program: Program, monkeypatch: pytest.MonkeyPatch) -> Program:
    """A set-up whose upstream nobody serves."""
    monkeypatch.setenv("GATEWAY_UPSTREAM__BASE_URL", "http://127.0.0.1:9")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        monkeypatch.setenv("GATEWAY_SERVER__PORT", str(listener.getsockname()[1]))
    return program


def test_without_a_token_it_says_so_and_looks_at_the_rest(nowhere: Program) -> None:
    found = doctor(nowhere)
    assert found["token"]["status"] == "failed"
    assert "REPLICATE_API_TOKEN" in found["token"]["cure"]
    assert found["upstream"]["status"] == "skipped"
    assert "without a token" in found["upstream"]["detail"]
    assert found["clock"]["status"] == "skipped"
    for point in ("disk", "ledger", "cache", "mirror", "port", "public_url"):
        assert found[point]["status"] == "ok", found[point]
    assert found["official clients"]["status"] == "note"
    assert "local-ca" in found["official clients"]["cure"]
    assert not (nowhere.folder / "data").exists(), "looking changes nothing"


def test_with_a_token_an_upstream_that_is_not_there_is_told(
    nowhere: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPLICATE_API_TOKEN", "r8_of_nobody")
    found = doctor(nowhere)
    assert found["upstream"]["status"] == "failed"
    assert "nobody listens" in found["upstream"]["detail"]


@pytest.mark.parametrize("looked_at", ["data", "data/demo"])
def test_beside_a_demo_it_says_so_and_leaves_replicate_alone(
    nowhere: Program, monkeypatch: pytest.MonkeyPatch, looked_at: str
) -> None:
    monkeypatch.setenv("GATEWAY_STORAGE__DATA_DIR", str(nowhere.folder / looked_at))
    with the_only_demo(nowhere.folder / "data" / "demo"):
        found = doctor(nowhere)
    assert found["upstream"]["status"] == "skipped"
    assert "a demo is running on" in found["upstream"]["detail"]
    assert found["token"]["status"] == "note"


def test_people_get_a_line_for_each_point_and_the_cure_beside_it(nowhere: Program) -> None:
    result = nowhere.run("doctor")
    assert result.exit_code == 1
    assert "Not well: token." in result.stderr
    rows = [line for line in result.stdout.splitlines() if "  " in line]
    assert len(rows) == 14
    (token,) = [line for line in rows if line.startswith("token")]
    assert "failed" in token
    assert "set REPLICATE_API_TOKEN" in token


def test_a_port_that_something_else_has_is_told(
    nowhere: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("GATEWAY_SERVER__PORT", str(server.server_address[1]))
    try:
        found = doctor(nowhere)
    finally:
        server.shutdown()
        server.server_close()
    assert found["port"]["status"] == "failed"
    assert "something else" in found["port"]["detail"]


def test_a_folder_that_is_a_file_and_a_damaged_ledger_are_told(nowhere: Program) -> None:
    data = nowhere.folder / "data"
    data.mkdir()
    (data / "ledger.sqlite3").write_bytes(b"this is no database" * 100)
    assert doctor(nowhere)["ledger"]["status"] == "failed"
    (data / "ledger.sqlite3").unlink()
    data.rmdir()
    data.write_text("a file")
    found = doctor(nowhere)
    assert found["disk"]["status"] == "failed"
    assert "storage.data_dir" in found["disk"]["cure"]


@pytest.fixture(scope="module")
def served() -> Iterator[Processes]:
    with processes('[server.tls]\nmode = "local-ca"\n') as both:
        yield both


class Beside:
    """The command line beside a running gateway, with further variables."""

    def __init__(self, served: Processes) -> None:
        self.served = served

    def doctor(self, **variables: str) -> tuple[int, dict[str, Any]]:
        command = [sys.executable, "-m", "gateway", "--config", str(self.served.config)]
        done = subprocess.run(
            [*command, "doctor", "--json"],
            cwd=ROOT,
            env={
                **self.served._environment(),
                "GATEWAY_SERVER__PORT": str(self.served.port),
                **variables,
            },
            capture_output=True,
            check=False,
        )
        assert done.stdout, done.stderr
        told = json.loads(done.stdout)
        told["by_name"] = {each["name"]: each for each in told["checks"]}
        return done.returncode, told


def test_beside_a_running_gateway_all_points_can_be_told(served: Processes) -> None:
    ca = str(served.data_dir / "tls" / "ca.pem")
    public = f"https://localhost:{served.port}"
    status, told = Beside(served).doctor(GATEWAY_SERVER__PUBLIC_URL=public, SSL_CERT_FILE=ca)
    found = told["by_name"]
    # The simulated Replicate tells no date; how many files may be open is the machine's affair.
    told_well = {name for name, each in found.items() if each["status"] == "ok"}
    assert set(found) - told_well <= {"open files", "clock"}, found
    assert found["clock"]["status"] in {"ok", "skipped"}
    assert (status, told["ok"]) == (0, True)
    assert found["token"]["detail"] == "accepted; the account is acme"
    assert "serves at" in found["port"]["detail"]
    assert len(told["trust"]) == 3
    assert all(ca in line for line in told["trust"])


def test_what_is_wrong_in_reaching_it_is_told_with_the_cure(served: Processes) -> None:
    status, told = Beside(served).doctor(
        GATEWAY_SERVER__PUBLIC_URL=served.addresses["delivery_origin"],
        GATEWAY_UPSTREAM__TOKEN="r8_of_nobody_0123456789abcdef012345678",
    )
    found = told["by_name"]
    assert status == 1
    assert found["token"]["status"] == "failed"
    assert "does not accept" in found["token"]["detail"]
    assert found["public_url"]["status"] == "failed"
    assert "r8_of_nobody" not in json.dumps(told)

    _, told = Beside(served).doctor(GATEWAY_SERVER__PUBLIC_URL="https://elsewhere.invalid")
    assert told["by_name"]["public_url"]["status"] == "failed"
    assert told["by_name"]["certificate"]["status"] == "failed"
    assert "elsewhere.invalid" in told["by_name"]["certificate"]["detail"]
    # Without SSL_CERT_FILE nobody has been told to trust the authority.
    _, told = Beside(served).doctor()
    assert told["by_name"]["trust"]["status"] == "note"


async def test_a_clock_that_is_off_is_told() -> None:
    clock = SystemClock()
    settings: Settings = load(None, {"REPLICATE_API_TOKEN": "r8_0123456789abcdef"})

    async def skewed(seconds: float) -> Verdict:
        headers = {"date": formatdate(clock.now() - seconds, usegmt=True)}
        network = checkup_network.Network(settings, clock, None)
        network._asked = Probed(200, headers, b"{}")
        return (await network.time()).verdict

    assert await skewed(0) is Verdict.OK
    assert await skewed(20) is Verdict.NOTE
    assert await skewed(-3600) is Verdict.FAILED


async def test_few_open_files_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, verdict in ((65536, Verdict.OK), (1024, Verdict.NOTE), (64, Verdict.FAILED)):
        monkeypatch.setattr("resource.getrlimit", lambda _, limit=limit: (limit, limit))
        assert (await checkup.open_files()).verdict is verdict


def test_the_folder_above_is_looked_at_where_there_is_none_yet(tmp_path: Path) -> None:
    assert checkup._existing(tmp_path / "a" / "b") == tmp_path
