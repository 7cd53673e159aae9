"""Streams: events as they happen, for every reader, without a gap, to the end."""

import contextlib
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from gateway.ledger import erasing, streams
from gateway.simulator import Fault
from tests.support.clock import ManualClock
from tests.support.running import Running, running
from tests.support.sse import Reader

LLAMA = "/replicate/v1/models/meta/meta-llama-3-8b-instruct/predictions"
FLUX = "/replicate/v1/models/black-forest-labs/flux-schnell/predictions"
SLOW = "/replicate/v1/models/simulated/slow/predictions"


@pytest.fixture
def gateway() -> Iterator[Running]:
    with running() as gateway:
        yield gateway


@pytest.fixture
def client(gateway: Running) -> Iterator[httpx.Client]:
    with gateway.client(gateway.add_user("ann")) as client:
        yield client


def clock(gateway: Running) -> ManualClock:
    assert isinstance(gateway.clock, ManualClock)
    return gateway.clock


def slow(client: httpx.Client, seconds: int = 6) -> tuple[str, str]:
    """Start a prediction that says something once a second; returns its id and stream."""
    made = client.post(SLOW, json={"input": {"seconds": seconds}}).json()
    return made["id"], made["urls"]["stream"]


def opened(gateway: Running) -> int:
    """How often a stream was opened upstream."""
    return len(gateway.sim.log.entries(operation="streams.read"))


def logged(gateway: Running, prediction_id: str) -> int:
    """How many events of a stream are in the ledger."""
    query = "SELECT count(*) FROM stream_events WHERE prediction_id = ?"
    return int(
        gateway.ledger(lambda conn: conn.exec_driver_sql(query, (prediction_id,)).scalar() or 0)
    )


@contextlib.contextmanager
def ticking(gateway: Running, step: float = 0.1) -> Iterator[None]:
    """Let the clock run."""
    over = threading.Event()

    def tick() -> None:
        while not over.is_set():
            clock(gateway).advance(step)
            time.sleep(0.01)

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def pass_time(gateway: Running, seconds: float, step: float = 0.25) -> None:
    passed = iter(range(round(seconds / step)))
    gateway.settle(lambda: next(passed, None) is None, step_s=step)


def test_the_first_event_is_here_before_upstream_sends_the_second(
    gateway: Running, client: httpx.Client
) -> None:
    _, url = slow(client)
    with Reader(url) as reader:
        assert reader.status == 200
        assert reader.headers["content-type"] == "text/event-stream"
        assert reader.headers["cache-control"] == "no-store"
        assert reader.headers["x-accel-buffering"] == "no"
        assert "content-encoding" not in reader.headers
        for number in range(1, 4):
            clock(gateway).advance(1)
            events = reader.read_until(number)
            assert [event.data for event in events] == [f"{n} s\n" for n in range(1, number + 1)]
            assert reader.quiet()
        clock(gateway).advance(10)
        names = [event.name for event in reader.read_to_end()]
    assert names == ["logs"] * 6 + ["output", "done"]
    assert opened(gateway) == 1


def test_head_answers_the_headers_and_reads_nothing_upstream(
    gateway: Running, client: httpx.Client
) -> None:
    _, url = slow(client)
    answer = httpx.head(url)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream")
    assert httpx.options(url).headers["allow"] == "GET, HEAD, OPTIONS"
    assert httpx.post(url).status_code == 405
    assert opened(gateway) == 0


def test_no_key_is_needed_and_no_other_address_works(
    gateway: Running, client: httpx.Client
) -> None:
    made_id, url = slow(client)
    for wrong in (
        url[:-1] + ("0" if url[-1] != "0" else "1"),
        url.replace("/streams/", "/files/"),
        url.rpartition("-")[0],
        f"{gateway.url}/v1/streams/{made_id}",
        f"{gateway.url}/v1/streams/x",
    ):
        answer = httpx.get(wrong)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
    assert httpx.get(f"{url}/more").status_code == 404
    assert gateway.sim.config.token not in url
    assert opened(gateway) == 0


def test_a_reader_who_drops_after_the_third_and_resumes_gets_the_fourth(
    gateway: Running, client: httpx.Client
) -> None:
    _, url = slow(client)
    with Reader(url) as reader:
        clock(gateway).advance(3)
        third = reader.read_until(3)[-1]
    clock(gateway).advance(1)
    with Reader(url, last_event_id=third.id) as reader:
        assert reader.read_until(1)[0].data == "4 s\n"
        clock(gateway).advance(10)
        assert [event.name for event in reader.read_to_end()] == ["logs"] * 3 + ["output", "done"]
    assert opened(gateway) == 1


def test_second_readers_get_everything_from_one_connection(
    gateway: Running, client: httpx.Client
) -> None:
    _, url = slow(client)
    with Reader(url) as first:
        clock(gateway).advance(2)
        first.read_until(2)
        with Reader(url) as second, Reader(url) as third:
            assert second.read_until(2) == third.read_until(2) == first.events
            clock(gateway).advance(10)
            assert first.read_to_end() == second.read_to_end() == third.read_to_end()
    assert opened(gateway) == 1


def test_whoever_comes_when_all_is_over_gets_everything_and_done(
    gateway: Running, client: httpx.Client
) -> None:
    _, url = slow(client)
    with Reader(url) as first:
        clock(gateway).advance(20)
        whole = first.read_to_end()
    with Reader(url) as late:
        assert late.read_to_end() == whole
    with Reader(url, last_event_id=whole[-1].id) as late:
        assert late.read_to_end() == whole[-1:]
    with Reader(url, last_event_id="never heard of it") as late:
        assert late.read_to_end() == whole
    assert opened(gateway) == 1


def test_a_first_reader_after_the_end_gets_everything_from_upstream(
    gateway: Running, client: httpx.Client
) -> None:
    made = client.post(LLAMA, json={"input": {"prompt": "hi"}}).json()
    ended = gateway.finished(client, made["id"]).json()
    with Reader(made["urls"]["stream"]) as reader:
        events = reader.read_to_end()
    assert [event.data for event in events[:-1]] == ended["output"]
    assert (events[-1].name, events[-1].data) == ("done", "{}")


def test_without_upstream_a_late_reader_gets_the_output_from_the_document(
    gateway: Running, client: httpx.Client
) -> None:
    made = client.post(LLAMA, json={"input": {"prompt": "hi"}}).json()
    ended = gateway.finished(client, made["id"]).json()
    gateway.loop.do(gateway.sim.stop_origin("streams"))
    with Reader(made["urls"]["stream"]) as reader:
        events = reader.read_to_end()
    assert [event.data for event in events[:-1]] == ended["output"]
    assert all(event.id for event in events)
    assert len({event.id for event in events}) == len(events)
    with Reader(made["urls"]["stream"], last_event_id=events[4].id) as reader:
        assert reader.read_to_end() == events[5:]


@pytest.mark.parametrize("cut_after", [1, 3, 7])
def test_what_broke_off_is_reopened_where_it_was(
    gateway: Running, client: httpx.Client, cut_after: int
) -> None:
    made = client.post(LLAMA, json={"input": {"prompt": "hi"}}).json()
    gateway.sim.faults.add(Fault("stream_cut", "streams.read", times=3, after_events=cut_after))
    with Reader(made["urls"]["stream"]) as reader:
        ended = gateway.finished(client, made["id"]).json()
        with ticking(gateway):
            events = reader.read_to_end()
    assert [event.data for event in events if event.name == "output"] == ended["output"]
    assert [event.name for event in events].count("done") == 1
    assert opened(gateway) == 4


def test_what_broke_off_for_good_is_completed_from_the_document(
    gateway: Running, client: httpx.Client
) -> None:
    made = client.post(LLAMA, json={"input": {"prompt": "hi"}}).json()
    gateway.sim.faults.add(Fault("stream_cut", "streams.read", after_events=5))
    gateway.sim.faults.add(Fault("not_found", "streams.read", times=None))
    with Reader(made["urls"]["stream"]) as reader:
        ended = gateway.finished(client, made["id"]).json()
        with ticking(gateway):
            events = reader.read_to_end()
    assert [event.data for event in events if event.name == "output"] == ended["output"]
    assert (events[-1].name, events[-1].data) == ("done", "{}")
    assert len({event.id for event in events}) == len(events)


def test_failures_and_cancels_end_a_stream_with_their_reason_with_and_without_upstream(
    gateway: Running, client: httpx.Client
) -> None:
    for upstream_up in (True, False):
        made_id, url = slow(client, 1000)
        client.post(f"/replicate/v1/predictions/{made_id}/cancel")
        if not upstream_up:
            gateway.loop.do(gateway.sim.stop_origin("streams"))
        with Reader(url) as reader, ticking(gateway):
            events = reader.read_to_end()
        assert (events[-1].name, events[-1].data) == ("done", '{"reason":"canceled"}')


def test_files_are_registered_before_the_event_that_names_them_is_sent(
    gateway: Running, client: httpx.Client
) -> None:
    made = client.post(FLUX, json={"input": {"prompt": "a fox", "num_outputs": 2}}).json()
    url = made["urls"]["stream"]
    assert url.startswith(f"{gateway.url}/v1/files/")
    with Reader(url) as reader, ticking(gateway):
        events = reader.read_to_end()
    files = [event.data for event in events if event.name == "output"]
    assert len(files) == 2
    for file in files:
        assert file.startswith(f"{gateway.base}/delivery/")
        # Without a key and at once: the follower has not seen the output yet.
        assert httpx.get(file).headers["content-type"] == "image/webp"
    ended = client.get(made["urls"]["get"]).json()
    assert ended["output"] == files
    # Another reader reaches the gateway under another name, and gets its own addresses.
    with Reader(url.replace("127.0.0.1", "localhost")) as reader:
        shown = [event.data for event in reader.read_to_end() if event.name == "output"]
    assert shown == [file.replace("127.0.0.1", "localhost", 1) for file in files]


def test_a_streams_end_settles_the_prediction(gateway: Running, client: httpx.Client) -> None:
    made_id, url = slow(client, 300)
    with Reader(url) as reader:
        clock(gateway).advance(299.5)
        reader.read_until(299)
        clock(gateway).advance(0.5)
        assert reader.read_to_end()[-1].name == "done"

    def settled() -> bool:
        query = "SELECT settled_at FROM predictions WHERE id = ?"
        return gateway.ledger(
            lambda conn: conn.exec_driver_sql(query, (made_id,)).scalar() is not None
        )

    # Without this the follower, which looks at so old a prediction rarely, would do it later.
    gateway.settle(settled, step_s=0.01, most_s=1)


def test_upstream_is_read_on_for_a_while_and_then_left(
    gateway: Running, client: httpx.Client
) -> None:
    made_id, url = slow(client, 100)
    with Reader(url) as reader:
        clock(gateway).advance(1)
        reader.read_until(1)
    pass_time(gateway, 20)
    assert logged(gateway, made_id) >= 15
    pass_time(gateway, 15)
    left_at = logged(gateway, made_id)
    assert left_at < 40
    pass_time(gateway, 10)
    assert logged(gateway, made_id) == left_at
    with Reader(url) as reader, ticking(gateway):
        events = reader.read_to_end()
    assert [event.data for event in events[:100]] == [f"{n} s\n" for n in range(1, 101)]
    assert events[-1].name == "done"
    assert opened(gateway) == 2


def test_heartbeats_are_comments(gateway: Running, client: httpx.Client) -> None:
    made = client.post(SLOW, json={"input": {"seconds": 1, "queue_seconds": 100}}).json()
    with Reader(made["urls"]["stream"]) as reader:
        pass_time(gateway, 40, step=1)
        assert not reader.quiet()
        assert reader.text.startswith(":")
        assert reader.events == []
        assert 2 <= reader.text.count(":") <= 3
        with ticking(gateway, step=1):
            assert [event.name for event in reader.read_to_end()] == ["logs", "output", "done"]


def test_a_stream_ends_cleanly_when_the_gateway_stops_and_goes_on_after_it(
    gateway: Running, client: httpx.Client
) -> None:
    _, url = slow(client)
    with Reader(url) as reader:
        clock(gateway).advance(3)
        third = reader.read_until(3)[-1]
        gateway.stop()
        assert reader.read_to_end()[-1] == third
    gateway.start()
    with Reader(url, last_event_id=third.id) as reader, ticking(gateway):
        assert [event.data for event in reader.read_to_end()[:2]] == ["4 s\n", "5 s\n"]


def test_an_erased_predictions_stream_is_gone(gateway: Running, client: httpx.Client) -> None:
    made_id, url = slow(client)
    with Reader(url) as reader:
        clock(gateway).advance(20)
        reader.read_to_end()
    now = gateway.clock.now()
    gateway.ledger(lambda conn: erasing.erase(conn, made_id, now, b"{}"))
    assert httpx.get(url).status_code == 404


def test_a_pruned_log_is_made_anew(gateway: Running, client: httpx.Client) -> None:
    _, url = slow(client)
    with Reader(url) as reader:
        clock(gateway).advance(20)
        whole = reader.read_to_end()
    clock(gateway).advance(10)
    now = gateway.clock.now()
    assert gateway.ledger(lambda conn: streams.prune(conn, now)) == len(whole)
    with Reader(url) as reader:
        assert reader.read_to_end() == whole


def test_a_stream_that_stays_silent_after_the_end_is_completed(
    gateway: Running, client: httpx.Client
) -> None:
    made = client.post(LLAMA, json={"input": {"prompt": "hi"}}).json()
    gateway.sim.faults.add(Fault("hang", "streams.read", times=1))
    with Reader(made["urls"]["stream"]) as reader:
        ended = gateway.finished(client, made["id"]).json()
        with ticking(gateway, step=1):
            events = reader.read_to_end()
    assert [event.data for event in events if event.name == "output"] == ended["output"]
