"""Output files through the mirror: fetched when first seen, once, whole or not at all."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import httpx
import pytest
from PIL import Image
from sqlalchemy import select

from gateway.ledger.tables import files, predictions
from gateway.simulator.faults import Fault, FaultKind
from tests.support.clock import ManualClock
from tests.support.creating import API, FLUX, created, read
from tests.support.running import Running, running


@pytest.fixture
def gateway() -> Iterator[Running]:
    with running() as gateway:
        yield gateway


@pytest.fixture
def client(gateway: Running) -> Iterator[httpx.Client]:
    with gateway.client(gateway.add_user("ann")) as client:
        yield client


def mirror(gateway: Running) -> str:
    return f"{gateway.base}/delivery/{gateway.sim.delivery_origin.removeprefix('http://')}/"


def states(gateway: Running) -> list[str]:
    return gateway.ledger(lambda conn: list(conn.execute(select(files.c.state)).scalars()))


def fetched(gateway: Running) -> int:
    return gateway.sim.log.count(operation="delivery.get")


def picture(gateway: Running, client: httpx.Client) -> str:
    """Make a picture; return its address here, once the mirror has it."""
    made = client.post(FLUX, json={"input": {"prompt": "a fox"}}).json()["id"]
    (url,) = gateway.finished(client, made).json()["output"]
    gateway.settle(lambda: states(gateway) == ["stored"])
    address: str = url
    return address


def test_addresses_are_rewritten_wherever_they_stand_and_only_whole(
    gateway: Running, client: httpx.Client
) -> None:
    made = created(client, "nested", prompt="a fox")
    output = gateway.finished(client, made).json()["output"]
    original: Any = gateway.sim.prediction(made)
    own = mirror(gateway)
    for url in (output["cover"], output["masks"][0]["mask"], output["masks"][1]["mask"]):
        assert url.startswith(own)
        Image.open(BytesIO(client.get(url).content)).verify()
    # A text that contains an address is not one.
    assert output["caption"] == original["output"]["caption"]
    assert output["embedding"] == original["output"]["embedding"]
    assert output["masks"][0]["score"] == original["output"]["masks"][0]["score"]


def test_a_string_a_list_and_words(gateway: Running, client: httpx.Client) -> None:
    single = gateway.finished(client, created(client, "single-picture", prompt="a fox")).json()
    assert single["output"].startswith(mirror(gateway))
    many = client.post(FLUX, json={"input": {"prompt": "a fox", "num_outputs": 3}}).json()["id"]
    urls = gateway.finished(client, many).json()["output"]
    assert len({client.get(url).content for url in urls}) == 3
    words = f"see {gateway.sim.delivery_origin}/x/y.png"
    echo = gateway.finished(client, created(client, "echo", value=words)).json()
    assert echo["output"] == words


def test_bytes_and_headers_are_upstreams_own_and_harmless(
    gateway: Running, client: httpx.Client
) -> None:
    url = picture(gateway, client)
    original = gateway.sim.delivery_origin + url.removeprefix(mirror(gateway)[:-1])
    with httpx.Client(trust_env=False) as anybody:
        upstream, copy = anybody.get(original), anybody.get(url)
        assert copy.status_code == 200
        assert copy.content == upstream.content
        for name in ("content-type", "content-length", "etag"):
            assert copy.headers[name] == upstream.headers[name]
        assert copy.headers["accept-ranges"] == "bytes"
        assert copy.headers["x-content-type-options"] == "nosniff"
        assert copy.headers["content-security-policy"] == "sandbox"
        assert "set-cookie" not in copy.headers
        head = anybody.head(url)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == copy.headers["content-length"]
        assert anybody.options(url).headers["allow"] == "GET, HEAD, OPTIONS"
        assert anybody.post(url).status_code == 405


def test_ranges_and_conditions(gateway: Running, client: httpx.Client) -> None:
    url = picture(gateway, client)
    whole = client.get(url)
    size, etag = len(whole.content), whole.headers["etag"]

    def part(asked: str, **more: str) -> httpx.Response:
        headers = {name.replace("_", "-"): value for name, value in more.items()}
        return client.get(url, headers={"Range": asked, **headers})

    for asked, begin, end in [
        ("bytes=0-9", 0, 10),
        ("bytes=10-", 10, size),
        ("bytes=-5", size - 5, size),
        (f"bytes=5-{size + 100}", 5, size),
    ]:
        answer = part(asked)
        assert answer.status_code == 206
        assert answer.content == whole.content[begin:end]
        assert answer.headers["content-range"] == f"bytes {begin}-{end - 1}/{size}"
        assert answer.headers["content-length"] == str(end - begin)
    beyond = part(f"bytes={size}-")
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{size}")
    assert part("lines=1-2").status_code == 200
    assert part("bytes=0-9", if_range=etag).status_code == 206
    assert part("bytes=0-9", if_range='"other"').content == whole.content
    for matching in (etag, "*", f"W/{etag}"):
        answer = client.get(url, headers={"If-None-Match": matching})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == etag


def test_files_are_fetched_when_first_seen_by_whoever_sees_them(
    gateway: Running, client: httpx.Client
) -> None:
    made = client.post(FLUX, json={"input": {"prompt": "a fox", "num_outputs": 2}}).json()["id"]
    # Nobody reads it again.
    gateway.settle(lambda: states(gateway) == ["stored", "stored"])
    settled = select(predictions.c.settled_at).where(predictions.c.id == made)
    assert gateway.ledger(lambda conn: conn.execute(settled).scalar_one()) is not None
    assert fetched(gateway) == 2
    gateway.loop.do(gateway.sim.stop_origin("api"))
    gateway.loop.do(gateway.sim.stop_origin("delivery"))
    body = read(client, made).json()
    assert body["status"] == "succeeded"
    for url in body["output"]:
        Image.open(BytesIO(client.get(url).content)).verify()


def test_however_many_ask_at_once_upstream_is_asked_once(
    gateway: Running, client: httpx.Client
) -> None:
    made = created(client, "large-file", size_bytes=3_000_000)
    url = gateway.finished(client, made).json()["output"]
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: client.get(url), range(12)))
    assert {answer.status_code for answer in answers} == {200}
    digests = {hashlib.sha256(answer.content).hexdigest() for answer in answers}
    assert len(digests) == 1
    assert {len(answer.content) for answer in answers} == {3_000_000}
    assert fetched(gateway) == 1


def test_files_of_foreign_hosts_are_neither_rewritten_nor_fetched(
    gateway: Running, client: httpx.Client
) -> None:
    foreign = gateway.sim.api_url.replace("127.0.0.1", "localhost") + "/v1/account"
    for url in (
        foreign,
        "http://169.254.169.254/latest/meta-data",
        gateway.sim.stream_origin + "/x",
    ):
        made = created(client, "foreign-url", url=url)
        assert gateway.finished(client, made).json()["output"] == [url]
        host, _, path = url.removeprefix("http://").partition("/")
        assert client.get(f"{gateway.base}/delivery/{host}/{path}").status_code == 404
    for _ in range(20):
        gateway.advance(1)
    gateway.refresh_keys()
    assert states(gateway) == []
    assert fetched(gateway) == 0
    assert not [
        entry for entry in gateway.sim.log.entries() if "localhost" in (entry.header("host") or "")
    ]


def test_public_pictures_of_model_pages_stay_where_they_are(
    gateway: Running, client: httpx.Client
) -> None:
    cover = client.get(f"{API}/models/black-forest-labs/flux-schnell").json()["cover_image_url"]
    assert cover.startswith(gateway.sim.delivery_origin)
    path = cover.removeprefix("http://")
    assert client.get(f"{gateway.base}/delivery/{path}").status_code == 404


@pytest.mark.parametrize("kind", [FaultKind.TRUNCATE, FaultKind.RESET_MIDWAY])
def test_a_broken_delivery_is_never_served_as_whole(
    gateway: Running, client: httpx.Client, kind: FaultKind
) -> None:
    clock = gateway.clock
    assert isinstance(clock, ManualClock)
    made = created(client, "large-file", size_bytes=2_000_000)
    gateway.sim.faults.add(Fault(kind, "delivery.get", times=None))
    url = gateway.finished(client, made).json()["output"]
    for _ in range(3):
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(whole_or_not, client, url)
            gateway.settle(asked.done, step_s=1)
            assert asked.result() is None
    assert states(gateway) != ["stored"]
    gateway.sim.faults.clear()
    gateway.settle(lambda: states(gateway) == ["stored"], step_s=5)
    body = whole_or_not(client, url)
    assert body is not None
    assert len(body) == 2_000_000


def whole_or_not(client: httpx.Client, url: str) -> bytes | None:
    """Read a file; None when the answer is an error, or visibly unfinished."""
    try:
        answer = client.get(url)
    except httpx.RemoteProtocolError:
        return None
    return answer.content if answer.status_code == 200 else None


def test_a_file_that_upstream_has_lost_is_gone(gateway: Running, client: httpx.Client) -> None:
    gateway.sim.faults.add(Fault(FaultKind.NOT_FOUND, "delivery.get", times=None))
    made = created(client, "large-file", size_bytes=1000)
    url = gateway.finished(client, made).json()["output"]
    answer = gateway.settle(
        lambda: found if (found := client.get(url)).status_code == 410 else None, step_s=1
    )
    assert answer.headers["content-type"] == "application/problem+json"


def test_with_keys_needed_only_who_may_read_the_prediction_may_read_its_files() -> None:
    toml = '[mirror]\naccess = "key"\n[plans.default]\n[teams.open]\nshare = true\n'
    with running(toml) as gateway:
        owner = gateway.add_user("owner", team="open")
        mate, stranger = gateway.add_user("mate", team="open"), gateway.add_user("stranger")
        with gateway.client(owner) as client:
            url = picture(gateway, client)
        statuses = []
        for key in (None, "hk-nobody", stranger, mate, owner):
            with gateway.client(key) as anybody:
                statuses.append(anybody.get(url).status_code)
        assert statuses == [401, 401, 404, 200, 200]


def test_a_file_larger_than_allowed_is_passed_through_unstored() -> None:
    with (
        running("[mirror]\nmax_file_bytes = 100000\n") as gateway,
        gateway.client(gateway.add_user("ann")) as client,
    ):
        made = created(client, "large-file", size_bytes=300_000)
        url = gateway.finished(client, made).json()["output"]
        first, second = client.get(url), client.get(url)
        assert (first.status_code, len(first.content)) == (200, 300_000)
        assert second.content == first.content
        assert "stored" not in states(gateway)
