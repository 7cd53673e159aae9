"""The page ``docs/metrics.md``, made from the definitions."""

import sys

from gateway.metrics.definitions import ALL

_HEAD = """\
# Metrics

<!-- Made from gateway/metrics/definitions.py by
     `python -m gateway.metrics.reference > docs/metrics.md`; changes here are overwritten. -->

`GET /metrics` answers Prometheus' text format: to this machine without a key, to others with an
admin's key; `server.metrics_port` opens a port that needs none.

| name | type | labels | what it tells |
| --- | --- | --- | --- |
"""

_TAIL = """
- **`route`** is the route's template, never a path that somebody sent.
- **`user`, `team` and `model`** are bounded: the first `metrics.max_users` users, as many teams and
  the first `metrics.max_models` models have a label of their own, all further ones are counted as
  `other`. Who is first is common to all workers of a machine and lasts until the gateway restarts.
  No team and an unknown model are an empty label. `model` is the one that was asked for.
- **Several workers**: any of them answers for all of the machine. Counters and histograms are sums
  since the gateway was started, workers that have ended included. `create_queue_depth` and
  `cache_bytes` of memory are sums of the living; `upstream_ratelimit_remaining` is what was heard
  last.
- **Several machines**: let Prometheus read each. Gauges that come from the ledger
  (`predictions_in_flight`, `quota_used_ratio`, `creates_in_doubt`, `follower_lag_seconds`,
  `outbox_pending`, `outbox_oldest_seconds`, `mirror_stored_bytes`) are about all machines, so take
  their `max`, not their `sum`. While the ledger cannot be asked they are missing.
- **`images_total` and `tokens_total`** count what ended, also what failed or was canceled: a quota
  counts the same. `workers` is of one machine: take the `sum`.
- **`cost_usd_total`** is an estimate from the price table; models without a price add nothing.
- **`process_*`** (memory, processor time, open files) is there with one worker only.
- The page is reused for nine times as long as it took to make, so that scraping costs at most a
  tenth of one core.
"""


def markdown() -> str:
    """Return the page."""
    rows = []
    for definition in ALL:
        labels = ", ".join(f"`{label}`" for label in definition.labels) or "–"
        rows.append(
            f"| `{definition.full_name}` | {definition.kind} | {labels} | {definition.help} |\n"
        )
    return _HEAD + "".join(rows) + _TAIL


if __name__ == "__main__":
    sys.stdout.write(markdown())
