"""`python -m benchmarks`: the gateway beside its peers, in one run, as ratios.

Wall times vary twofold on a busy machine, so the servers' processor time is what counts; the ratio
is to the first line of each table. Takes less than a minute.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from rich.console import Console
from rich.table import Table

from benchmarks.load import Run, for_a_while, request, so_often
from benchmarks.servers import Server, Servers

CLIENTS = 32
FILE_BYTES = 100_000_000
DOWNLOADS = 4
MODEL = "black-forest-labs/flux-schnell"


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a table."""

    who: str
    run: Run
    note: str = ""


class Bench:
    """What is measured, one table a method."""

    def __init__(self, servers: Servers, seconds: float) -> None:
        self._servers = servers
        self._seconds = seconds
        self._addresses = servers.simulator()
        self._gateway = servers.gateway(self._addresses)
        servers.command(self._addresses, "users", "add", "bench")
        self._key = servers.command(self._addresses, "keys", "create", "bench")
        self._headers = {"Authorization": f"Bearer {self._key}"}
        self._client = httpx.Client(
            base_url=f"{self._gateway.url}/replicate/v1",
            headers=self._headers,
            timeout=60,
            trust_env=False,
        )
        self._finished = self._made(MODEL, {"prompt": "a lighthouse"})
        self._large = self._made("simulated/large-file", {"size_bytes": FILE_BYTES})
        file, body = servers.folder / "file.bin", servers.folder / "body.json"
        body.write_bytes(self._client.get(f"/predictions/{self._finished['id']}").content)
        with file.open("wb") as out, self._client.stream("GET", self._large["output"]) as answer:
            for piece in answer.iter_bytes(1 << 20):
                out.write(piece)
        assert file.stat().st_size == FILE_BYTES
        self._raw = servers.application("raw", BENCH_BODY=str(body), BENCH_FILE=str(file))
        self._proxy = servers.application(
            "passthrough",
            BENCH_UPSTREAM=self._addresses["api_url"],
            BENCH_DELIVERY=self._addresses["delivery_origin"],
            BENCH_TOKEN=self._addresses["token"],
        )
        self._nginx = servers.nginx(self._proxy.url, file)

    def _made(self, model: str, values: dict[str, object]) -> dict[str, Any]:
        made = self._client.post(f"/models/{model}/predictions", json={"input": values})
        assert made.status_code == 201, made.text
        until = time.monotonic() + 20
        while True:
            document: dict[str, Any] = self._client.get(f"/predictions/{made.json()['id']}").json()
            if document["status"] == "succeeded":
                return document
            assert time.monotonic() < until, document
            time.sleep(0.1)

    async def reads(self) -> list[Line]:
        """Read one finished prediction."""
        path = f"/replicate/v1/predictions/{self._finished['id']}"
        found = []
        for who, server in (
            ("raw ASGI application on uvicorn", self._raw),
            ("gateway, from memory", self._gateway),
            ("nginx proxy_cache", self._nginx),
            ("Starlette + httpx, passed through", self._proxy),
        ):
            if server is not None:
                found.append(Line(who, await self._while(server, path)))
        return found

    async def polls(self) -> list[Line]:
        """Ask for a prediction that runs."""
        self._steer("PATCH", "/config", {"speed": 0.001})
        body = {"input": {"prompt": "slow"}}
        made = self._client.post(f"/models/{MODEL}/predictions", json=body).json()
        path = f"/replicate/v1/predictions/{made['id']}"
        found = []
        for who, server in (("gateway", self._gateway), ("Starlette + httpx", self._proxy)):
            self._steer("DELETE", "/log")
            run = await self._while(server, path)
            sent = self._steer("GET", "/log/count?operation=predictions.get")["count"]
            found.append(Line(who, run, f"{sent / run.seconds:,.0f} a second reach Replicate"))
        self._steer("PATCH", "/config", {"speed": 20.0})
        return found

    async def creates(self) -> list[Line]:
        """Create predictions."""
        path = f"/replicate/v1/models/{MODEL}/predictions"
        body = json.dumps({"input": {"prompt": "a lighthouse"}}).encode()
        found = []
        for who, server in (("Starlette + httpx", self._proxy), ("gateway", self._gateway)):
            wire = request("POST", server.url + path, self._headers, body)
            times = 500 if server is self._proxy else 200
            run = await _measured(server, partial(so_often, server.url, wire, 16, times))
            note = "every one recorded durably" if server is self._gateway else ""
            found.append(Line(who, run, note))
        return found

    async def files(self) -> list[Line]:
        """Download a file of 100 MB, four at a time."""
        gateway_path = httpx.URL(self._large["output"]).path
        passed = "/replicate/delivery/" + gateway_path.split("/", 4)[4]
        found = []
        for who, server, path in (
            ("nginx sendfile", self._nginx, "/file"),
            ("raw ASGI application on uvicorn", self._raw, "/file"),
            ("gateway, from the mirror", self._gateway, gateway_path),
            ("Starlette + httpx, passed through", self._proxy, passed),
        ):
            if server is None:
                continue
            wire = request("GET", server.url + path, self._headers)
            run = await _measured(server, partial(so_often, server.url, wire, 4, DOWNLOADS))
            assert run.bytes == DOWNLOADS * FILE_BYTES, (who, run)
            per_gb = run.cpu_s / run.bytes * 1e9
            note = f"{run.bytes / run.seconds / 1e6:,.0f} MB/s, {per_gb:.2f} CPU s per GB"
            found.append(Line(who, run, note))
        return found

    async def _while(self, server: Server, path: str) -> Run:
        wire = request("GET", server.url + path, self._headers)
        await for_a_while(server.url, wire, CLIENTS, 0.3)
        return await _measured(
            server, lambda: for_a_while(server.url, wire, CLIENTS, self._seconds)
        )

    def _steer(self, method: str, path: str, body: object = None) -> Any:
        url = self._addresses["control_url"] + path
        answer = httpx.request(method, url, json=body, trust_env=False)
        answer.raise_for_status()
        return answer.json() if answer.content else None


async def _measured(server: Server, work: Callable[[], Coroutine[Any, Any, Run]]) -> Run:
    before = server.cpu_s()
    run = await work()
    return replace(run, cpu_s=server.cpu_s() - before)


def _show(console: Console, title: str, lines: list[Line]) -> None:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("")
    for name in ("a second", "CPU µs each", "ratio"):
        table.add_column(name, justify="right")
    table.add_column("")
    first = lines[0].run.cpu_us
    for line in lines:
        table.add_row(
            line.who,
            f"{line.run.per_second:,.0f}"
            if line.run.per_second >= 10
            else f"{line.run.per_second:.1f}",
            f"{line.run.cpu_us:,.0f}",
            f"{line.run.cpu_us / first:.2f}",
            line.note,
        )
    console.print(table, "")


async def _all(bench: Bench, console: Console, only: list[str]) -> None:
    for name, title, measure in (
        ("reads", f"A finished prediction, read by {CLIENTS} clients", bench.reads),
        ("polls", f"A running prediction, polled by {CLIENTS} clients", bench.polls),
        ("files", "A file of 100 MB, downloaded by 4 clients", bench.files),
        ("creates", "Creates, by 16 clients", bench.creates),
    ):
        if not only or name in only:
            _show(console, title, await measure())


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("only", nargs="*", help="reads, polls, files, creates (default: all)")
    parser.add_argument("--seconds", type=float, default=1.5, help="of each measurement")
    given = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 110)
    loop_factory = uvicorn.Config(app="", log_config=None).get_loop_factory()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, Servers(Path(folder)) as servers:
        try:
            bench = Bench(servers, given.seconds)
            with asyncio.Runner(loop_factory=loop_factory) as runner:
                runner.run(_all(bench, console, given.only))
        except BaseException:
            sys.stderr.write(servers.log())
            raise


if __name__ == "__main__":
    main()
