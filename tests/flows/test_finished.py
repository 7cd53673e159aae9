"""Finished predictions come from memory, then the cache, then the ledger, never from upstream."""

import shutil
from collections.abc import Iterator

import httpx
import pytest
from sqlalchemy import func, select

from gateway.ledger.tables import files as file_table
from gateway.simulator.config import SimulatorConfig
from tests.support.clock import ManualClock
from tests.support.creating import API, FLUX, LORA_VERSION, created, read
from tests.support.running import Running, running


@pytest.fixture
def gateway() -> Iterator[Running]:
    with running() as gateway:
        yield gateway


@pytest.fixture
def client(gateway: Running) -> Iterator[httpx.Client]:
    with gateway.client(gateway.add_user("ann")) as client:
        yield client


def hits(gateway: Running, cache: str) -> float:
    """How often a cache had what was asked of it, by the metrics page."""
    page = httpx.get(f"{gateway.url}/metrics", trust_env=False).text
    wanted = f'replicate_gateway_cache_requests_total{{cache="{cache}",result="hit"}}'
    return sum(float(line.split()[-1]) for line in page.splitlines() if line.startswith(wanted))


def test_memory_then_cache_then_ledger_each_answer_the_same_bytes(
    gateway: Running, client: httpx.Client
) -> None:
    made = client.post(FLUX, json={"input": {"prompt": "a fox", "num_outputs": 2}}).json()["id"]
    first = gateway.finished(client, made)
    asked = gateway.sim.log.count(origin="api")
    gateway.loop.do(gateway.sim.stop_origin("api"))

    memory = hits(gateway, "memory")
    from_memory = read(client, made)
    assert hits(gateway, "memory") == memory + 1

    gateway.restart()
    from_cache = read(client, made)
    assert hits(gateway, "disk") == 1

    gateway.stop()
    shutil.rmtree(gateway.data_dir / "cache")
    gateway.start()
    from_ledger = read(client, made)
    assert hits(gateway, "disk") == hits(gateway, "memory") == 0
    assert read(client, made).status_code == 200
    assert hits(gateway, "memory") == 1

    for answer in (from_memory, from_cache, from_ledger):
        assert answer.status_code == 200
        assert answer.content == first.content
        assert answer.headers["etag"] == first.headers["etag"]
        assert answer.headers["cache-status"] == "replicate-gateway; hit"
        assert answer.headers["content-type"] == "application/json"
    assert gateway.sim.log.count(origin="api") == asked


def test_headers_let_clients_keep_it_and_ask_whether_it_changed(
    gateway: Running, client: httpx.Client
) -> None:
    clock = gateway.clock
    assert isinstance(clock, ManualClock)
    made = created(client, "echo", value="a")
    answer = gateway.finished(client, made)
    etag = answer.headers["etag"]
    assert etag.startswith('"')
    assert answer.headers["cache-control"].startswith("private, max-age=")
    before = int(read(client, made).headers["age"])
    clock.advance(100)
    gateway.refresh_keys()
    assert int(read(client, made).headers["age"]) - before in (100, 101)
    for matching in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        not_modified = read(client, made, if_none_match=matching)
        assert not_modified.status_code == 304
        assert not_modified.content == b""
        assert not_modified.headers["etag"] == etag
        assert "content-type" not in not_modified.headers
    assert read(client, made, if_none_match='"other"').status_code == 200
    head = client.head(f"{API}/predictions/{made}")
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) == len(answer.content)


@pytest.mark.parametrize(
    ("days", "longest"), [("0", 31_536_000), ("2.5", 216_000), ("4000", 31_536_000)]
)
def test_no_copy_is_called_fresh_for_longer_than_documents_are_kept(
    days: str, longest: int
) -> None:
    with (
        running(f"[retention]\ndocuments_days = {days}") as gateway,
        gateway.client(gateway.add_user("ann")) as client,
    ):
        made = created(client, "echo", value="a")
        gateway.finished(client, made)
        gateway.advance(3600)
        gateway.refresh_keys()
        answer = read(client, made)
        assert answer.headers["cache-control"] == f"private, max-age={longest}"
        # Counted from the end of the prediction, as retention counts.
        assert 3600 <= int(answer.headers["age"]) < 3700
        again = read(client, made, if_none_match=answer.headers["etag"])
        assert again.status_code == 304
        assert again.headers["cache-control"] == f"private, max-age={longest}"


def test_all_but_the_addresses_is_as_upstream_wrote_it(
    gateway: Running, client: httpx.Client
) -> None:
    body = {"version": LORA_VERSION, "input": {"prompt": "a füchs \\u2603 1e3"}}
    made = client.post(f"{API}/predictions", json=body).json()["id"]
    answer = gateway.finished(client, made)
    with httpx.Client(trust_env=False) as beside:
        upstream = beside.get(
            f"{gateway.sim.api_url}/v1/predictions/{made}",
            headers={"Authorization": f"Bearer {gateway.sim_config.token}"},
        ).content
    delivery = gateway.sim.delivery_origin
    expected = upstream.replace(
        delivery.encode(), f"{gateway.base}/delivery/{delivery[7:]}".encode()
    ).replace(f"{gateway.sim.api_url}/v1/".encode(), f"{gateway.base}/v1/".encode())
    stream = answer.json()["urls"]["stream"].encode()
    shown = answer.content.replace(stream, b"S")
    assert shown == expected.replace(gateway_stream(upstream), b"S")
    assert stream.startswith(f"{gateway.url}/v1/files/".encode())


def gateway_stream(upstream: bytes) -> bytes:
    stream: str = httpx.Response(200, content=upstream).json()["urls"]["stream"]
    return stream.encode()


def test_each_client_sees_the_address_that_it_used(gateway: Running, client: httpx.Client) -> None:
    made = client.post(FLUX, json={"input": {"prompt": "a fox"}}).json()["id"]
    gateway.finished(client, made)
    for host in ("gateway.example", "192.0.2.7:8080", "localhost:1234"):
        answer = read(client, made, host=host).json()
        assert answer["urls"]["get"] == f"http://{host}{API}/predictions/{made}"
        assert answer["output"][0].startswith(f"http://{host}/replicate/delivery/")


def test_after_upstreams_hour_everything_is_still_here(
    gateway: Running, client: httpx.Client
) -> None:
    clock = gateway.clock
    assert isinstance(clock, ManualClock)
    made = client.post(FLUX, json={"input": {"prompt": "a fox", "num_outputs": 2}}).json()["id"]
    before = gateway.finished(client, made)
    originals = gateway.sim.prediction(made)
    assert originals is not None
    files = [client.get(url) for url in before.json()["output"]]
    gateway.settle(lambda: stored(gateway) == 2)
    for _ in range(61):
        clock.advance(60)
    gateway.refresh_keys()
    gone = gateway.sim.prediction(made)
    assert gone is not None
    assert (gone["data_removed"], gone["output"]) == (True, None)
    with httpx.Client(trust_env=False) as beside:
        assert all(
            beside.get(str(url)).status_code == 404
            for url in originals["output"]  # type: ignore[union-attr]  # a list of addresses
        )
    assert_unchanged(client, made, before, files)
    for origin in ("api", "delivery", "streams"):
        gateway.loop.do(gateway.sim.stop_origin(origin))
    gateway.restart()
    assert_unchanged(client, made, before, files)
    shutil.rmtree(gateway.data_dir / "cache")
    gateway.restart()
    assert_unchanged(client, made, before, files)


def stored(gateway: Running) -> int:
    """How many files the mirror has whole."""
    query = select(func.count()).select_from(file_table).where(file_table.c.state == "stored")
    return gateway.ledger(lambda conn: int(conn.execute(query).scalar_one()))


def assert_unchanged(
    client: httpx.Client, made: str, before: httpx.Response, files: list[httpx.Response]
) -> None:
    again = read(client, made)
    assert again.status_code == 200
    assert again.content == before.content
    for url, file in zip(before.json()["output"], files, strict=True):
        copy = client.get(url)
        assert copy.status_code == 200
        assert copy.content == file.content
        assert copy.headers["etag"] == file.headers["etag"]
        assert copy.headers["content-type"] == file.headers["content-type"]


def test_a_later_removal_upstream_erases_nothing() -> None:
    with (
        running(sim=SimulatorConfig(output_ttl_s=5)) as gateway,
        gateway.client(gateway.add_user("ann")) as client,
    ):
        made = created(client, "echo", value="kept")
        body = gateway.finished(client, made).json()
        assert body["output"] == "kept"
        for _ in range(20):
            gateway.advance(1)
        gateway.refresh_keys()
        assert read(client, made).json() == body
        assert read(client, made, cache_control="no-cache").json() == body


def test_running_predictions_are_never_kept_by_others(
    gateway: Running, client: httpx.Client
) -> None:
    made = created(client, "slow", seconds=1000)
    asked = gateway.sim.log.count(operation="predictions.get")
    young = read(client, made)
    assert young.headers["cache-control"] == "no-store"
    assert young.headers["cache-status"].startswith("replicate-gateway; hit; ttl=")
    assert "etag" not in young.headers
    assert gateway.sim.log.count(operation="predictions.get") == asked
    forced = read(client, made, cache_control="no-cache")
    assert forced.headers["cache-status"] == "replicate-gateway; fwd=miss"
    assert gateway.sim.log.count(operation="predictions.get") == asked + 1


def test_while_upstream_is_down_a_running_prediction_shows_its_last_snapshot(
    gateway: Running, client: httpx.Client
) -> None:
    made = created(client, "slow", seconds=1000)
    gateway.loop.do(gateway.sim.stop_origin("api"))
    stale = read(client, made, cache_control="no-cache")
    assert stale.status_code == 200
    assert stale.json()["id"] == made
    assert stale.headers["cache-status"] == "replicate-gateway; fwd=stale; detail=upstream-failed"
    assert stale.headers["cache-control"] == "no-store"
    gateway.loop.do(gateway.sim.start_origin("api"))
