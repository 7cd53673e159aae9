"""build: from settings to an application that serves.

Services are opened in the order in which they need each other, on one stack, and closed in the
reverse order. The application around them is an ASGI server's: it opens them when the server starts
and closes them when it stops.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.app.accounts import accounts, room_of
from gateway.app.dashboard import both, dashboard
from gateway.app.files import file_flows
from gateway.app.gauges import of_ledger, of_machine
from gateway.app.policy import policy_of
from gateway.app.secret import SECRET_FACT
from gateway.cache import Cache, MemoryLru
from gateway.clock import Clock
from gateway.dashboard import UpstreamHealth
from gateway.domain import problems
from gateway.domain.origins import UpstreamOrigins, parse_origin_pattern
from gateway.domain.sources import SourceRefused, SourceUnreachable
from gateway.domain.stream_tokens import STREAM_KINDS, StreamTokens
from gateway.domain.urls import UrlMap
from gateway.flows.account import Account
from gateway.flows.announce import Announce
from gateway.flows.asked_model import AskedModel
from gateway.flows.cancel_prediction import CancelPrediction
from gateway.flows.count_requests import CountRequests
from gateway.flows.create_prediction import CreatePrediction
from gateway.flows.deliver_webhook import DeliverWebhooks
from gateway.flows.fetch_outputs import FetchOutputs
from gateway.flows.follow_predictions import FollowPredictions
from gateway.flows.forward_request import ForwardRequest
from gateway.flows.known_predictions import KnownPredictions
from gateway.flows.list_predictions import ListPredictions
from gateway.flows.look import Look
from gateway.flows.observe import Observe
from gateway.flows.own_secret import OwnSecret
from gateway.flows.own_training import OwnTraining
from gateway.flows.prepare_create import PrepareCreate
from gateway.flows.present import Presenter, Shown
from gateway.flows.read_output import ReadOutput
from gateway.flows.read_prediction import ReadPrediction
from gateway.flows.read_statuses import ReadStatuses
from gateway.flows.reconcile_creates import ReconcileCreates
from gateway.flows.relay_stream import RelayStream
from gateway.flows.repeat_create import RepeatCreate
from gateway.flows.resolve_inputs import ResolveInputs
from gateway.flows.reupload_output import ReuploadOutput
from gateway.flows.shared_allowance import SharedAllowance
from gateway.flows.stream_channel import Rooms
from gateway.flows.upstream_lists import UpstreamLists
from gateway.flows.warn_of_quotas import WarnOfQuotas
from gateway.ledger import Ledger, published, workers
from gateway.metrics import Metrics
from gateway.mirror import Mirror, MirrorEvents
from gateway.settings import Settings
from gateway.upstream import Allowance, Downloads, Hooks, Streams, Upstream, WebhookSender
from gateway.upstream.share import Kind
from gateway.web.api import Api, Flows
from gateway.web.delivery import Delivery
from gateway.web.front import Front
from gateway.web.health import Alive, MetricsPage, Readiness, disk_check
from gateway.web.identity import KeyRing
from gateway.web.middleware import Gate, middleware
from gateway.web.origin import Origins
from gateway.web.problem_response import http_exception_response, problem_response
from gateway.web.routes import Pages, allowed_methods, routes, translate
from gateway.web.streams import StreamPage
from gateway.workers import Kick, Tasks, run_forever

_log = logging.getLogger(__name__)

HEARTBEAT_S = 1.0
_MEMORY_BYTES = 64 * 1024 * 1024
_MEMORY_ITEMS = 20_000
# So many that wait for the account's allowance make readers look at its list instead.
_CROWD = 4


_Loop = tuple[str, Callable[[], Awaitable[float]], Kick | None]
"""Its name, a step that returns seconds until the next one, and what cuts that wait short."""


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
        data = settings.storage.data_dir
        data.mkdir(parents=True, exist_ok=True, mode=0o700)

        ledger = await stack.enter_async_context(
            Ledger(settings.storage.database_url, clock, folder=data)
        )
        if self._publishes:
            policy = policy_of(settings).to_json()
            await ledger.write(partial(published.publish, policy_json=policy, now=clock.now()))
        secret = await ledger.write(
            partial(published.remember, name=SECRET_FACT, value=clock.secret(32).hex())
        )
        stream_tokens = StreamTokens(bytes.fromhex(secret))
        urls = UrlMap(_origins(settings), stream_tokens)
        cache = Cache(data / "cache", settings.cache.max_bytes, clock=clock)
        stack.push_async_callback(cache.close)

        health = UpstreamHealth(clock)
        hooks = Hooks(
            on_request=both(metrics.upstream_request, health.note),
            on_ratelimit=metrics.ratelimit_remaining,
            on_queue_depth=metrics.queue_depth,
        )
        allowance = Allowance(
            creates_per_minute=settings.upstream.creates_per_minute,
            requests_per_minute=settings.upstream.requests_per_minute,
            max_queue_s=settings.upstream.max_queue_s,
            clock=clock,
            hooks=hooks,
            share=SharedAllowance(
                ledger,
                {
                    Kind.CREATE: settings.upstream.creates_per_minute,
                    Kind.REQUEST: settings.upstream.requests_per_minute,
                },
            ),
        )
        upstream = await stack.enter_async_context(
            Upstream(
                base_url=settings.upstream.base_url,
                token=settings.upstream.token.get_secret_value(),
                connect_timeout_s=settings.upstream.connect_timeout_s,
                read_timeout_s=settings.upstream.read_timeout_s,
                allowance=allowance,
                clock=clock,
                hooks=hooks,
            )
        )
        downloads = await stack.enter_async_context(
            Downloads(
                _origins(settings).delivery,
                connect_timeout_s=settings.upstream.connect_timeout_s,
                read_timeout_s=settings.upstream.read_timeout_s,
            )
        )
        sender = await stack.enter_async_context(
            WebhookSender(
                timeout_s=settings.webhooks.timeout_s,
                allow_private=settings.webhooks.allow_private_addresses,
            )
        )
        streams = await stack.enter_async_context(
            Streams(
                _origins(settings).streams,
                connect_timeout_s=settings.upstream.connect_timeout_s,
            )
        )
        # Below this line there is work under way; it ends before anything above is closed.
        tasks = Tasks(clock, on_failure=metrics.task_failed)
        prune_kick = Kick()
        room = room_of(settings, prune_kick.kick)
        mirror = await stack.enter_async_context(
            Mirror(
                data / "mirror",
                downloads,
                clock,
                settings.mirror.max_file_bytes,
                # What arrives is resumed after a restart: nobody waits for it at the end.
                partial(tasks.spawn, endless=True),
                room=room,
                faults=(SourceUnreachable, SourceRefused),
                events=MirrorEvents(
                    on_result=metrics.mirror_fetched,
                    on_bytes=lambda size: metrics.mirror_bytes.inc(size),
                ),
            )
        )
        stack.push_async_callback(self._end_work, tasks)

        room.of(mirror.stats)

        keys = KeyRing(ledger, clock, tasks)
        origins = Origins(
            public_url=settings.server.public_url,
            aliases=settings.server.public_aliases,
            trusted_proxies=settings.server.trusted_proxies,
            listener=_listener(settings),
        )
        presenter = Presenter(urls, metrics)
        poll_interval_s = settings.upstream.poll_interval_ms / 1000
        follow_kick, fetch_kick, deliver_kick = Kick(), Kick(), Kick()
        announce = Announce(presenter, clock, deliver_kick.kick)
        warn = WarnOfQuotas(ledger, clock, lambda: keys.policy, deliver_kick.kick)
        observe = Observe(
            ledger,
            cache,
            urls,
            clock,
            metrics,
            policy=lambda: keys.policy,
            files_wanted=fetch_kick.kick,
            poll_interval_s=poll_interval_s,
            announce=announce,
            warn=warn,
        )
        lists = UpstreamLists(upstream, clock)
        statuses = ReadStatuses(ledger, lists, observe, clock, tasks.spawn)
        known = KnownPredictions(ledger, tasks.spawn)
        look = Look(
            ledger,
            upstream,
            observe,
            statuses,
            known,
            clock,
            metrics,
            tasks.spawn,
            self.worker_id,
            poll_interval_s,
            crowded=lambda: allowance.waiting(Kind.REQUEST) >= _CROWD,
        )
        deliver = DeliverWebhooks(
            ledger,
            sender,
            clock,
            metrics,
            tasks.spawn,
            self.worker_id,
            teams=lambda: keys.policy.teams,
            kick=deliver_kick.kick,
            timeout_s=settings.webhooks.timeout_s,
            max_attempts=settings.webhooks.max_attempts,
        )
        account = Account(ledger, upstream, settings.upstream.token.get_secret_value())
        reconcile = ReconcileCreates(
            ledger,
            upstream,
            lists,
            observe,
            announce,
            urls,
            clock,
            account=account,
            worker_id=self.worker_id,
            longest_create_s=_longest_create_s(settings),
            follow=follow_kick.kick,
        )
        prepare = PrepareCreate(
            ledger=ledger,
            asked_model=AskedModel(ledger, upstream, clock),
            resolve_inputs=ResolveInputs(
                ledger,
                urls,
                clock,
                ReuploadOutput(
                    ledger,
                    mirror,
                    upstream,
                    urls,
                    clock,
                    tasks.spawn,
                    self.worker_id,
                    settings.upstream.max_upload_bytes,
                ),
                key_needed=settings.mirror.access == "key",
            ),
            clock=clock,
            policy=lambda: keys.policy,
            account=account,
            worker_id=self.worker_id,
            allow_private_webhooks=settings.webhooks.allow_private_addresses,
        )
        count = CountRequests(ledger, clock, metrics, warn)
        create = CreatePrediction(
            ledger=ledger,
            upstream=upstream,
            prepare=prepare,
            repeat=RepeatCreate(
                ledger, presenter, clock, self.worker_id, settings.upstream.max_queue_s
            ),
            observe=observe,
            announce=announce,
            warn=warn,
            presenter=presenter,
            urls=urls,
            clock=clock,
            metrics=metrics,
            creates_per_minute=settings.upstream.creates_per_minute,
            follow=follow_kick.kick,
            requests=count.standings,
        )
        memory = MemoryLru[tuple[str, str, str], Shown](_MEMORY_BYTES, _MEMORY_ITEMS, _weight)
        read = ReadPrediction(
            known,
            cache,
            memory,
            presenter,
            look,
            clock,
            metrics,
            poll_interval_s,
            settings.retention.documents_days * 86_400,
        )
        own = accounts(
            settings=settings,
            ledger=ledger,
            cache=cache,
            mirror=mirror,
            room=room,
            prune_kick=prune_kick,
            worker_id=self.worker_id,
            clock=clock,
            keys=keys,
            origins=origins,
            count=count,
            forget=memory.clear,
        )
        flows = Flows(
            create=create,
            read=read,
            cancel=CancelPrediction(ledger, upstream, observe, presenter, clock),
            list=ListPredictions(ledger, presenter),
            forward=ForwardRequest(ledger, upstream, urls, clock),
            count=count,
            limits=own.limits,
            secret=OwnSecret(ledger),
            training=OwnTraining(ledger),
            files=file_flows(ledger, upstream, downloads, urls, clock, account),
        )
        relay = RelayStream(
            Rooms(
                ledger=ledger,
                upstream=streams,
                look=look,
                urls=urls,
                clock=clock,
                spawn=tasks.spawn,
                files_wanted=fetch_kick.kick,
                worker_id=self.worker_id,
                linger_s=settings.upstream.stream_linger_s,
            ),
            stream_tokens,
        )
        # Streams end when they are told to, never by themselves.
        stack.push_async_callback(relay.close)
        key_needed = settings.mirror.access == "key"
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
            secret=bytes.fromhex(secret),
            ledger=ledger,
            clock=clock,
            keys=keys,
            origins=origins,
            urls=urls,
            presenter=presenter,
            read=read,
            own=own,
            health=health,
            waiting=lambda kind: allowance.waiting(Kind(kind)),
            readiness=readiness,
        )
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
            alive=Alive(bytes.fromhex(secret)),
            readiness=readiness,
            metrics=MetricsPage(metrics.render, keys.identify, lambda: keys.policy.contact),
        )
        self._metrics_page = pages.metrics
        metrics.add_source(
            of_ledger(ledger, clock, lambda: keys.policy, asyncio.get_running_loop())
        )
        metrics.add_source(
            of_machine(data, lambda: mirror.stats().bytes, lambda: cache.stats().bytes)
        )

        await keys.refresh()
        self._start_loops(
            tasks,
            ("heartbeat", partial(self._beat, ledger, memory), None),
            ("keys", keys.refresh, None),
            ("key use", keys.record_use, None),
            ("request counts", count.sync, None),
            (
                "follower",
                FollowPredictions(
                    ledger,
                    look,
                    statuses,
                    clock,
                    tasks.spawn,
                    follow_kick.kick,
                    self.worker_id,
                ),
                follow_kick,
            ),
            (
                "outputs",
                FetchOutputs(ledger, mirror, clock, tasks.spawn, fetch_kick.kick, self.worker_id),
                fetch_kick,
            ),
            ("webhooks", deliver, deliver_kick),
            ("reconciliation", reconcile, None),
            *own.loops,
        )

        def observe_http(route: str, method: str, status: int, seconds: float) -> None:
            metrics.http(route, method).done(status, seconds)

        served = Starlette(
            routes=routes(pages),
            exception_handlers={HTTPException: http_exception_response},
            middleware=middleware(
                clock=clock,
                observe=observe_http,
                gate=self.gate,
                translate=translate,
                allowed=partial(allowed_methods, tables=own.apps),
            ),
        )
        # An address with a slash too many is another one: the API's table knows which of them mean
        # the same, and a redirect is nothing that a client of it expects.
        served.router.redirect_slashes = False
        return Front(
            served,
            read,
            count,
            keys,
            origins,
            clock,
            self.gate,
            observe=observe_http,
            aborted_setting=settings.compat.aborted_as,
        )

    async def _end_work(self, tasks: Tasks) -> None:
        end_by = self.clock.monotonic() if self._end_by is None else self._end_by
        await tasks.close(max(0.0, end_by - self.clock.monotonic()))

    async def _beat(self, ledger: Ledger, memory: MemoryLru[tuple[str, str, str], Shown]) -> float:
        self.metrics.memory_holds("memory", memory.bytes)
        now = self.clock.now()
        await ledger.write(partial(workers.beat, worker_id=self.worker_id, now=now))
        return HEARTBEAT_S

    def _start_loops(self, tasks: Tasks, *loops: _Loop) -> None:
        """Start what goes on beside the requests."""
        for name, step, kick in loops:
            tasks.spawn(
                run_forever(name, step, self.clock, kick=kick, on_failure=self.metrics.task_failed),
                name,
                endless=True,
            )


def _origins(settings: Settings) -> UpstreamOrigins:
    upstream = settings.upstream
    return UpstreamOrigins(
        api=upstream.base_url,
        delivery=tuple(parse_origin_pattern(text) for text in upstream.delivery_origins),
        streams=tuple(parse_origin_pattern(text) for text in upstream.stream_origins),
    )


def _listener(settings: Settings) -> str:
    """Return the origin that a client means who names no host."""
    server = settings.server
    scheme = "http" if server.tls.mode == "off" else "https"
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"{scheme}://{host}:{server.port}"


def _longest_create_s(settings: Settings) -> float:
    """Return after how long nobody can be working on a create any more."""
    upstream = settings.upstream
    return upstream.max_queue_s + upstream.connect_timeout_s + 3 * upstream.read_timeout_s + 60


def _weight(shown: Shown) -> int:
    return len(shown.body)
