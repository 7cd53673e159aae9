"""One large output, many readers while it arrives: fetched once, little memory, whole for all."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from urllib.parse import urlsplit

from tests.support.creating import create
from tests.support.process import processes

SIZE = 200_000_000
READERS = 20
MEMORY = 150_000_000


def digest(url: str) -> tuple[int, str]:
    """Read a file as cheaply as can be, so that it is the gateway that is measured."""
    where = urlsplit(url)
    assert where.hostname is not None
    line = HTTPConnection(where.hostname, where.port, timeout=60)
    line.request("GET", where.path)
    answer = line.getresponse()
    assert answer.status == 200
    hashed, size, piece = hashlib.sha256(), 0, bytearray(1 << 20)
    while count := answer.readinto(piece):
        hashed.update(memoryview(piece)[:count])
        size += count
    line.close()
    return size, hashed.hexdigest()


def test_twenty_readers_of_what_is_still_arriving_cost_one_fetch_and_little_memory() -> None:
    # At this pace the file takes some seconds to arrive: all readers are there before its end.
    with processes("[upstream]\npoll_interval_ms = 50\n", speed=4) as gateway:
        key = gateway.add_user("ann")
        with gateway.client(key) as client:
            made = create(client, "large-file", size_bytes=SIZE, bytes_per_second=SIZE / 4)
            url: str = gateway.finished(client, made.json()["id"]).json()["output"]

            arriving = gateway.received(origin="delivery")
            assert all(fetch["sent_bytes"] < SIZE / 2 for fetch in arriving)
            with ThreadPoolExecutor(READERS) as pool:
                found = list(pool.map(digest, [url] * READERS))
            assert {size for size, _ in found} == {SIZE}
            assert len({text for _, text in found}) == 1
            (fetch,) = gateway.received(origin="delivery")
            assert fetch["method"] == "GET"
            assert gateway.peak_memory() < MEMORY
            # Once more from the disk, by itself and after a crash.
            assert digest(url) == found[0]
            gateway.kill()
            gateway.start()
            gateway.steer("POST", "/origins/delivery/stop")
            assert digest(url) == found[0]
            assert len(gateway.received(origin="delivery")) == 1
