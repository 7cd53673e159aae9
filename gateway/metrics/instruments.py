"""The instruments of one process, bound once so that counting a request costs a microsecond."""

from pathlib import Path
from typing import Final

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values

from gateway import __version__
from gateway.clock import Clock, SystemClock
from gateway.domain.usage import Usage
from gateway.metrics import definitions as d
from gateway.metrics.labels import OTHER, BoundedLabel
from gateway.metrics.page import Page, Source

# The time at which each series was made, a third series per counter, tells nobody anything here.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # published without

MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Must name the workers' folder in the environment before prometheus-client is first imported."""

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "QUERY", "OPTIONS"})
# What can be counted of these; they begin at zero, so that a graph shows a line from the start and
# the first of each is an increase to Prometheus.
_CACHES: Final = ("memory", "disk", "mirror")
_DELIVERIES: Final = ("delivered", "failed", "dead")
_NANO: Final = 10**9
_MICRO: Final = 10**6


class HttpSeries:
    """What is counted of the requests of one route and method."""

    __slots__ = ("_by_status", "_duration", "_requests", "_route_method")

    def __init__(self, requests: Counter, duration: Histogram, route: str, method: str) -> None:
        self._requests = requests
        self._route_method = (route, method)
        self._duration = duration.labels(route, method)
        self._by_status: dict[int, Counter] = {}

    def done(self, status: int, seconds: float) -> None:
        """Count one answer, and the time that it took."""
        counter = self._by_status.get(status)
        if counter is None:
            counter = self._requests.labels(*self._route_method, str(status))
            self._by_status[status] = counter
        counter.inc()
        self._duration.observe(seconds)


class Metrics:
    """Every instrument of one process, in a registry of its own.

    With `multiprocess_dir` (the same folder for all workers, made by
    :func:`gateway.metrics.prepare_workers_dir`) the page of any worker shows the sum of all. Raises
    RuntimeError if the environment did not announce that folder in time. The counting methods
    belong to one thread, the event loop's; :meth:`render` to any.
    """

    def __init__(
        self,
        *,
        max_models: int = 200,
        max_users: int = 500,
        clock: Clock | None = None,
        multiprocess_dir: Path | None = None,
        version: str = __version__,
    ) -> None:
        if multiprocess_dir is not None and not values.ValueClass._multiprocess:
            raise RuntimeError(f"{MULTIPROCESS_VARIABLE} was not set when the process began")
        self._registry = CollectorRegistry()
        self.http_requests = self._counter(d.HTTP_REQUESTS)
        self.http_request_duration = self._histogram(d.HTTP_REQUEST_DURATION)
        self.predictions = self._counter(d.PREDICTIONS)
        self.predict_seconds = self._counter(d.PREDICT_SECONDS)
        self.images = self._counter(d.IMAGES)
        self.tokens = self._counter(d.TOKENS)
        self.cost_usd = self._counter(d.COST_USD)
        self.quota_rejections = self._counter(d.QUOTA_REJECTIONS)
        self.cache_requests = self._counter(d.CACHE_REQUESTS)
        self.cache_bytes = self._gauge(d.CACHE_BYTES)
        self.mirror_files = self._counter(d.MIRROR_FILES)
        self.mirror_bytes = self._counter(d.MIRROR_BYTES)
        self.upstream_requests = self._counter(d.UPSTREAM_REQUESTS)
        self.upstream_token_refused = self._counter(d.UPSTREAM_TOKEN_REFUSED)
        self.upstream_request_duration = self._histogram(d.UPSTREAM_REQUEST_DURATION)
        self.upstream_ratelimit_remaining = self._gauge(d.UPSTREAM_RATELIMIT_REMAINING)
        self.create_queue_depth = self._gauge(d.CREATE_QUEUE_DEPTH)
        self.polls_saved = self._counter(d.POLLS_SAVED)
        self.predictions_lost = self._counter(d.PREDICTIONS_LOST)
        self.webhook_deliveries = self._counter(d.WEBHOOK_DELIVERIES)
        self.ledger_duration = self._histogram(d.LEDGER_DURATION)
        self.workers = self._gauge(d.WORKERS)
        self.workers.set(1)  # the sum of the living is how many there are
        self.streams_dropped = self._counter(d.STREAMS_DROPPED)
        self.task_failures = self._counter(d.TASK_FAILURES)
        self.scrape_failures = self._counter(d.SCRAPE_FAILURES)

        def bounded(name: str, most: int) -> BoundedLabel:
            shared = multiprocess_dir / f"{name}.names" if multiprocess_dir is not None else None
            return BoundedLabel(most, shared)

        users = bounded("user", max_users)
        self.bounded_user = users.of
        self.bounded_model = bounded("model", max_models).of
        self.bounded_team = bounded("team", max_users).of
        self._http: dict[tuple[str, str], HttpSeries] = {}
        self._ledger = {kind: self.ledger_duration.labels(kind) for kind in ("read", "write")}
        self._cache_results = {
            (cache, result): self.cache_requests.labels(cache, result)
            for cache in _CACHES
            for result in ("hit", "miss")
        }
        for result in _DELIVERIES:
            self.webhook_deliveries.labels(result)
        self.mirror_files.labels("stored")
        self._page = Page(
            self._registry,
            users,
            clock or SystemClock(),
            version,
            multiprocess_dir,
            self.scrape_failures.inc,
        )
        if multiprocess_dir is None:
            # Memory, open files and processor time of this process; they cannot be added up.
            prometheus_client.ProcessCollector(registry=self._registry)

    def http(self, route: str, method: str) -> HttpSeries:
        """Return what counts this route's requests; `route` is a template, never a raw path."""
        series = self._http.get((route, method))
        if series is None:
            known = method if method in _METHODS else OTHER
            series = self._http.get((route, known)) or HttpSeries(
                self.http_requests, self.http_request_duration, route, known
            )
            # A method of the caller's own invention is not remembered: there is no end of them.
            self._http[route, known] = series
        return series

    def prediction_settled(
        self,
        *,
        user: str,
        team: str,
        model: str,
        status: str,
        usage: Usage,
        cost_nano: int | None,
    ) -> None:
        """Count one that ended; an unknown cost (None) is not counted as one of nothing."""
        names = self.bounded_user(user), self.bounded_team(team), self.bounded_model(model)
        self.predictions.labels(*names, status).inc()
        self.predict_seconds.labels(*names).inc((usage.predict_us or 0) / _MICRO)
        if usage.images:
            self.images.labels(*names).inc(usage.images)
        for direction, tokens in (("input", usage.tokens_in), ("output", usage.tokens_out)):
            if tokens:
                self.tokens.labels(*names, direction).inc(tokens)
        if cost_nano:
            self.cost_usd.labels(*names).inc(cost_nano / _NANO)

    def quota_rejected(self, user: str, metric: str) -> None:
        """Count a request refused by a quota; `metric` may be ``concurrent_predictions``."""
        self.quota_rejections.labels(self.bounded_user(user), metric).inc()

    def cache_result(self, cache: str, result: str) -> None:
        """Count a look-up in ``memory``, ``disk`` or ``mirror``: ``hit`` or ``miss``."""
        counter = self._cache_results.get((cache, result))
        if counter is None:
            counter = self.cache_requests.labels(cache, result)
            self._cache_results[cache, result] = counter
        counter.inc()

    def memory_holds(self, cache: str, size: int) -> None:
        """Note the bytes that a cache of this process holds. Shared ones come with the gauges."""
        self.cache_bytes.labels(cache).set(size)

    def mirror_fetched(self, result: str, size: int = 0) -> None:
        """Count an output file that was fetched, or not, and its bytes."""
        self.mirror_files.labels(result).inc()
        self.mirror_bytes.inc(size)

    def upstream_request(self, operation: str, status: str, seconds: float) -> None:
        """Count a request to Replicate; without an answer `status` is a word."""
        self.upstream_requests.labels(operation, status).inc()
        self.upstream_request_duration.labels(operation).observe(seconds)

    def token_refused(self, _status: int) -> None:
        """Count an answer that did not accept the account's token."""
        self.upstream_token_refused.inc()

    def ratelimit_remaining(self, kind: str, remaining: int) -> None:
        """Note what Replicate says is left: of ``create`` or ``request``."""
        self.upstream_ratelimit_remaining.labels(kind).set(remaining)

    def queue_depth(self, waiting: int) -> None:
        """Note how many creates wait in line in this process."""
        self.create_queue_depth.set(waiting)

    def ledger_took(self, kind: str, seconds: float) -> None:
        """Note what a ``read`` or ``write`` of the ledger took."""
        self._ledger[kind].observe(seconds)

    def webhook_delivery(self, result: str) -> None:
        """Count an attempt: ``delivered``, ``failed`` or ``dead``."""
        self.webhook_deliveries.labels(result).inc()

    def task_failed(self, name: str) -> None:
        """Count a task that died; only the first word of its name, the rest may be an id."""
        self.task_failures.labels(name.partition(" ")[0]).inc()

    def add_source(self, source: Source) -> None:
        """Ask `source` for gauges whenever the page is made, see :class:`gateway.metrics.Page`."""
        self._page.add_source(source)

    def render(self) -> bytes:
        """Return the page; slow with many series, so call it in a thread."""
        return self._page.render()

    def _counter(self, definition: d.Definition) -> Counter:
        return Counter(
            d.PREFIX + definition.name,
            definition.help,
            definition.labels,
            registry=self._registry,
        )

    def _gauge(self, definition: d.Definition) -> Gauge:
        return Gauge(
            d.PREFIX + definition.name,
            definition.help,
            definition.labels,
            registry=self._registry,
            multiprocess_mode=definition.merge,
        )

    def _histogram(self, definition: d.Definition) -> Histogram:
        return Histogram(
            d.PREFIX + definition.name,
            definition.help,
            definition.labels,
            registry=self._registry,
            buckets=definition.buckets,
        )
