"""Where a prediction stands is a function of the time: nothing runs in the background."""

import math
from dataclasses import dataclass, field
from typing import Literal

from gateway.simulator.scripts import FetchedInput, Program
from gateway.simulator.wire import Json

Status = Literal["starting", "processing", "succeeded", "failed", "canceled", "aborted"]
TERMINAL: frozenset[str] = frozenset({"succeeded", "failed", "canceled", "aborted"})
ROUNDING_S = 1e-5
"""Wall times have room for a quarter of a microsecond: a moment this near has come."""


@dataclass(slots=True)
class Prediction:
    """What is remembered of a prediction, or of a training. Times are seconds since 1970."""

    id: str
    number: int
    model: str
    """As asked for, `owner/name`."""
    shown_model: str
    shown_version: str
    program: Program
    input_json: bytes
    created_at: float
    queue_s: float
    run_s: float
    pace: float
    """What the durations of the script are multiplied with: 1 / speed."""
    fails: bool = False
    metrics: dict[str, Json] = field(default_factory=dict)
    official: bool = False
    source: str = "api"
    deployment: str | None = None
    destination: str | None = None
    """Where a training pushes its version; None for a prediction."""
    webhook: str | None = None
    webhook_events_filter: tuple[str, ...] | None = None
    webhook_completed: str | None = None
    deadline: float = math.inf
    canceled_at: float = math.inf
    expired_at: float = math.inf
    """Set by tests: from then on its data is gone whatever its age."""
    forgotten: bool = False
    """Set by tests: the service no longer knows it."""
    fetch_url: str | None = None
    fetched: FetchedInput | None = None
    fetched_at: float = math.inf

    @property
    def starts_at(self) -> float:
        """Return when it starts to run, if it is not stopped before."""
        return self.created_at + self.queue_s

    @property
    def ends_at(self) -> float:
        """Return when it ends by itself; infinite while its input is being fetched."""
        ends = self.starts_at + self.run_s
        return ends if self.fetch_url is None else max(ends, self.fetched_at)


@dataclass(frozen=True, slots=True)
class Moment:
    """A prediction at one point of time."""

    status: Status
    started_at: float | None = None
    completed_at: float | None = None
    elapsed_s: float = 0.0
    """How long it has been running."""
    removed: bool = False
    """Its input, output, logs and files are gone."""

    @property
    def terminal(self) -> bool:
        """Return whether it will not change any more (but for the removal of its data)."""
        return self.status in TERMINAL


def moment(prediction: Prediction, now: float, ttl_s: float) -> Moment:
    """Return where a prediction stands."""
    reached = now + ROUNDING_S
    starts, ends = prediction.starts_at, prediction.ends_at
    stops = min(prediction.canceled_at, prediction.deadline)
    if stops < min(starts, ends):
        if reached < stops:
            return Moment("starting")
        by_hand = prediction.canceled_at <= prediction.deadline
        removed = _removed(prediction, stops, reached, ttl_s)
        return Moment("canceled" if by_hand else "aborted", None, stops, removed=removed)
    if reached < starts:
        return Moment("starting")
    if reached < min(ends, stops):
        return Moment("processing", starts, elapsed_s=max(0.0, now - starts))
    completed = min(ends, stops)
    status: Status = "failed" if prediction.fails else "succeeded"
    return Moment(
        "canceled" if stops < ends else status,
        starts,
        completed,
        completed - starts,
        _removed(prediction, completed, reached, ttl_s),
    )


def shown_s(prediction: Prediction, reached: Moment) -> float:
    """Return how far the script has come, in its own seconds (those of speed 1)."""
    return (reached.elapsed_s + ROUNDING_S) / prediction.pace


def next_change(prediction: Prediction, now: float) -> float:
    """Return when the prediction will have ended, as far as is known now."""
    return min(prediction.ends_at, prediction.canceled_at, prediction.deadline)


def _removed(prediction: Prediction, completed: float, reached: float, ttl_s: float) -> bool:
    return reached >= min(completed + ttl_s, prediction.expired_at)
