"""The page that Prometheus reads: counted numbers of all workers, and numbers worked out now.

prometheus-client's mode for several processes can neither forget a label nor run collectors, so
gauges about the state of the ledger and the machine are asked for while the page is made.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from gateway.clock import Clock
from gateway.metrics import definitions as d
from gateway.metrics.labels import BoundedLabel

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# A page is reused for so many times as long as it took to make: one core is never kept busy by more
# than a tenth with this, however often somebody asks, and a small page is always fresh.
_REST = 9

_log = logging.getLogger(__name__)


class Unreadable(Exception):
    """A source of gauges cannot be asked now; the page is made without its numbers."""


@dataclass(frozen=True, slots=True)
class Gauges:
    """What is known at this moment. None (or an empty mapping) leaves a gauge off the page."""

    predictions_in_flight: Mapping[str, int] | None = None
    """By user's name."""
    quota_used_ratio: Mapping[tuple[str, str, str], float] | None = None
    """By user's name, metric and window; several rules of one kind give the fullest."""
    creates_in_doubt: int | None = None
    follower_lag_seconds: float | None = None
    outbox_pending: int | None = None
    outbox_oldest_seconds: float | None = None
    mirror_stored_bytes: int | None = None
    disk_free_bytes: int | None = None
    cache_bytes: Mapping[str, int] | None = None
    """Of caches that the workers share, by cache: ``disk``."""


Source = Callable[[], Gauges]


class Page(Collector):
    """Makes the page. `render` may be called from any thread, several at once."""

    def __init__(
        self,
        registry: CollectorRegistry,
        users: BoundedLabel,
        clock: Clock,
        version: str,
        multiprocess_dir: Path | None,
        on_failure: Callable[[], None],
    ) -> None:
        self._counted: Collector = (
            registry
            if multiprocess_dir is None
            else MultiProcessCollector(None, path=str(multiprocess_dir))  # type: ignore[no-untyped-call]  # published without
        )
        self._users = users
        self._clock = clock
        self._version = version
        self._on_failure = on_failure
        self._sources: list[Source] = []
        self._lock = Lock()
        self._page = b""
        self._good_until = 0.0

    def add_source(self, source: Source) -> None:
        """Ask this too on every page; it is called in the thread that makes the page.

        It raises :class:`Unreadable` if it cannot tell. Of several sources that know one gauge the
        last counts.
        """
        self._sources.append(source)

    def render(self) -> bytes:
        """Return the page, as text of :data:`CONTENT_TYPE`.

        Takes about 30 ms per 1,000 series: call it in a thread.
        """
        with self._lock:
            begun = self._clock.monotonic()
            if not self._page or begun >= self._good_until:
                self._page = generate_latest(self)
                ended = self._clock.monotonic()
                self._good_until = ended + _REST * (ended - begun)
            return self._page

    def collect(self) -> Iterator[Metric]:
        """Yield every family with its samples: prometheus-client's own protocol."""
        gauges = list(self._ask())
        caches = {name: size for told in gauges for name, size in (told.cache_bytes or {}).items()}
        seen_caches = False
        for family in self._counted.collect():
            if family.name == d.CACHE_BYTES.full_name:
                seen_caches = True
                for name, size in caches.items():
                    family.add_sample(family.name, {"cache": name}, size)
            yield family
        if caches and not seen_caches:
            yield _family(d.CACHE_BYTES, [((name,), size) for name, size in caches.items()])
        yield _family(d.BUILD_INFO, [((self._version,), 1)])
        yield from self._scraped(gauges)

    def _ask(self) -> Iterator[Gauges]:
        for source in self._sources:
            try:
                yield source()
            except Unreadable as error:
                _log.warning("metrics: a page without some gauges: %s", error)
                self._on_failure()

    def _scraped(self, gauges: Iterable[Gauges]) -> Iterator[Metric]:
        singles: dict[d.Definition, float] = {}
        running: dict[tuple[str, ...], float] = {}
        ratios: dict[tuple[str, ...], float] = {}
        for told in gauges:
            singles |= {name: value for name, value in _singles(told) if value is not None}
            for name, count in (told.predictions_in_flight or {}).items():
                user = (self._users.of(name),)
                running[user] = running.get(user, 0) + count
            for (name, metric, per), ratio in (told.quota_used_ratio or {}).items():
                labels = (self._users.of(name), metric, per)
                ratios[labels] = max(ratios.get(labels, 0), ratio)
        for definition, value in singles.items():
            yield _family(definition, [((), value)])
        if running:
            yield _family(d.PREDICTIONS_IN_FLIGHT, running.items())
        if ratios:
            yield _family(d.QUOTA_USED_RATIO, ratios.items())


def _singles(told: Gauges) -> tuple[tuple[d.Definition, float | None], ...]:
    return (
        (d.CREATES_IN_DOUBT, told.creates_in_doubt),
        (d.FOLLOWER_LAG, told.follower_lag_seconds),
        (d.OUTBOX_PENDING, told.outbox_pending),
        (d.OUTBOX_OLDEST, told.outbox_oldest_seconds),
        (d.MIRROR_STORED_BYTES, told.mirror_stored_bytes),
        (d.DISK_FREE, told.disk_free_bytes),
    )


def _family(
    definition: d.Definition, samples: Iterable[tuple[tuple[str, ...], float]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(definition.full_name, definition.help, labels=definition.labels)
    for labels, value in samples:
        family.add_metric(labels, value)
    return family
