"""build: from settings to an application that serves.

Services are opened in the order in which they need each other, on one stack, and closed in the
reverse order. The application around them is an ASGI server's: it opens them when the server starts
and closes them when it stops.
"""

import asyncio
import logging
from contextlib import AsyncExitStack
from pathlib import Path

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.app.accounts import accounts
from gateway.app.creating import creating
from gateway.app.dashboard import dashboard
from gateway.app.files import file_flows
from gateway.app.following import following
from gateway.app.gauges import of_ledger, of_machine
from gateway.app.loops import housekeeping, start_loops
from gateway.app.process import Process
from gateway.app.storage import open_mirror, open_storage
from gateway.app.upstream import open_upstream, upstream_origins
from gateway.app.web import origins_of, served
from gateway.clock import Clock
from gateway.domain import problems
from gateway.domain.plans import Policy
from gateway.domain.stream_tokens import STREAM_KINDS, StreamTokens
from gateway.domain.urls import UrlMap
from gateway.flows.cancel_prediction import CancelPrediction
from gateway.flows.count_requests import CountRequests
from gateway.flows.forward_request import ForwardRequest
from gateway.flows.list_predictions import ListPredictions
from gateway.flows.own_secret import OwnSecret
from gateway.flows.own_training import OwnTraining
from gateway.flows.present import Presenter
from gateway.flows.read_output import ReadOutput
from gateway.flows.relay_stream import RelayStream
from gateway.flows.stream_channel import Rooms
from gateway.metrics import Metrics
from gateway.settings import Settings
from gateway.web.api import Api, Flows
from gateway.web.delivery import Delivery
from gateway.web.health import Alive, MetricsPage, Readiness, disk_check
from gateway.web.identity import KeyRing
from gateway.web.middleware import Gate
from gateway.web.problem_response import problem_response
from gateway.web.routes import Pages
from gateway.web.streams import StreamPage
from gateway.workers import Tasks

_log = logging.getLogger(__name__)


class Gateway:
    """The ASGI application; one per worker process."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        *,
        multiprocess_dir: Path | None = None,
        publishes: bool = True,
    ) -> None:
        """Prepare a process's gateway; nothing is opened yet.

        `multiprocess_dir` is where the workers of one machine count together. A worker of several
        does not publish its policy: it may have been started with one that was replaced since.
        """
        self.settings = settings
        self._publishes = publishes
        self._end_by: float | None = None
        self._metrics_page: MetricsPage | None = None
        self.clock = clock
        self.gate = Gate()
        self.worker_id = clock.new_id()
        self.metrics = Metrics(
            max_models=settings.metrics.max_models,
            max_users=settings.metrics.max_users,
            clock=clock,
            multiprocess_dir=multiprocess_dir,
        )
        self._stack = AsyncExitStack()
        self._served: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, or the server's lifespan."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if self._served is None:
            raise RuntimeError("the gateway has not been started")
        await self._served(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.start()
        except Exception as error:  # noqa: BLE001 - whatever it is, the server is told
            _log.critical("the gateway cannot start: %s", error, exc_info=error)
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def start(self) -> None:
        """Open everything; raises what an opening raises, with all that was opened closed again."""
        async with AsyncExitStack() as stack:
            self._served = await self._open(stack)
            self._stack = stack.pop_all()

    async def stop(self) -> None:
        """Let what runs finish within the grace, then close everything."""
        self.drain()
        await self._stack.aclose()
        self._served = self._metrics_page = None

    def drain(self) -> None:
        """Refuse new requests from now on; the grace of those that run begins."""
        if self._end_by is None:
            self._end_by = self.clock.monotonic() + self.settings.server.shutdown_grace_s
        self.gate.drain()

    async def metrics_only(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve `/metrics` without a key and nothing else: the application of the metrics port."""
        page = self._metrics_page
        if scope["path"] != "/metrics":
            await problem_response(problems.not_found("page"))(scope, receive, send)
        elif scope["method"] not in ("GET", "HEAD"):
            await problem_response(problems.method_not_allowed(("GET", "HEAD")))(
                scope, receive, send
            )
        elif page is None:
            await problem_response(problems.shutting_down())(scope, receive, send)
        else:
            response = await page.open_page(Request(scope, receive))
            await response(scope, receive, send)

    async def _open(self, stack: AsyncExitStack) -> ASGIApp:
        settings, clock, metrics = self.settings, self.clock, self.metrics
        tasks = Tasks(clock, on_failure=metrics.task_failed)
        process = Process(settings, clock, metrics, self.gate, self.worker_id, tasks)

        storage = await open_storage(process, stack, publishes=self._publishes)
        ledger, cache = storage.ledger, storage.cache
        outside = await open_upstream(process, stack, ledger)
        # Below this line there is work under way; it ends before anything above is closed.
        mirror, room = await open_mirror(process, stack, outside.downloads)
        stack.push_async_callback(self._end_work, tasks)

        stream_tokens = StreamTokens(storage.secret)
        urls = UrlMap(upstream_origins(settings), stream_tokens)
        presenter = Presenter(urls, metrics)
        keys = KeyRing(ledger, clock, tasks)
        origins = origins_of(settings)

        def policy() -> Policy:
            return keys.policy

        follows = following(
            process, storage, outside, mirror, urls=urls, presenter=presenter, policy=policy
        )
        count = CountRequests(ledger, clock, metrics, follows.warn)
        creates = creating(
            process,
            ledger,
            outside,
            mirror,
            follows,
            urls=urls,
            presenter=presenter,
            count=count,
            policy=policy,
        )
        own = accounts(
            settings=settings,
            ledger=ledger,
            cache=cache,
            mirror=mirror,
            room=room,
            prune_kick=process.kicks.prune,
            worker_id=self.worker_id,
            clock=clock,
            keys=keys,
            origins=origins,
            count=count,
            forget=storage.memory.clear,
        )
        relay = RelayStream(
            Rooms(
                ledger=ledger,
                upstream=outside.streams,
                look=follows.look,
                urls=urls,
                clock=clock,
                spawn=tasks.spawn,
                files_wanted=process.kicks.fetch.kick,
                worker_id=self.worker_id,
                linger_s=settings.upstream.stream_linger_s,
            ),
            stream_tokens,
        )
        # Streams end when they are told to, never by themselves.
        stack.push_async_callback(relay.close)
        data = settings.storage.data_dir
        readiness = Readiness(
            clock,
            {
                "ledger": ledger.ping,
                "cache": cache.fault,
                "disk": disk_check(data),
            },
            draining=lambda: self.gate.draining,
        )
        usage_page = dashboard(
            settings=settings,
            secret=storage.secret,
            ledger=ledger,
            clock=clock,
            keys=keys,
            origins=origins,
            urls=urls,
            presenter=presenter,
            read=follows.read,
            own=own,
            health=outside.health,
            waiting=outside.waiting,
            readiness=readiness,
        )
        upstream = outside.upstream
        flows = Flows(
            create=creates.create,
            read=follows.read,
            cancel=CancelPrediction(ledger, upstream, follows.observe, presenter, clock),
            list=ListPredictions(ledger, presenter),
            forward=ForwardRequest(ledger, upstream, urls, clock),
            count=count,
            limits=own.limits,
            secret=OwnSecret(ledger),
            training=OwnTraining(ledger),
            files=file_flows(ledger, upstream, outside.downloads, urls, clock, creates.account),
        )
        key_needed = settings.mirror.access == "key"
        pages = Pages(
            api=Api(
                flows,
                keys,
                origins,
                clock,
                tasks.spawn,
                max_body_bytes=settings.server.max_body_bytes,
                max_upload_bytes=settings.upstream.max_upload_bytes,
                aborted_setting=settings.compat.aborted_as,
            ),
            delivery=Delivery(
                ReadOutput(ledger, mirror, urls, key_needed=key_needed),
                keys.identify,
                usage_page.session_identity,
                key_needed=key_needed,
            ),
            dashboard=usage_page,
            streams=tuple(
                (kind, StreamPage(kind, relay, origins, self.gate)) for kind in STREAM_KINDS
            ),
            tables=own.apps,
            alive=Alive(storage.secret),
            readiness=readiness,
            metrics=MetricsPage(metrics.render, keys.identify, lambda: keys.policy.contact),
        )
        self._metrics_page = pages.metrics
        metrics.add_source(of_ledger(ledger, clock, policy, asyncio.get_running_loop()))
        metrics.add_source(
            of_machine(data, lambda: mirror.stats().bytes, lambda: cache.stats().bytes)
        )

        await keys.refresh()
        start_loops(
            process,
            (
                *housekeeping(process, storage, keys, count),
                *follows.loops,
                *creates.loops,
                *own.loops,
            ),
        )
        return served(process, pages, keys=keys, origins=origins, read=follows.read, count=count)

    async def _end_work(self, tasks: Tasks) -> None:
        end_by = self.clock.monotonic() if self._end_by is None else self._end_by
        await tasks.close(max(0.0, end_by - self.clock.monotonic()))
