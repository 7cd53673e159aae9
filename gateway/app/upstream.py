"""What speaks HTTP with the world: Replicate's API, its files and streams, users' webhooks."""

from contextlib import AsyncExitStack
from dataclasses import dataclass

from gateway.app.dashboard import both
from gateway.app.process import Process
from gateway.dashboard import UpstreamHealth
from gateway.domain.origins import UpstreamOrigins, parse_origin_pattern
from gateway.flows.shared_allowance import SharedAllowance
from gateway.ledger import Ledger
from gateway.settings import Settings
from gateway.upstream import Allowance, Downloads, Hooks, Streams, Upstream, WebhookSender
from gateway.upstream.share import Kind

# So many that wait for the account's allowance make readers look at its list instead.
_CROWD = 4


@dataclass(frozen=True, slots=True)
class Outside:
    """Everybody whom the gateway calls."""

    health: UpstreamHealth
    allowance: Allowance
    upstream: Upstream
    downloads: Downloads
    sender: WebhookSender
    streams: Streams

    def crowded(self) -> bool:
        """Return whether reads of single predictions should give way to those of the list."""
        return self.allowance.waiting(Kind.REQUEST) >= _CROWD

    def waiting(self, kind: str) -> int:
        """Return how many stand in line for an allowance in this process."""
        return self.allowance.waiting(Kind(kind))


async def open_upstream(process: Process, stack: AsyncExitStack, ledger: Ledger) -> Outside:
    """Open it on the stack."""
    settings, clock, metrics = process.settings.upstream, process.clock, process.metrics
    webhooks = process.settings.webhooks
    origins = upstream_origins(process.settings)
    health = UpstreamHealth(clock)
    hooks = Hooks(
        on_request=both(metrics.upstream_request, health.note),
        on_token_refused=both(metrics.token_refused, health.token_refused),
        on_ratelimit=metrics.ratelimit_remaining,
        on_queue_depth=metrics.queue_depth,
    )
    allowance = Allowance(
        creates_per_minute=settings.creates_per_minute,
        requests_per_minute=settings.requests_per_minute,
        max_queue_s=settings.max_queue_s,
        clock=clock,
        hooks=hooks,
        share=SharedAllowance(
            ledger,
            {
                Kind.CREATE: settings.creates_per_minute,
                Kind.REQUEST: settings.requests_per_minute,
            },
        ),
    )
    upstream = await stack.enter_async_context(
        Upstream(
            base_url=settings.base_url,
            token=settings.token.get_secret_value(),
            connect_timeout_s=settings.connect_timeout_s,
            read_timeout_s=settings.read_timeout_s,
            allowance=allowance,
            clock=clock,
            hooks=hooks,
        )
    )
    downloads = await stack.enter_async_context(
        Downloads(
            origins.delivery,
            connect_timeout_s=settings.connect_timeout_s,
            read_timeout_s=settings.read_timeout_s,
        )
    )
    sender = await stack.enter_async_context(
        WebhookSender(
            timeout_s=webhooks.timeout_s,
            allow_private=webhooks.allow_private_addresses,
        )
    )
    streams = await stack.enter_async_context(
        Streams(origins.streams, connect_timeout_s=settings.connect_timeout_s)
    )
    return Outside(health, allowance, upstream, downloads, sender, streams)


def upstream_origins(settings: Settings) -> UpstreamOrigins:
    """Return where upstream's URLs may lead."""
    upstream = settings.upstream
    return UpstreamOrigins(
        api=upstream.base_url,
        delivery=tuple(parse_origin_pattern(text) for text in upstream.delivery_origins),
        streams=tuple(parse_origin_pattern(text) for text in upstream.stream_origins),
    )
