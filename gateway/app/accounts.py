"""The services for what people know, limit and remove: reports, limits, erasing."""

import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gateway.cache import Cache
from gateway.clock import Clock
from gateway.flows.administer import Administer
from gateway.flows.count_requests import CountRequests
from gateway.flows.erase_predictions import ErasePredictions
from gateway.flows.forget_erased import ForgetErased
from gateway.flows.make_room import MakeRoom, Room
from gateway.flows.prune import DAY_S, Prune, PruneLoop
from gateway.flows.report_limits import ReportLimits
from gateway.flows.report_usage import ReportUsage
from gateway.flows.show_rows import ListRows
from gateway.ledger import Ledger
from gateway.mirror import Mirror
from gateway.settings import Settings
from gateway.web.admin import AdminApi, AdminFlows
from gateway.web.admin.keys import Keys
from gateway.web.admin.plans import Plans
from gateway.web.admin.records import Records
from gateway.web.admin.storage import Storage
from gateway.web.admin.users import Users
from gateway.web.endpoints import EndpointApp
from gateway.web.identity import KeyRing
from gateway.web.me_api import MeApi
from gateway.web.origin import Origins
from gateway.workers import Kick

Step = Callable[[], Awaitable[float]]


@dataclass(frozen=True, slots=True)
class Accounts:
    """What is served, and what goes on beside it."""

    apps: tuple[EndpointApp, ...]
    loops: tuple[tuple[str, Step, Kick | None], ...]
    usage: ReportUsage
    limits: ReportLimits
    erase: ErasePredictions
    administer: Administer


def accounts(
    *,
    settings: Settings,
    ledger: Ledger,
    cache: Cache,
    mirror: Mirror,
    room: Room,
    prune_kick: Kick,
    worker_id: str,
    clock: Clock,
    keys: KeyRing,
    origins: Origins,
    count: CountRequests,
    forget: Callable[[], None],
) -> Accounts:
    """Build them; `forget` empties what this process remembers of finished predictions."""
    usage = ReportUsage(ledger)
    limits = ReportLimits(ledger, clock, count.standings)
    rows = ListRows(ledger)
    erase = ErasePredictions(ledger, cache, mirror, clock)
    make_room = MakeRoom(ledger, mirror, clock, room)
    prune = pruning(settings, ledger, mirror, clock, erase, make_room)
    me = MeApi(ledger, clock, usage, limits, rows, erase)
    administer = Administer(ledger, clock, lambda: keys.policy)
    admin = AdminApi(
        AdminFlows(
            Users(ledger, administer, limits, erase, lambda: keys.policy),
            Keys(ledger, clock, administer),
            Plans(ledger, lambda: keys.policy),
            Records(ledger, clock, administer, usage, rows, erase),
            Storage(ledger, clock, administer, cache, mirror, settings.mirror.max_bytes, prune),
        )
    )
    most = settings.server.max_body_bytes
    return Accounts(
        apps=tuple(
            EndpointApp(table, keys, origins, count.admit, most)
            for table in (me.table(), admin.table)
        ),
        loops=(
            (
                "erasures",
                ForgetErased(ledger, cache, clock, forget, lambda: keys.revision),
                None,
            ),
            ("prune", PruneLoop(ledger, clock, prune, make_room, worker_id), prune_kick),
        ),
        usage=usage,
        limits=limits,
        erase=erase,
        administer=administer,
    )


def pruning(
    settings: Settings,
    ledger: Ledger,
    mirror: Mirror,
    clock: Clock,
    erase: ErasePredictions,
    make_room: MakeRoom,
) -> Prune:
    """Return what removes what these settings no longer keep."""
    return Prune(
        ledger,
        mirror,
        clock,
        erase,
        make_room,
        documents_s=settings.retention.documents_days * DAY_S,
        files_s=settings.retention.files_days * DAY_S,
    )


def room_of(settings: Settings, wanted: Callable[[], None]) -> Room:
    """Return the room that these settings give the mirror."""
    folder = settings.storage.data_dir
    return Room(settings.mirror.max_bytes, lambda: shutil.disk_usage(folder).free, wanted)
