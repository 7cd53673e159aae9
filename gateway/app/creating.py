"""The services for creates: made once, within every rule, and looked for when in doubt."""

from collections.abc import Callable
from dataclasses import dataclass

from gateway.app.following import Following
from gateway.app.loops import Loop
from gateway.app.process import Process
from gateway.app.upstream import Outside
from gateway.domain.plans import Policy
from gateway.domain.urls import UrlMap
from gateway.flows.account import Account
from gateway.flows.asked_model import AskedModel
from gateway.flows.await_ending import AwaitEnding
from gateway.flows.count_requests import CountRequests
from gateway.flows.create_prediction import CreatePrediction
from gateway.flows.prepare_create import PrepareCreate
from gateway.flows.present import Presenter
from gateway.flows.reconcile_creates import ReconcileCreates
from gateway.flows.repeat_create import RepeatCreate
from gateway.flows.resolve_inputs import ResolveInputs
from gateway.flows.reupload_output import ReuploadOutput
from gateway.ledger import Ledger
from gateway.mirror import Mirror
from gateway.settings import Settings


@dataclass(frozen=True, slots=True)
class Creating:
    """What is served, and what goes on beside it."""

    create: CreatePrediction
    account: Account
    loops: tuple[Loop, ...]


def creating(
    process: Process,
    ledger: Ledger,
    outside: Outside,
    mirror: Mirror,
    follows: Following,
    *,
    urls: UrlMap,
    presenter: Presenter,
    count: CountRequests,
    policy: Callable[[], Policy],
) -> Creating:
    """Build them."""
    settings, clock, worker_id = process.settings, process.clock, process.worker_id
    upstream, follow = outside.upstream, process.kicks.follow.kick
    account = Account(ledger, upstream, settings.upstream.token.get_secret_value())
    reconcile = ReconcileCreates(
        ledger,
        upstream,
        follows.lists,
        follows.observe,
        follows.announce,
        urls,
        clock,
        account=account,
        worker_id=worker_id,
        longest_create_s=_longest_create_s(settings),
        follow=follow,
    )
    reupload = ReuploadOutput(
        ledger,
        mirror,
        upstream,
        urls,
        clock,
        process.tasks.spawn,
        worker_id,
        settings.upstream.max_upload_bytes,
    )
    prepare = PrepareCreate(
        ledger=ledger,
        asked_model=AskedModel(ledger, upstream, clock),
        resolve_inputs=ResolveInputs(
            ledger, urls, clock, reupload, key_needed=settings.mirror.access == "key"
        ),
        clock=clock,
        policy=policy,
        account=account,
        worker_id=worker_id,
        allow_private_webhooks=settings.webhooks.allow_private_addresses,
    )
    create = CreatePrediction(
        ledger=ledger,
        upstream=upstream,
        prepare=prepare,
        repeat=RepeatCreate(ledger, presenter, clock, worker_id, settings.upstream.max_queue_s),
        await_ending=AwaitEnding(ledger, follows.look, clock),
        observe=follows.observe,
        announce=follows.announce,
        warn=follows.warn,
        presenter=presenter,
        urls=urls,
        clock=clock,
        metrics=process.metrics,
        creates_per_minute=settings.upstream.creates_per_minute,
        follow=follow,
        requests=count.standings,
    )
    return Creating(create, account, (("reconciliation", reconcile, None),))


def _longest_create_s(settings: Settings) -> float:
    """Return after how long nobody can be working on a create any more."""
    upstream = settings.upstream
    return upstream.max_queue_s + upstream.connect_timeout_s + 3 * upstream.read_timeout_s + 60
