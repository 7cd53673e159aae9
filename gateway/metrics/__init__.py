"""Every Prometheus instrument, declared once; the only room that knows prometheus-client."""

from gateway.metrics.instruments import MULTIPROCESS_VARIABLE, HttpSeries, Metrics
from gateway.metrics.page import CONTENT_TYPE, Gauges, Source, Unreadable
from gateway.metrics.processes import prepare_workers_dir, worker_ended

__all__ = [
    "CONTENT_TYPE",
    "MULTIPROCESS_VARIABLE",
    "Gauges",
    "HttpSeries",
    "Metrics",
    "Source",
    "Unreadable",
    "prepare_workers_dir",
    "worker_ended",
]
