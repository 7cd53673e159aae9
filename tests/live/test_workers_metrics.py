"""The metrics of four workers: bounded whatever is sent, and exactly what upstream counted."""

import random
import re
import string
from collections import Counter
from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.support.creating import create
from tests.support.crowd import asked_apart, at_once, make_users, workers_of
from tests.support.process import Processes, free_port, processes

TOML = """
[server]
workers = 4
metrics_port = {port}
[metrics]
max_users = 20
[upstream]
creates_per_minute = 6000
requests_per_minute = 30000
[plans.default]
quotas = [{{ metric = "predictions", limit = 1000, per = "month" }}]
"""

USERS = 300
_SAMPLE = re.compile(r"replicate_gateway_(\w+?)(?:\{(.*)\})? ([0-9.e+-]+)$")

pytestmark = pytest.mark.xdist_group("four workers' metrics")


class Page:
    """The metrics port's page, read as Prometheus does."""

    def __init__(self, port: int) -> None:
        answer = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False, timeout=30)
        assert answer.status_code == 200
        self.lines = answer.text.splitlines()
        self.samples: list[tuple[str, dict[str, str], float]] = []
        for line in self.lines:
            if found := _SAMPLE.match(line):
                labels = dict(re.findall(r'(\w+)="([^"]*)"', found[2] or ""))
                self.samples.append((found[1], labels, float(found[3])))

    def sum(self, name: str, **wanted: str) -> float:
        return sum(self.by(name, next(iter(wanted), "?"), **wanted).values())

    def by(self, name: str, label: str, **wanted: str) -> Counter[str]:
        """Add up a metric's values by one of its labels."""
        found: Counter[str] = Counter()
        for sample, labels, value in self.samples:
            if sample == name and all(labels.get(key) == text for key, text in wanted.items()):
                found[labels.get(label, "")] += value  # type: ignore[assignment]  # whole numbers
        return found


def page_once(gateway: Processes, port: int, true: Callable[[Page], bool]) -> Page:
    """Wait for a page of which this is true: each worker shows one that it made a moment ago."""

    def look() -> Page | None:
        page = Page(port)
        return page if true(page) else None

    found = gateway.wait_for(look)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def gateway(port: int) -> Iterator[Processes]:
    with processes(
        TOML.format(port=port), speed=20, creates_per_minute=6000, requests_per_minute=30000
    ) as both:
        yield both


@pytest.fixture(scope="module")
def keys(gateway: Processes) -> list[str]:
    return make_users(gateway, [f"user-{number:03}" for number in range(USERS)])


def test_four_workers_under_load_report_exactly_what_upstream_counted(
    gateway: Processes, keys: list[str], port: int
) -> None:
    def work(number: int) -> set[str]:
        seen = set()
        for turn in range(5):
            model = "failing" if turn == 4 else "single-picture"
            with gateway.client(keys[number % 5]) as client:
                made = create(client, model, prompt="a lighthouse")
                assert made.status_code == 201, made.text
                seen |= workers_of([made])
                gateway.finished(client, made.json()["id"])
        return seen

    assert len(set().union(*at_once(16, work))) == 4

    upstream = list(gateway.steer("GET", "/usage"))
    assert len(upstream) == 80
    # A worker counts what it has settled just after everybody can read it.
    page = page_once(gateway, port, lambda page: page.sum("predictions_total") == len(upstream))
    assert page.by("predictions_total", "status") == Counter(row["status"] for row in upstream)
    assert page.by("predictions_total", "model") == Counter(row["model"] for row in upstream)
    assert page.sum("predict_seconds_total") == pytest.approx(
        sum(row["predict_time"] for row in upstream), abs=1e-3
    )

    def agreed() -> bool:
        """Whether both have counted the last request, which is counted when it is answered."""
        asked = Counter(
            f"{request['operation']} {request['status']}"
            for request in gateway.received(origin="api")
        )
        told: Counter[str] = Counter()
        for name, labels, value in Page(port).samples:
            if name == "upstream_requests_total":
                told[f"{labels['operation']} {labels['status']}"] += int(value)
        return asked == told and asked["models.predictions.create 201"] == 80

    gateway.wait_for(agreed)
    page = page_once(
        gateway, port, lambda page: page.sum("mirror_files_total", result="stored") == 64
    )
    files = sum(r["sent_bytes"] for r in gateway.received(origin="delivery"))
    assert page.sum("mirror_bytes_total") == files
    assert page.sum("mirror_stored_bytes") == files
    assert page.sum("creates_in_doubt") == 0
    assert page.sum("disk_free_bytes") > 0
    assert page.sum("cache_bytes", cache="disk") > 0
    ratios = page.by("quota_used_ratio", "user", metric="predictions", per="month")
    assert sum(ratios.values()) == pytest.approx(80 / 1000)


def test_random_paths_and_many_users_leave_the_page_bounded(
    gateway: Processes, keys: list[str], port: int
) -> None:
    chance = random.Random(7)

    def path(number: int) -> str:
        word = "".join(chance.choices(string.ascii_letters + string.digits, k=12))
        return ["/", "/replicate/v1/", "/replicate/v1/models/", "/v1/files/", "/dashboard/"][
            number % 5
        ] + f"{word}/{number}"

    paths = [path(number) for number in range(500)]

    def ask(thread: int) -> None:
        for number in range(thread, 500, 8):
            with gateway.client(keys[number % USERS]) as client:
                client.request(chance.choice(["GET", "POST", "BREW"]), paths[number])

    at_once(8, ask)

    def make(thread: int) -> None:
        for number in range(thread, USERS, 8):
            with gateway.client(keys[number]) as client:
                assert create(client, "echo", value=number).status_code == 201

    at_once(8, make)
    page = page_once(
        gateway,
        port,
        lambda page: page.sum("predictions_total", model="simulated/echo") == USERS,
    )
    assert not [
        line for line in page.lines if any(known.rsplit("/", 1)[0] in line for known in paths)
    ]
    for name in ("predictions_total", "quota_used_ratio", "predictions_in_flight"):
        assert len(page.by(name, "user")) <= 21  # the most users, and "other"
    assert page.by("predictions_total", "user")["other"] >= USERS - 20
    routes = page.by("http_requests_total", "route")
    assert len(routes) < 40
    assert set(page.by("http_requests_total", "method")) <= {"GET", "POST", "other"}
    assert len(page.lines) < 2500


def test_the_metrics_port_serves_the_metrics_and_nothing_else(
    gateway: Processes, keys: list[str], port: int
) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        assert client.get("/metrics").status_code == 200
        assert client.head("/metrics").status_code == 200
        assert client.post("/metrics").status_code == 405
        for path in ("/", "/readyz", "/replicate/v1/predictions", "/metrics/more"):
            assert client.get(path).status_code == 404
    # The main port shows the same to this machine, and to nobody who comes through a proxy.
    own = asked_apart(gateway, keys[0], 1, "/metrics")[0]
    assert own.status_code == 200
    with gateway.client(keys[0]) as client:
        through = client.get("/metrics", headers={"X-Forwarded-For": "203.0.113.7"})
        assert through.status_code == 403


def test_counters_outlive_the_workers_that_counted(
    gateway: Processes, keys: list[str], port: int
) -> None:
    before = len(gateway.steer("GET", "/usage"))
    page_once(gateway, port, lambda page: page.sum("predictions_total") == before)
    worker = gateway.workers()[0]
    gateway.kill_process(worker)
    gateway.wait_for(lambda: len(gateway.workers()) == 4 and worker not in gateway.workers())
    gateway.wait_for(lambda: len(workers_of(asked_apart(gateway, keys[0], 16))) > 2)
    for _ in range(4):
        assert Page(port).sum("predictions_total") == before
