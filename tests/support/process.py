"""A gateway and a simulated Replicate as processes of their own, on the real clock.

For what cannot be shown inside one process: official clients, `kill -9`, how much memory is used.

    with processes("[plans.default]\n…") as both:
        key = both.add_user("ann")
        both.kill()
        both.start()

When the block ends, all that the gateway logged, counted, stored, sent and answered to the clients
made here has been looked through for secrets: see tests/support/canary.py.
"""

import contextlib
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import httpx

from tests.support.canary import TOKEN, Canary, keys_in, looking
from tests.support.creating import ended

T = TypeVar("T")

PATIENCE_S = 30.0
"""Real seconds that a test waits for something before it fails."""

ROOT = Path(__file__).resolve().parents[2]


class Processes:
    """A simulator's and a gateway's process; the gateway can be killed and started again."""

    def __init__(self, folder: Path, toml: str, simulator: Mapping[str, object]) -> None:
        self._tls = "[server.tls]" in toml
        found = re.search(r'^cert_file = "(.*)"', toml, re.MULTILINE)
        self.trusted = None if found is None else Path(found[1])
        self._starts = 0
        self.folder = folder
        self.data_dir = folder / "data"
        self.config = folder / "gateway.toml"
        self.config.write_text(toml, encoding="utf-8")
        self.port = free_port()
        self.host = "127.0.0.1"
        """Where the next start listens; this machine's loopback reaches it in any case."""
        self.environment: dict[str, str] = {}
        """What the next start's environment has besides."""
        self._log = (folder / "gateway.log").open("ab")
        self._simulator = _start_simulator(folder, {"token": TOKEN, **simulator})
        self.addresses: dict[str, str] = json.loads(_first_line(self._simulator))
        self.canary = Canary(self.addresses["token"])
        self._gateway: subprocess.Popen[bytes] | None = None
        self._control = httpx.Client(base_url=self.addresses["control_url"], trust_env=False)

    @property
    def url(self) -> str:
        """The gateway's origin."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def base(self) -> str:
        """What users put in the place of https://api.replicate.com."""
        return f"{self.url}/replicate"

    @property
    def pid(self) -> int:
        """The gateway's process."""
        assert self._gateway is not None
        return self._gateway.pid

    def start(self) -> None:
        """Start the gateway, on the port and data of the one before."""
        self._starts += 1
        self._gateway = subprocess.Popen(
            [
                sys.executable,
                *("-m", "gateway", "--config", str(self.config)),
                *("serve", "--host", self.host, "--port", str(self.port)),
            ],
            cwd=ROOT,
            env=self._environment(),
            stdout=self._log,
            stderr=self._log,
        )
        self.wait_for(self._ready)

    def workers(self) -> list[int]:
        """The processes that the gateway's process has started and that live."""
        tasks = Path(f"/proc/{self.pid}/task").glob("*/children")
        return sorted(int(pid) for task in tasks for pid in task.read_text().split())

    def signal(self, number: int) -> None:
        """Send a signal to the gateway's process."""
        os.kill(self.pid, number)

    def kill_process(self, pid: int) -> None:
        """End one worker as a fault in it would."""
        assert pid in self.workers()
        os.kill(pid, signal.SIGKILL)

    def kill_all(self) -> None:
        """End the gateway and all its workers as a power cut does."""
        for pid in self.workers():
            os.kill(pid, signal.SIGKILL)
        self.kill()

    def verify(self) -> ssl.SSLContext | bool:
        """What makes a client of this test trust the gateway."""
        if not self._tls:
            return False  # nothing to check, and reading the usual authorities takes 30 ms
        ca = self.trusted or self.data_dir / "tls" / "ca.pem"
        return ssl.create_default_context(cafile=str(ca)) if ca.exists() else True

    def _environment(self) -> dict[str, str]:
        clean = {
            name: value for name, value in os.environ.items() if name.startswith(("PATH", "L"))
        }
        return {
            **clean,
            "GATEWAY_UPSTREAM__BASE_URL": self.addresses["api_url"],
            "GATEWAY_UPSTREAM__TOKEN": self.addresses["token"],
            "GATEWAY_UPSTREAM__DELIVERY_ORIGINS": json.dumps([self.addresses["delivery_origin"]]),
            "GATEWAY_UPSTREAM__STREAM_ORIGINS": json.dumps([self.addresses["stream_origin"]]),
            "GATEWAY_STORAGE__DATA_DIR": str(self.data_dir),
            **self.environment,
        }

    def _ready(self) -> bool:
        if self._gateway is not None and self._gateway.poll() is not None:
            raise AssertionError(f"the gateway ended: {self.log()[-3000:]}")
        try:
            answer = httpx.get(f"{self.url}/readyz", trust_env=False, verify=self.verify())
            return answer.status_code == 200 and self.log().count(" is ready") >= self._starts
        except httpx.TransportError:
            return False

    def command(self, *arguments: str) -> str:
        """Run the gateway's command line on the same configuration; returns what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "gateway", "--config", str(self.config), *arguments],
            cwd=ROOT,
            env=self._environment(),
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        if arguments[:2] == ("keys", "create"):
            for key in keys_in(done.stdout):
                self.canary.know(key)
        else:
            said = done.stdout + done.stderr
            self.canary.look(f"what {' '.join(arguments[:2])} prints", said)
        return done.stdout.decode().strip()

    def kill(self) -> None:
        """End the gateway as a power cut does."""
        assert self._gateway is not None
        self._gateway.send_signal(signal.SIGKILL)
        self._gateway.wait(PATIENCE_S)

    def stop(self) -> int:
        """End the gateway in good order; returns its exit status."""
        assert self._gateway is not None
        self._gateway.terminate()
        return self._gateway.wait(PATIENCE_S)

    def exit_status(self) -> int:
        """Wait for the gateway's end; returns its exit status."""
        assert self._gateway is not None
        return self._gateway.wait(PATIENCE_S)

    @staticmethod
    def lives(pid: int) -> bool:
        """Return whether a process is there and not just unmissed."""
        # All its threads: while one is still ending, its sockets take connections and drop them.
        for thread in Path(f"/proc/{pid}/task").glob("*/stat"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if thread.read_text().rpartition(")")[2].split()[0] not in ("Z", "X"):
                    return True
        return False

    def running(self) -> bool:
        """Return whether the gateway's process is alive."""
        return self._gateway is not None and self._gateway.poll() is None

    def log(self) -> str:
        """Return what the gateway's processes wrote."""
        return (self.folder / "gateway.log").read_text(errors="replace")

    def peak_memory(self) -> int:
        """Return the most bytes of memory that the gateway's process has held (VmHWM)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024

    def add_user(self, name: str, *options: str) -> str:
        """Make a user with a key, from the command line; returns the key."""
        self.command("users", "add", name, *options)
        return self.command("keys", "create", name)

    def client(self, key: str, **options: Any) -> httpx.Client:
        """A client as a user would configure it, with this key."""
        headers = {"Authorization": f"Bearer {key}"}
        options.setdefault("timeout", 60)
        options.setdefault("verify", self.verify())
        client = httpx.Client(base_url=self.url, headers=headers, trust_env=False, **options)
        return looking(client, self.canary)

    def received(self, **filters: str) -> list[dict[str, Any]]:
        """Return the requests that the simulated Replicate received, oldest first."""
        found: list[dict[str, Any]] = self._control.get("/log", params=filters).json()
        return found

    def steer(self, method: str, path: str, body: object = None) -> Any:
        """Talk to the simulator's control origin: faults, dials, origins that stop and start."""
        answer = self._control.request(method, path, json=body)
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    def wait_for(self, done: Callable[[], T], patience_s: float = PATIENCE_S) -> T:
        """Ask again and again until `done` returns something true; fails when it takes too long."""
        until = time.monotonic() + patience_s
        while True:
            result = done()
            if result:
                return result
            if time.monotonic() > until:
                raise AssertionError(f"it did not come true within {patience_s:g} s")
            time.sleep(0.05)

    def finished(self, client: httpx.Client, prediction_id: str) -> httpx.Response:
        """Poll as a client does until the prediction has ended; returns the last answer."""
        found = self.wait_for(lambda: ended(client, prediction_id))
        assert found is not None
        return found

    def look_at_life(self) -> None:
        """Look for secrets in what is gone when the processes are: metrics, requests upstream."""
        if self.running():
            with contextlib.suppress(httpx.HTTPError, OSError):
                page = httpx.get(f"{self.url}/metrics", trust_env=False, verify=self.verify())
                self.canary.look("the metrics", page.content)
        for origin in ("api", "delivery", "streams"):
            # Not read as JSON: it may be many megabytes, and secrets look the same in it.
            sent = self._control.get("/log", params={"origin": origin}, timeout=60).content
            if origin == "api":
                for blank in ("", " "):
                    due = f'["authorization",{blank}"Bearer {self.canary.token}"]'
                    sent = sent.replace(due.encode(), b"")
            self.canary.look(f"a request to upstream's {origin}", sent)

    def look_at_remains(self) -> None:
        """Look for secrets in what the gateway wrote. The configuration is the operator's."""
        for log in self.folder.glob("*.log"):
            self.canary.look(log.name, log.read_bytes())
        self.canary.look_at_folder(self.data_dir)
        url = self.environment.get("GATEWAY_STORAGE__DATABASE_URL", "")
        if url:
            self.canary.look_at_database(url)

    def close(self) -> None:
        """End both processes."""
        self._control.close()
        for process in (self._gateway, self._simulator):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait(PATIENCE_S)
        if self._simulator.stdout is not None:
            self._simulator.stdout.close()
        self._log.close()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _start_simulator(folder: Path, dials: Mapping[str, object]) -> subprocess.Popen[bytes]:
    arguments: list[str] = []
    for name, value in dials.items():
        arguments.append(f"--{name.replace('_', '-')}")
        if value is not True:
            arguments.append(str(value))
    with (folder / "simulator.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "gateway.simulator", *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=log,
        )


def _first_line(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline().decode()
    assert line, "the simulator did not start"
    return line


@contextlib.contextmanager
def processes(
    toml: str = "", *, host: str = "127.0.0.1", **simulator: object
) -> Iterator[Processes]:
    """Run a simulator (its command line's options as keywords) and a gateway with this file.

    Fails at the end if a secret was given away.
    """
    with tempfile.TemporaryDirectory(prefix="gateway-") as folder:
        both = Processes(Path(folder), toml, simulator)
        both.host = host
        try:
            both.start()
            yield both
            both.look_at_life()
        finally:
            both.close()
        both.look_at_remains()
        both.canary.check()
