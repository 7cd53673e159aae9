"""Streams with several workers, with a slow reader, and over a power cut."""

import time

import httpx
import pytest

from tests.support.process import Processes, processes
from tests.support.sse import Event, Reader

SLOW = "/replicate/v1/models/simulated/slow/predictions"
LLAMA = "/replicate/v1/models/meta/meta-llama-3-8b-instruct/predictions"

TOML = """
[server]
workers = {workers}
"""

pytestmark = pytest.mark.xdist_group("streams of workers")


def slow(client: httpx.Client, seconds: int) -> str:
    made = client.post(SLOW, json={"input": {"seconds": seconds}}).json()
    url: str = made["urls"]["stream"]
    return url


def opened(gateway: Processes) -> int:
    """How often a stream was opened upstream."""
    return len(gateway.received(operation="streams.read"))


def texts(events: list[Event]) -> list[str]:
    return [event.data for event in events if event.name == "logs"]


def test_readers_of_four_workers_share_one_connection_upstream() -> None:
    with processes(TOML.format(workers=4)) as gateway:
        with gateway.client(gateway.add_user("ann")) as client:
            url = slow(client, 6)
        # The kernel spreads connections over the workers: of twelve, some are with each.
        readers = [Reader(url) for _ in range(12)]
        try:
            for reader in readers:
                reader.read_until(2)
            assert opened(gateway) == 1
            whole = [reader.read_to_end() for reader in readers]
        finally:
            for reader in readers:
                reader.close()
        assert texts(whole[0]) == [f"{n} s\n" for n in range(1, 7)]
        assert whole[0][-1].name == "done"
        assert all(events == whole[0] for events in whole)
        assert opened(gateway) == 1


def test_a_reader_resumes_without_a_gap_after_a_power_cut() -> None:
    with processes(TOML.format(workers=1)) as gateway:
        with gateway.client(gateway.add_user("ann")) as client:
            url = slow(client, 8)
        with Reader(url) as reader:
            seen = reader.read_until(3)
        gateway.kill()
        gateway.start()
        with Reader(url, last_event_id=seen[-1].id) as reader:
            rest = reader.read_to_end()
        assert texts(seen + rest) == [f"{n} s\n" for n in range(1, 9)]
        assert rest[-1].name == "done"


def test_events_are_handed_on_as_they_come() -> None:
    with processes(TOML.format(workers=1)) as gateway:
        with gateway.client(gateway.add_user("ann")) as client:
            url = slow(client, 3)
        with Reader(url) as reader:
            at = []
            for number in (1, 2, 3):
                reader.read_until(number)
                at.append(time.monotonic())
        # Upstream sends one a second; what is collected on the way would arrive together.
        assert at[1] - at[0] > 0.5
        assert at[2] - at[1] > 0.5


def test_no_log_line_holds_a_streams_address() -> None:
    with processes(TOML.format(workers=1), speed=4) as gateway:
        with gateway.client(gateway.add_user("ann")) as client:
            made = client.post(LLAMA, json={"input": {"prompt": "hi"}}).json()
            url = made["urls"]["stream"]
            with Reader(url) as reader:
                reader.read_to_end()
            httpx.get(url[:-1] + "x")
        (read,) = gateway.received(operation="streams.read")
        log = gateway.log()
        assert "/v1/streams/***" in log
        for secret in (url.rpartition("/")[2], url[-40:-1], read["path"].rpartition("/")[2]):
            assert secret not in log
