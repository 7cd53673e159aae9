"""`serve` and `demo` as processes: what is printed, what is pasted, how they end."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60.0

T = TypeVar("T")


class Running:
    """A gateway's process, its output in files: no terminal is there to flush it."""

    def __init__(self, folder: Path, *arguments: str, **variables: str) -> None:
        self.out, self.err = folder / "out", folder / "err"
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("GATEWAY_", "REPLICATE_"))
        }
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway", *arguments],
                cwd=folder,
                env={**environment, "PYTHONPATH": str(ROOT), **variables},
                stdout=out,
                stderr=err,
            )

    def said(self) -> str:
        return self.out.read_text(encoding="utf-8")

    def wait_until(self, done: Callable[[], T]) -> T:
        until = time.monotonic() + PATIENCE_S
        while not (result := done()):
            ended = self.process.poll()
            assert ended is None, f"ended with {ended}: {self.err.read_text()}"
            assert time.monotonic() < until, f"too slow: {self.err.read_text()}"
            time.sleep(0.05)
        return result

    def base_url(self) -> str:
        found = self.wait_until(lambda: re.search(r"Base URL:?\s+(\S+/replicate)\n", self.said()))
        assert found is not None
        return found[1]

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def run(*arguments: str, **variables: str) -> Running:
        started.append(Running(tmp_path, *arguments, **variables))
        return started[-1]

    yield run
    for running in started:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()


def simulations(folder: Path) -> list[int]:
    """Return the processes that run in this folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cwd").readlink() == folder:
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def get(url: str, key: str | None = None) -> httpx.Response:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return httpx.get(url, headers=headers, timeout=PATIENCE_S, trust_env=False)


def paste(lines: str, folder: Path) -> None:
    environment = {**os.environ, "no_proxy": "127.0.0.1"}
    subprocess.run(["bash", "-euc", lines], cwd=folder, env=environment, check=True)


def pasted_lines(said: str) -> str:
    lines = [line for line in said.splitlines() if line.startswith(("curl ", "python3 "))]
    assert 1 <= len(lines) <= 3
    return "\n".join(lines)


def test_without_a_token_three_pasted_lines_save_a_picture_and_a_restart_forgets_nothing(
    start: Callable[..., Running], tmp_path: Path
) -> None:
    first = start("serve", "--port", "0")
    url = first.base_url()
    first.wait_until(lambda: "python3 -c" in first.said())
    said = first.said()
    assert "SIMULATED REPLICATE" in said.splitlines()[1]
    (tried,) = [line for line in said.splitlines() if "simulated/failing" in line]
    assert "meta/meta-llama-3-8b-instruct" in tried
    key_line = re.search(r"hk-\w+", said)
    assert key_line is not None
    key = key_line[0]

    paste(pasted_lines(said), tmp_path)
    picture = (tmp_path / "picture.webp").read_bytes()
    assert (picture[:4], picture[8:12]) == (b"RIFF", b"WEBP")
    prediction = json.loads((tmp_path / "answer.json").read_text())["id"]

    def output() -> list[str] | None:
        document = get(f"{url}/v1/predictions/{prediction}", key).json()
        return document["output"] if document["status"] == "succeeded" else None

    links = first.wait_until(output) or []
    assert links[0].startswith(f"{url}/delivery/")
    assert get(links[0]).content == picture
    assert not (tmp_path / "data" / "ledger.sqlite3").exists()

    assert first.stop() == 0
    assert simulations(tmp_path) == []

    second = start("demo", "--port", "0")
    again = second.base_url()
    assert key in second.said()
    document = get(f"{again}/v1/predictions/{prediction}", key).json()
    assert document["output"] == [links[0].replace(url, again)]
    assert get(document["output"][0]).content == picture
    assert second.stop(signal.SIGINT) == 0


def test_the_simulation_ends_with_a_gateway_that_was_killed(
    start: Callable[..., Running], tmp_path: Path
) -> None:
    running = start("demo", "--port", "0")
    running.base_url()
    assert len(simulations(tmp_path)) == 2
    running.process.kill()
    running.process.wait()
    until = time.monotonic() + PATIENCE_S
    while simulations(tmp_path):
        assert time.monotonic() < until, "the simulation outlived the gateway"
        time.sleep(0.05)


def test_a_port_in_use_is_one_line_with_the_cure(start: Callable[..., Running]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        running = start("serve", "--port", str(port), REPLICATE_API_TOKEN="r8_none")
        assert running.process.wait(PATIENCE_S) == 1
    (line,) = running.err.read_text().splitlines()
    assert f"port {port} is in use" in line
    for way in ("--port 9000", 'make serve ARGS="--port 9000"', "GATEWAY_SERVER__PORT=9000"):
        assert way in line


def test_two_demos_do_not_share_a_folder(start: Callable[..., Running]) -> None:
    start("demo", "--port", "0").base_url()
    second = start("demo", "--port", "0")
    assert second.process.wait(PATIENCE_S) == 1
    assert "another demo is running" in second.err.read_text().splitlines()[-1]


def test_with_a_token_and_no_user_the_next_two_commands_are_printed(
    start: Callable[..., Running], tmp_path: Path
) -> None:
    variables = {
        "REPLICATE_API_TOKEN": "r8_none",
        "GATEWAY_UPSTREAM__BASE_URL": "http://127.0.0.1:9",  # nobody is there
    }
    running = start("serve", "--port", "0", **variables)
    url = running.base_url()
    running.wait_until(lambda: "keys create" in running.said())
    assert "SIMULATED" not in running.said()
    commands = [line for line in running.said().splitlines() if line.endswith(" alice")]
    assert len(commands) == 2
    *_, key = (
        subprocess.run(
            ["bash", "-euc", command],
            cwd=tmp_path,
            env={**os.environ, **variables, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for command in commands
    )
    assert get(f"{url}/v1/predictions", key).json()["results"] == []

    config = tmp_path / "config" / "gateway.toml"
    config.parent.mkdir()
    config.write_text("[plans.default]\nlimit = 1\n")
    running.process.send_signal(signal.SIGHUP)
    running.wait_until(lambda: "not reloaded: plans.default.limit" in running.err.read_text())
    config.write_text('[plans.default]\nquotas = [{metric="requests", limit=0, per="minute"}]\n')
    running.process.send_signal(signal.SIGHUP)
    running.wait_until(lambda: "reloaded: plans" in running.err.read_text())

    running.wait_until(lambda: get(f"{url}/v1/predictions", key).status_code == 429)
    assert running.stop() == 0
    second = start("serve", "--port", "0", **variables)
    second.base_url()
    assert "keys create" not in second.said()
