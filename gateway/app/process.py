"""What all services of one worker process share."""

from dataclasses import dataclass, field

from gateway.clock import Clock
from gateway.metrics import Metrics
from gateway.settings import Settings
from gateway.web.middleware import Gate
from gateway.workers import Kick, Tasks


@dataclass(frozen=True, slots=True)
class Kicks:
    """What cuts short the wait of a loop that somebody has found work for."""

    follow: Kick = field(default_factory=Kick)
    fetch: Kick = field(default_factory=Kick)
    deliver: Kick = field(default_factory=Kick)
    prune: Kick = field(default_factory=Kick)


@dataclass(frozen=True, slots=True)
class Process:
    """Handed to whatever builds services, from the start of a gateway to its stop."""

    settings: Settings
    clock: Clock
    metrics: Metrics
    gate: Gate
    worker_id: str
    tasks: Tasks
    kicks: Kicks = field(default_factory=Kicks)
