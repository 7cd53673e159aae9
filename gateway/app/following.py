"""The services that find out how predictions stand, keep it, and tell whoever is to know."""

from collections.abc import Callable
from dataclasses import dataclass

from gateway.app.loops import Loop
from gateway.app.process import Process
from gateway.app.storage import Storage
from gateway.app.upstream import Outside
from gateway.domain.plans import Policy
from gateway.domain.urls import UrlMap
from gateway.flows.announce import Announce
from gateway.flows.deliver_webhook import DeliverWebhooks
from gateway.flows.fetch_outputs import FetchOutputs
from gateway.flows.follow_predictions import FollowPredictions
from gateway.flows.known_predictions import KnownPredictions
from gateway.flows.look import Look
from gateway.flows.observe import Observe
from gateway.flows.present import Presenter
from gateway.flows.read_prediction import ReadPrediction
from gateway.flows.read_statuses import ReadStatuses
from gateway.flows.upstream_lists import UpstreamLists
from gateway.flows.warn_of_quotas import WarnOfQuotas
from gateway.mirror import Mirror


@dataclass(frozen=True, slots=True)
class Following:
    """What is served, what others build on, and what goes on beside it."""

    read: ReadPrediction
    look: Look
    lists: UpstreamLists
    observe: Observe
    announce: Announce
    warn: WarnOfQuotas
    loops: tuple[Loop, ...]


def following(
    process: Process,
    storage: Storage,
    outside: Outside,
    mirror: Mirror,
    *,
    urls: UrlMap,
    presenter: Presenter,
    policy: Callable[[], Policy],
) -> Following:
    """Build them."""
    settings, clock, metrics = process.settings, process.clock, process.metrics
    kicks, spawn, worker_id = process.kicks, process.tasks.spawn, process.worker_id
    ledger, upstream = storage.ledger, outside.upstream
    poll_interval_s = settings.upstream.poll_interval_ms / 1000
    announce = Announce(presenter, clock, kicks.deliver.kick)
    warn = WarnOfQuotas(ledger, clock, policy, kicks.deliver.kick)
    observe = Observe(
        ledger,
        storage.cache,
        urls,
        clock,
        metrics,
        policy=policy,
        files_wanted=kicks.fetch.kick,
        poll_interval_s=poll_interval_s,
        announce=announce,
        warn=warn,
    )
    lists = UpstreamLists(upstream, clock)
    statuses = ReadStatuses(ledger, lists, observe, clock, spawn)
    known = KnownPredictions(ledger, spawn)
    look = Look(
        ledger,
        upstream,
        observe,
        statuses,
        known,
        clock,
        metrics,
        spawn,
        worker_id,
        poll_interval_s,
        crowded=outside.crowded,
    )
    follow = FollowPredictions(ledger, look, statuses, clock, spawn, kicks.follow.kick, worker_id)
    fetch = FetchOutputs(ledger, mirror, clock, spawn, kicks.fetch.kick, worker_id)
    deliver = DeliverWebhooks(
        ledger,
        outside.sender,
        clock,
        metrics,
        spawn,
        worker_id,
        teams=lambda: policy().teams,
        kick=kicks.deliver.kick,
        timeout_s=settings.webhooks.timeout_s,
        max_attempts=settings.webhooks.max_attempts,
    )
    return Following(
        read=ReadPrediction(
            known,
            storage.cache,
            storage.memory,
            presenter,
            look,
            clock,
            metrics,
            poll_interval_s,
            settings.retention.documents_days * 86_400,
        ),
        look=look,
        lists=lists,
        observe=observe,
        announce=announce,
        warn=warn,
        loops=(
            ("follower", follow, kicks.follow),
            ("outputs", fetch, kicks.fetch),
            ("webhooks", deliver, kicks.deliver),
        ),
    )
