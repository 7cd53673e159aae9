"""A real gateway on a real socket, with the simulated Replicate behind it, for tests to talk to.

    with running() as gateway:
        key = gateway.add_user("ann")
        with gateway.client(key) as client:
            client.post("/replicate/v1/predictions", json=…)
        gateway.clock.advance(60)

Both run in a thread with an event loop of its own. The clock is the test's: nothing happens by
itself until it is moved; `settle` moves it in small steps until something has come true.

When the block ends, all that the gateway answered, logged, counted, stored and sent has been looked
through for the account's token and for keys: see tests/support/canary.py.
"""

import asyncio
import contextlib
import http.client
import json
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import httpx
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.app import Gateway, policy_of
from gateway.clock import Clock
from gateway.ledger import Connection, Ledger, published
from gateway.log import ConsoleFormatter, Masker
from gateway.settings import Settings, load
from gateway.simulator import Simulator, SimulatorConfig
from gateway.web.protocol import Protocol
from tests.support.canary import TOKEN, AnswerLooker, Canary, logged_lines
from tests.support.clock import ManualClock
from tests.support.creating import ended
from tests.support.people import make_user

T = TypeVar("T")

PATIENCE_S = 20.0
"""Real seconds that a test waits for something before it fails."""


class Loop:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self._ready: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = threading.Thread(target=self._run, name="test loop", daemon=True)
        self._thread.start()
        self.loop = self._ready.result()

    def _run(self) -> None:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        loop.call_soon(lambda: self._ready.set_result(loop))
        loop.run_forever()
        loop.close()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE_S * 3)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE_S)


@dataclass
class Served:
    """One gateway that is being served."""

    app: Gateway
    server: uvicorn.Server
    task: "asyncio.Task[None]"
    url: str


@dataclass
class Running:
    """A simulator and a gateway in front of it, and what a test does with them."""

    sim: Simulator
    sim_config: SimulatorConfig
    clock: Clock
    loop: Loop
    data_dir: Path
    env: dict[str, str]
    served: Served
    canary: Canary
    config_file: Path | None = None
    _ids: "Iterator[int]" = field(default_factory=lambda: iter(range(10**9)))

    @property
    def url(self) -> str:
        """The gateway's origin."""
        return self.served.url

    @property
    def base(self) -> str:
        """What users put in the place of https://api.replicate.com."""
        return f"{self.url}/replicate"

    @property
    def app(self) -> Gateway:
        return self.served.app

    def ledger(self, work: Callable[[Connection], T]) -> T:
        """Run a function on the gateway's ledger, as the command line would: in a session apart."""

        async def run() -> T:
            url = self.app.settings.storage.database_url
            async with Ledger(url, self.clock, folder=self.data_dir) as ledger:
                return await ledger.write(work)

        return self.loop.do(run())

    def add_user(
        self,
        name: str,
        *,
        team: str | None = None,
        plan: str | None = None,
        role: str = "member",
        expires_at: float | None = None,
    ) -> str:
        """Make a user with a key; returns the key, which works at once."""
        key = self.ledger(
            lambda conn: make_user(
                conn, self.clock, name, team=team, plan=plan, role=role, expires_at=expires_at
            )
        )
        self.canary.know(key)
        self.refresh_keys()
        return key

    def refresh_keys(self) -> None:
        """Let a quarter of a second pass, after which every worker has heard of a change."""
        if isinstance(self.clock, ManualClock):
            # More than one comparison: the first may have been on its way before the change.
            for _ in range(3):
                self.clock.advance(0.26)
                time.sleep(0.03)
        else:
            time.sleep(0.5)

    def publish(self, toml: str) -> None:
        """Put other plans, teams and prices in force, as `config reload` does."""
        policy = policy_of(self._settings(toml)).to_json()
        now = self.clock.now()
        self.ledger(lambda conn: published.publish(conn, policy, now))
        self.refresh_keys()

    def _settings(self, toml: str) -> Settings:
        file = self.data_dir.parent / "gateway.toml"
        file.write_text(toml, encoding="utf-8")
        return load(file, self.env)

    def client(self, key: str | None = None, **options: Any) -> httpx.Client:
        """A client as a user would configure it, with this key."""
        headers = dict(options.pop("headers", {}))
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        options.setdefault("timeout", 60)
        return httpx.Client(base_url=self.url, headers=headers, trust_env=False, **options)

    def settle(
        self, done: Callable[[], T | None], *, step_s: float = 0.25, most_s: float = 600
    ) -> T:
        """Move the clock in steps until `done` returns something true; fails after `most_s`."""
        passed = 0.0
        while True:
            result = done()
            if result:
                return result
            if passed >= most_s:
                raise AssertionError(f"it did not come true within {most_s} s of the clock")
            if isinstance(self.clock, ManualClock):
                self.clock.advance(step_s)
            passed += step_s
            time.sleep(0.01 if isinstance(self.clock, ManualClock) else step_s)

    def advance(self, seconds: float) -> None:
        """Move the clock forward; only with a manual one."""
        assert isinstance(self.clock, ManualClock)
        self.clock.advance(seconds)

    def eventually(self, done: Callable[[], T | None]) -> T:
        """Wait, while the clock stands still, until `done` returns something true."""
        until = time.monotonic() + PATIENCE_S
        while True:
            result = done()
            if result:
                return result
            if time.monotonic() > until:
                raise AssertionError("it did not come true")
            time.sleep(0.01)

    def finished(self, client: httpx.Client, prediction_id: str) -> httpx.Response:
        """Poll as a client does until the prediction has ended; returns the last answer."""
        return self.settle(lambda: ended(client, prediction_id))

    def restart(self) -> None:
        """Stop the gateway in good order and start another on the same data and port."""
        self.stop()
        self.start()

    def start(self) -> None:
        """Start another gateway on the data and port of the one that was stopped."""
        port = int(self.url.rpartition(":")[2])
        self.served = self.loop.do(_serve(self.app.settings, self.clock, self.canary, port))

    def stop(self) -> None:
        """Stop the gateway; the simulator stays."""

        async def stop() -> None:
            # As a server does at the signal: streams end before connections are waited for.
            self.app.gate.drain()
            self.served.server.should_exit = True
            await self.served.task

        stopped = asyncio.run_coroutine_threadsafe(stop(), self.loop.loop)
        until = time.monotonic() + PATIENCE_S * 3
        while not stopped.done() and time.monotonic() < until:
            # What is still under way may wait for its time.
            if isinstance(self.clock, ManualClock):
                self.clock.advance(0.1)
            time.sleep(0.01)
        stopped.result(0)


class _LookedThrough:
    """A gateway whose every answer is looked through on its way, whoever asked for it."""

    def __init__(self, app: ASGIApp, canary: Canary) -> None:
        self._app = app
        self._canary = canary

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        looker = AnswerLooker(self._canary, scope["method"], scope["path"])

        async def looked_through(message: Message) -> None:
            if message["type"] == "http.response.start":
                looker.head(message.get("headers", ()))
            elif message["type"] == "http.response.body":
                looker.body(bytes(message.get("body", b"")))
            await send(message)

        await self._app(scope, receive, looked_through)


async def _serve(settings: Settings, clock: Clock, canary: Canary, port: int = 0) -> Served:
    app = Gateway(settings, clock)
    config = uvicorn.Config(
        _LookedThrough(app, canary),
        host="127.0.0.1",
        port=port,
        http=Protocol,
        ws="none",
        log_config=None,
        lifespan="on",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    task = asyncio.get_running_loop().create_task(_quietly(server))
    while not server.started:
        if task.done():
            raise RuntimeError("the gateway did not start")
        await asyncio.sleep(0.01)
    bound = server.servers[0].sockets[0].getsockname()[1]
    return Served(app, server, task, f"http://127.0.0.1:{bound}")


async def _quietly(server: uvicorn.Server) -> None:
    # Not serve(): signals belong to the test runner's main thread.
    config = server.config
    if not config.loaded:
        config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    if not server.should_exit:
        await server.main_loop()
        await server.shutdown()


def _scraped(url: str) -> bytes:
    """Return the metrics as they are told; nothing of a gateway that the test has stopped."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=PATIENCE_S)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read()
    except OSError:
        return b""
    finally:
        connection.close()


@contextlib.contextmanager
def running(
    toml: str = "",
    *,
    clock: Clock | None = None,
    sim: SimulatorConfig | None = None,
    env: Mapping[str, str] | None = None,
    log_is_its_own: bool = True,
) -> Iterator[Running]:
    """Run a simulator and a gateway with this configuration until the block ends.

    Fails then if a secret was given away.
    """
    clock = clock or ManualClock()
    sim_config = sim or SimulatorConfig()
    if sim_config.token == SimulatorConfig().token:
        sim_config = replace(sim_config, token=TOKEN)
    loop = Loop()
    stack = AsyncExitStack()
    with tempfile.TemporaryDirectory(prefix="gateway-") as folder:
        simulator = Simulator(sim_config, clock)
        loop.do(stack.enter_async_context(simulator))
        data_dir = Path(folder) / "data"
        settings_env = {
            "GATEWAY_UPSTREAM__BASE_URL": simulator.api_url,
            "GATEWAY_UPSTREAM__TOKEN": sim_config.token,
            "GATEWAY_UPSTREAM__DELIVERY_ORIGINS": json.dumps([simulator.delivery_origin]),
            "GATEWAY_UPSTREAM__STREAM_ORIGINS": json.dumps([simulator.stream_origin]),
            "GATEWAY_STORAGE__DATA_DIR": str(data_dir),
            **(env or {}),
        }
        token = settings_env["GATEWAY_UPSTREAM__TOKEN"]
        canary = Canary(token)
        file = Path(folder) / "gateway.toml"
        file.write_text(toml, encoding="utf-8")
        settings = load(file, settings_env)
        secrets = [token, *(t.webhook_secret.get_secret_value() for t in settings.teams.values())]
        with logged_lines(ConsoleFormatter(Masker(secrets), colour=False)) as logged:
            served = loop.do(_serve(settings, clock, canary))
            gateway = Running(
                simulator, sim_config, clock, loop, data_dir, settings_env, served, canary, file
            )
            try:
                yield gateway
                canary.look("the metrics", _scraped(gateway.url))
                # What was changed last stands there, and in the database only from the stop on.
                for wal in data_dir.rglob("*-wal"):
                    canary.look(f"the file {wal.name}", wal.read_bytes())
            finally:
                gateway.stop()
                sent = simulator.log.entries()
                loop.do(stack.aclose())
                loop.close()
        if log_is_its_own:
            canary.look("the log", "\n".join(logged.lines).encode(errors="replace"))
        canary.look_at_folder(data_dir)
        if settings.storage.database_url:
            canary.look_at_database(settings.storage.database_url)
        canary.look_at_upstream(sent)
        canary.check()
