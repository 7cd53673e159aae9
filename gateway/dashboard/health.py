"""How upstream has answered lately, as this process saw it."""

from collections import deque
from dataclasses import dataclass

from gateway.clock import Clock

WINDOW_S = 300.0
_MOST = 2000


@dataclass(frozen=True, slots=True)
class Seen:
    """The last five minutes: requests, failures among them, the middle answer time in seconds."""

    requests: int
    failures: int
    median_s: float | None
    last_failure: str | None
    last_failure_at: float | None
    last_answer_at: float | None


class UpstreamHealth:
    """Keeps what became of the latest requests to upstream."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, bool, float]] = deque(maxlen=_MOST)
        self._last_failure: tuple[float, str] | None = None
        self._last_answer_at: float | None = None

    def note(self, operation: str, status: str, seconds: float) -> None:
        """Take in one attempt: its status is a number or a word for what went wrong."""
        if status == "cancelled":
            return
        now = self._clock.now()
        failed = not status.isdigit() or int(status) >= 500 or status in ("401", "429")
        self._seen.append((now, failed, seconds))
        if failed:
            self._last_failure = (now, f"{operation}: {status}")
        else:
            self._last_answer_at = now

    def token_refused(self, status: int) -> None:
        """Count what `note` took for an answer as a failure: a 403 shows in its body alone."""
        if status != 401 and self._seen:
            at, _, seconds = self._seen.pop()
            self._seen.append((at, True, seconds))
            self._last_failure = (at, f"the token was refused ({status})")

    def seen(self) -> Seen:
        """Return the summary."""
        since = self._clock.now() - WINDOW_S
        recent = [one for one in self._seen if one[0] >= since]
        times = sorted(seconds for _, failed, seconds in recent if not failed)
        at, what = self._last_failure or (None, None)
        return Seen(
            len(recent),
            sum(failed for _, failed, _ in recent),
            times[len(times) // 2] if times else None,
            what,
            at,
            self._last_answer_at,
        )
