"""The processes that are measured, and what they cost the processor."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import httpx

ROOT = Path(__file__).resolve().parent.parent
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
PATIENCE_S = 30.0


class Server:
    """One process (with its children) that listens somewhere."""

    def __init__(self, name: str, url: str, process: subprocess.Popen[bytes]) -> None:
        self.name = name
        self.url = url
        self.process = process

    def cpu_s(self) -> float:
        """Return the processor seconds that it and its children have used."""
        return sum(map(_cpu_s, [self.process.pid, *_children(self.process.pid)]))

    def ready(self, path: str) -> "Server":
        """Wait until it answers."""
        until = time.monotonic() + PATIENCE_S
        while True:
            if self.process.poll() is not None:
                raise SystemExit(f"{self.name} ended with {self.process.returncode}")
            try:
                httpx.get(self.url + path, trust_env=False)
            except httpx.TransportError:
                if time.monotonic() > until:
                    raise SystemExit(f"{self.name} does not answer") from None
                time.sleep(0.05)
            else:
                return self

    def end(self) -> None:
        """End it."""
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Servers:
    """Starts servers in a folder and ends them all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._log = (folder / "servers.log").open("ab")
        self._started: list[Server] = []

    def __enter__(self) -> "Servers":
        return self

    def __exit__(self, *_: object) -> None:
        for server in reversed(self._started):
            server.end()
        self._log.close()

    def log(self) -> str:
        """Return the end of what they wrote."""
        return (self.folder / "servers.log").read_text(errors="replace")[-3000:]

    def simulator(self) -> dict[str, str]:
        """Start the simulated Replicate, without rate limits; returns its addresses."""
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway.simulator", "--no-limits", "--speed", "20"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        assert process.stdout is not None
        addresses: dict[str, str] = json.loads(process.stdout.readline())
        self._started.append(Server("simulator", addresses["api_url"], process))
        return addresses

    def gateway(self, addresses: Mapping[str, str]) -> Server:
        """Start the gateway, one worker, as it is shipped but for the account's allowance."""
        port = free_port()
        process = self._start(
            [sys.executable, "-m", "gateway", "serve", "--port", str(port)],
            self.gateway_environment(addresses),
        )
        return self._keep(Server("gateway", f"http://127.0.0.1:{port}", process)).ready("/readyz")

    def gateway_environment(self, addresses: Mapping[str, str]) -> dict[str, str]:
        """Return what points a gateway at the simulation."""
        return {
            "GATEWAY_UPSTREAM__BASE_URL": addresses["api_url"],
            "GATEWAY_UPSTREAM__TOKEN": addresses["token"],
            "GATEWAY_UPSTREAM__DELIVERY_ORIGINS": json.dumps([addresses["delivery_origin"]]),
            "GATEWAY_UPSTREAM__STREAM_ORIGINS": json.dumps([addresses["stream_origin"]]),
            "GATEWAY_UPSTREAM__CREATES_PER_MINUTE": "600000",
            "GATEWAY_UPSTREAM__REQUESTS_PER_MINUTE": "600000",
            "GATEWAY_STORAGE__DATA_DIR": str(self.folder / "data"),
            "GATEWAY_CONFIG": str(self._empty_configuration()),
            "GATEWAY_SERVER__LOG_FORMAT": "json",
        }

    def command(self, addresses: Mapping[str, str], *arguments: str) -> str:
        """Run a command of the gateway's; returns what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "gateway", *arguments],
            cwd=ROOT,
            env={**os.environ, **self.gateway_environment(addresses)},
            stdout=subprocess.PIPE,
            stderr=self._log,
            check=True,
        )
        return done.stdout.decode().strip()

    def application(self, name: str, **variables: str) -> Server:
        """Start one of the peers on uvicorn."""
        port = free_port()
        arguments = [
            sys.executable,
            "-m",
            "uvicorn",
            f"benchmarks.peers:{name}",
            "--port",
            str(port),
        ]
        process = self._start([*arguments, "--no-access-log", "--log-level", "warning"], variables)
        return self._keep(Server(name, f"http://127.0.0.1:{port}", process)).ready("/replicate/v1")

    def nginx(self, upstream: str, file: Path) -> Server | None:
        """Start nginx with a cache in front of an address; None where it is not installed."""
        program = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
        if program is None:
            return None
        port, folder = free_port(), self.folder / "nginx"
        folder.mkdir()
        (folder / "nginx.conf").write_text(_nginx(folder, port, upstream, file))
        process = self._start([program, "-p", str(folder), "-c", str(folder / "nginx.conf")], {})
        return self._keep(Server("nginx", f"http://127.0.0.1:{port}", process)).ready("/nothing")

    def _empty_configuration(self) -> Path:
        path = self.folder / "gateway.toml"
        path.touch()
        return path

    def _start(self, arguments: list[str], variables: Mapping[str, str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            arguments,
            cwd=ROOT,
            env={**os.environ, **variables},
            stdout=self._log,
            stderr=self._log,
        )

    def _keep(self, server: Server) -> Server:
        self._started.append(server)
        return server


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def _nginx(folder: Path, port: int, upstream: str, file: Path) -> str:
    user = "user root;" if os.getuid() == 0 else ""
    return dedent(
        f"""\
        {user}
        daemon off;
        worker_processes 1;
        pid {folder}/nginx.pid;
        error_log {folder}/error.log;
        events {{ worker_connections 512; }}
        http {{
          access_log off;
          sendfile on;
          keepalive_requests 1000000;
          client_body_temp_path {folder}/body;
          fastcgi_temp_path {folder}/fastcgi;
          uwsgi_temp_path {folder}/uwsgi;
          scgi_temp_path {folder}/scgi;
          proxy_temp_path {folder}/proxy;
          proxy_cache_path {folder}/cache keys_zone=all:10m;
          server {{
            listen 127.0.0.1:{port};
            location /replicate/ {{
              proxy_pass {upstream};
              proxy_cache all;
              proxy_cache_valid 200 10m;
              proxy_ignore_headers Cache-Control;
            }}
            location = /file {{ alias {file}; }}
          }}
        }}
        """
    )
