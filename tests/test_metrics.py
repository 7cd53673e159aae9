import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.domain.usage import Usage
from gateway.metrics import (
    MULTIPROCESS_VARIABLE,
    Gauges,
    Metrics,
    Unreadable,
    prepare_workers_dir,
    worker_ended,
)
from gateway.metrics.definitions import ALL
from gateway.metrics.labels import OTHER, BoundedLabel
from gateway.metrics.reference import markdown

ROOT = Path(__file__).parents[1]

# The contract with dashboards and alarms, written out once more so that no change goes unnoticed.
CONTRACT = """
http_requests_total{route,method,status} http_request_duration_seconds{route,method}
predictions_total{user,team,model,status} predictions_in_flight{user}
predict_seconds_total{user,team,model} cost_usd_total{user,team,model}
quota_rejections_total{user,metric} quota_used_ratio{user,metric,per}
cache_requests_total{cache,result} cache_bytes{cache}
mirror_files_total{result} mirror_bytes_total mirror_stored_bytes
upstream_requests_total{operation,status} upstream_request_duration_seconds{operation}
upstream_ratelimit_remaining{kind} create_queue_depth creates_in_doubt polls_saved_total
follower_lag_seconds predictions_lost_total webhook_deliveries_total{result} outbox_pending
outbox_oldest_seconds disk_free_bytes build_info{version}
"""

EVERYTHING = Gauges(
    predictions_in_flight={"ada": 2},
    quota_used_ratio={("ada", "images", "day"): 0.5},
    creates_in_doubt=1,
    follower_lag_seconds=2.5,
    outbox_pending=3,
    outbox_oldest_seconds=4.5,
    mirror_stored_bytes=5,
    disk_free_bytes=6,
    cache_bytes={"disk": 7},
)


class Hands:
    """A clock that shows what it is told to, and moves by `step` whenever it is read."""

    def __init__(self) -> None:
        self.at = 0.0
        self.step = 0.0

    def monotonic(self) -> float:
        self.at += self.step
        return self.at

    def now(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += seconds

    def random(self) -> float:
        return 0.5

    def new_id(self) -> str:
        return "id"

    def secret(self, size: int) -> bytes:
        return bytes(size)


def samples(page: bytes) -> dict[str, float]:
    """Return every sample of the gateway's own, by name and labels as they stand in the page."""
    found = {}
    for family in text_string_to_metric_families(page.decode()):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            name = sample.name.removeprefix("replicate_gateway_")
            found[f"{name}{{{labels}}}" if labels else name] = sample.value
    return found


def use_everything(metrics: Metrics) -> None:
    metrics.http("/replicate/v1/predictions/{id}", "GET").done(200, 0.2)
    metrics.prediction_settled(
        user="ada",
        team="red",
        model="a/b",
        status="succeeded",
        usage=Usage(predict_us=1_500_000, images=4, tokens_in=30, tokens_out=5),
        cost_nano=2_000_000,
    )
    metrics.quota_rejected("ada", "images")
    metrics.cache_result("disk", "hit")
    metrics.memory_holds("memory", 11)
    metrics.mirror_fetched("stored", 1000)
    metrics.upstream_request("predictions.get", "200", 0.1)
    metrics.ratelimit_remaining("create", 599)
    metrics.queue_depth(4)
    metrics.ledger_took("write", 0.03)
    metrics.webhook_delivery("delivered")
    metrics.task_failed("look abc")
    metrics.polls_saved.inc()
    metrics.predictions_lost.inc()
    metrics.streams_dropped.inc()
    metrics.scrape_failures.inc()


def test_the_definitions_keep_the_contract_to_the_letter() -> None:
    declared = {
        definition.full_name.removeprefix("replicate_gateway_"): definition.labels
        for definition in ALL
    }
    for line in CONTRACT.split():
        name, _, labels = line.rstrip("}").partition("{")
        assert declared[name] == tuple(label for label in labels.split(",") if label), name


def test_every_instrument_gets_onto_the_page_when_it_is_used() -> None:
    metrics = Metrics()
    metrics.add_source(lambda: EVERYTHING)
    use_everything(metrics)
    names = {key.partition("{")[0] for key in samples(metrics.render())}
    for definition in ALL:
        name = definition.full_name.removeprefix("replicate_gateway_")
        assert (f"{name}_count" if definition.kind == "histogram" else name) in names


def test_what_is_counted_is_shown_with_its_labels() -> None:
    metrics = Metrics(version="9.9")
    metrics.add_source(lambda: EVERYTHING)
    use_everything(metrics)
    page = samples(metrics.render())
    route = "method=GET,route=/replicate/v1/predictions/{id}"
    assert page[f"http_requests_total{{{route},status=200}}"] == 1
    assert page[f"http_request_duration_seconds_sum{{{route}}}"] == pytest.approx(0.2)
    assert page["predictions_total{model=a/b,status=succeeded,team=red,user=ada}"] == 1
    assert page["predict_seconds_total{model=a/b,team=red,user=ada}"] == 1.5
    assert page["images_total{model=a/b,team=red,user=ada}"] == 4
    assert page["tokens_total{direction=input,model=a/b,team=red,user=ada}"] == 30
    assert page["tokens_total{direction=output,model=a/b,team=red,user=ada}"] == 5
    assert page["cost_usd_total{model=a/b,team=red,user=ada}"] == 0.002
    assert page["ledger_duration_seconds_sum{kind=write}"] == pytest.approx(0.03)
    assert page["workers"] == 1
    assert page["cache_bytes{cache=disk}"] == 7
    assert page["cache_bytes{cache=memory}"] == 11
    assert page["mirror_bytes_total"] == 1000
    assert page["task_failures_total{task=look}"] == 1
    assert page["build_info{version=9.9}"] == 1


def test_what_was_not_used_adds_no_series_of_nothing() -> None:
    metrics = Metrics()
    metrics.prediction_settled(
        user="a", team="", model="", status="failed", usage=Usage(), cost_nano=None
    )
    page = samples(metrics.render())
    assert not [key for key in page if key.startswith(("cost_usd_total", "images", "tokens"))]


def test_two_sets_of_metrics_in_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.polls_saved.inc(3)
    assert samples(one.render())["polls_saved_total"] == 3
    assert samples(other.render())["polls_saved_total"] == 0


def test_an_invented_method_makes_no_series_of_its_own() -> None:
    metrics = Metrics()
    for method in ("BREW", "BREWER", "GET"):
        metrics.http("/x", method).done(405, 0.0)
    page = samples(metrics.render())
    assert page["http_requests_total{method=other,route=/x,status=405}"] == 2
    assert metrics.http("/x", "GET") is metrics.http("/x", "GET")


def test_names_past_the_bound_are_counted_together() -> None:
    metrics = Metrics(max_models=2, max_users=1)
    for user, model in (("a", "m/1"), ("b", "m/2"), ("c", "m/3"), ("a", "m/1"), ("", "")):
        metrics.prediction_settled(
            user=user, team=user, model=model, status="failed", usage=Usage(), cost_nano=None
        )
    page = samples(metrics.render())
    assert page["predictions_total{model=m/1,status=failed,team=a,user=a}"] == 2
    assert page["predictions_total{model=m/2,status=failed,team=other,user=other}"] == 1
    assert page["predictions_total{model=other,status=failed,team=other,user=other}"] == 1
    assert page["predictions_total{model=,status=failed,team=,user=}"] == 1


def test_gauges_of_users_past_the_bound_are_put_together() -> None:
    metrics = Metrics(max_users=1)
    metrics.bounded_user("ada")
    metrics.add_source(
        lambda: Gauges(
            predictions_in_flight={"ada": 1, "bob": 2, "cyd": 3},
            quota_used_ratio={("bob", "images", "day"): 0.2, ("cyd", "images", "day"): 0.9},
        )
    )
    page = samples(metrics.render())
    assert page["predictions_in_flight{user=ada}"] == 1
    assert page["predictions_in_flight{user=other}"] == 5
    assert page["quota_used_ratio{metric=images,per=day,user=other}"] == 0.9


def test_a_source_that_cannot_tell_costs_its_own_gauges_only() -> None:
    def broken() -> Gauges:
        raise Unreadable("the ledger does not answer")

    metrics = Metrics()
    metrics.add_source(broken)
    metrics.add_source(lambda: Gauges(disk_free_bytes=6))
    page = samples(metrics.render())
    assert page["disk_free_bytes"] == 6
    assert "outbox_pending" not in page
    assert page["polls_saved_total"] == 0
    assert metrics.scrape_failures._value.get() == 1


def test_a_page_is_reused_for_nine_times_as_long_as_it_took() -> None:
    hands = Hands()
    metrics = Metrics(clock=hands)
    hands.step = 1.0
    metrics.render()  # takes one second: from 1 to 2
    hands.step = 0.0
    metrics.polls_saved.inc()
    hands.at = 10.9
    assert samples(metrics.render())["polls_saved_total"] == 0
    hands.at = 11.0
    assert samples(metrics.render())["polls_saved_total"] == 1


def test_a_page_that_takes_no_time_is_always_fresh() -> None:
    metrics = Metrics(clock=Hands())
    for count in range(3):
        assert samples(metrics.render())["polls_saved_total"] == count
        metrics.polls_saved.inc()


def test_the_bound_holds_for_threads_that_come_together() -> None:
    label = BoundedLabel(10)
    with ThreadPoolExecutor(8) as pool:
        given = set(pool.map(lambda number: label.of(f"n{number % 40}"), range(4000)))
    assert len(given) == 11
    assert OTHER in given


def test_workers_that_share_a_file_agree_on_who_came_first(tmp_path: Path) -> None:
    one, other = (BoundedLabel(3, tmp_path / "names") for _ in range(2))
    assert one.of("a") == "a"
    assert other.of("b") == "b"
    assert other.of('odd "name"\n') == 'odd "name"\n'
    assert other.of("a") == "a"
    assert one.of("late") == OTHER
    assert other.of("late") == OTHER
    assert one.of("b") == "b"
    assert one.of("") == ""


def test_a_folder_that_is_gone_costs_the_label_and_not_the_request(tmp_path: Path) -> None:
    assert BoundedLabel(3, tmp_path / "gone" / "names").of("a") == OTHER


def test_without_the_variable_a_workers_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=MULTIPROCESS_VARIABLE):
        Metrics(multiprocess_dir=tmp_path)


WORKER = """
import json, os, sys
from pathlib import Path
from gateway.domain.usage import Usage
from gateway.metrics import Gauges, Metrics

number = int(sys.argv[2])
metrics = Metrics(multiprocess_dir=Path(sys.argv[1]), max_models=2)
metrics.http("/x", "GET").done(200, 0.2)
metrics.polls_saved.inc(number)
metrics.queue_depth(number)
metrics.ratelimit_remaining("create", 100 + number)
metrics.memory_holds("memory", 10)
for model in (f"m/{number}", "m/common"):
    metrics.prediction_settled(
        user="ada", team="", model=model, status="failed", usage=Usage(), cost_nano=None
    )
metrics.add_source(lambda: Gauges(outbox_pending=3, cache_bytes={"disk": 7}))
print(os.getpid(), flush=True)
sys.stdin.readline()
print(metrics.render().decode())
"""


def start_worker(folder: Path, number: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(folder), str(number)],
        cwd=ROOT,
        env={**os.environ, MULTIPROCESS_VARIABLE: str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_any_of_several_workers_shows_the_sum_of_all(tmp_path: Path) -> None:
    prepare_workers_dir(tmp_path)
    workers, pids = [], []
    for number in (1, 2):
        worker = start_worker(tmp_path, number)
        assert worker.stdout is not None
        pids.append(int(worker.stdout.readline()))
        workers.append(worker)

    ended = workers[0].communicate("\n", timeout=30)[0]
    both = samples(ended.encode())
    assert both["http_requests_total{method=GET,route=/x,status=200}"] == 2
    assert both["http_request_duration_seconds_count{method=GET,route=/x}"] == 2
    assert both["polls_saved_total"] == 3
    assert both["create_queue_depth"] == 3
    assert both["upstream_ratelimit_remaining{kind=create}"] == 102
    assert both["cache_bytes{cache=memory}"] == 20
    assert both["cache_bytes{cache=disk}"] == 7
    assert both["outbox_pending"] == 3
    assert both["workers"] == 2
    models = {key for key in both if key.startswith("predictions_total")}
    assert len(models) == 3, "two models and other, for all workers together"
    assert both["predictions_total{model=m/common,status=failed,team=,user=ada}"] == 2

    worker_ended(tmp_path, pids[0])
    left = samples(workers[1].communicate("\n", timeout=30)[0].encode())
    assert left["polls_saved_total"] == 3, "what a worker counted outlives it"
    assert left["create_queue_depth"] == 2, "what it held does not"
    assert left["cache_bytes{cache=memory}"] == 10
    assert left["workers"] == 1


def test_a_new_start_begins_at_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "workers"
    prepare_workers_dir(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    for name in ("counter_1.db", "user.names"):
        (folder / name).write_text(json.dumps("x"))
    prepare_workers_dir(folder)
    assert not list(folder.iterdir())


def test_the_page_of_metrics_is_what_the_code_says() -> None:
    page = ROOT / "docs" / "metrics.md"
    assert page.read_text() == markdown(), "the page names its command"
