"""In whose eyes the gateway is where: every client reads its own address, and nobody another's."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.support.creating import API, FLUX, create, created
from tests.support.running import Running, running

ONE, OTHER = "one.example:8443", "other.example"
ADDRESSES = {ONE: f"http://{ONE}", OTHER: f"http://{OTHER}"}


@pytest.fixture(scope="module")
def gateway() -> Iterator[Running]:
    """A gateway that is told no public address; the tests of this file share it."""
    with running("[upstream]\ncreates_per_minute = 60000\n") as gateway:
        yield gateway


@pytest.fixture(scope="module")
def key(gateway: Running) -> str:
    return gateway.add_user("ann")


@pytest.fixture(scope="module")
def finished(gateway: Running, key: str) -> str:
    """A finished prediction with files, made under one of the addresses."""
    with gateway.client(key, headers={"Host": ONE}) as client:
        made = client.post(FLUX, json={"input": {"prompt": "a lighthouse", "num_outputs": 2}})
        assert made.status_code == 201
        found: str = made.json()["id"]
        gateway.finished(client, found)
    return found


@pytest.fixture(scope="module")
def many(gateway: Running, key: str) -> int:
    """More predictions than a page holds."""
    with gateway.client(key) as client:
        for number in range(105):
            created(client, "echo", value=number)
    return 105


@pytest.fixture(scope="module")
def uploaded(gateway: Running, key: str) -> str:
    with gateway.client(key, headers={"Host": ONE}) as client:
        answer = client.post(f"{API}/files", files={"content": ("a.txt", b"hello", "text/plain")})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])


def asked_as(gateway: Running, key: str, host: str, path: str) -> httpx.Response:
    with gateway.client(key, headers={"Host": host}) as client:
        return client.get(path)


def check(gateway: Running, answer: httpx.Response, host: str) -> None:
    """Whether an answer names its own reader's address and no other of ours or upstream's."""
    assert answer.status_code == 200, answer.text
    text = answer.text
    assert f'"{ADDRESSES[host]}/' in text
    for other in (*ADDRESSES.values(), gateway.url, gateway.sim.api_url):
        if other != ADDRESSES[host]:
            assert f'"{other}/' not in text
    assert not [
        url for url in urls(json.loads(text)) if url.startswith(gateway.sim.delivery_origin)
    ]


def urls(value: object) -> Iterator[str]:
    """Every URL of a document that is rewritten, wherever it stands."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name != "cover_image_url":
                yield from urls(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from urls(inner)
    elif isinstance(value, str) and value.startswith("http"):
        yield value


@pytest.mark.parametrize("first", [ONE, OTHER])
def test_a_finished_prediction_from_memory(
    gateway: Running, key: str, finished: str, first: str
) -> None:
    second = OTHER if first == ONE else ONE
    path = f"{API}/predictions/{finished}"
    for host in (first, second, first, second):
        answer = asked_as(gateway, key, host, path)
        check(gateway, answer, host)
        outputs = answer.json()["output"]
        assert len(outputs) == 2
        assert all(
            url.startswith(f"{ADDRESSES[host]}/replicate/delivery/127.0.0.1:") for url in outputs
        )


def test_etags_of_two_addresses_do_not_vouch_for_each_other(
    gateway: Running, key: str, finished: str
) -> None:
    path = f"{API}/predictions/{finished}"
    tags = {host: asked_as(gateway, key, host, path).headers["etag"] for host in ADDRESSES}
    assert tags[ONE] != tags[OTHER]
    for host, other in ((ONE, OTHER), (OTHER, ONE)):
        with gateway.client(key, headers={"Host": host}) as client:
            assert client.get(path, headers={"If-None-Match": tags[host]}).status_code == 304
            assert client.get(path, headers={"If-None-Match": tags[other]}).status_code == 200


def test_readers_of_a_running_prediction_who_share_one_look(gateway: Running, key: str) -> None:
    with gateway.client(key) as client:
        made = created(client, "slow", seconds=30)
    gateway.clock.advance(5)  # type: ignore[attr-defined]  # the test's own clock
    hosts = [ONE, OTHER] * 8

    def ask(host: str) -> httpx.Response:
        return asked_as(gateway, key, host, f"{API}/predictions/{made}")

    with ThreadPoolExecutor(16) as pool:
        for host, answer in zip(hosts, pool.map(ask, hosts), strict=True):
            check(gateway, answer, host)
            assert answer.json()["urls"]["stream"].startswith(f"{ADDRESSES[host]}/v1/streams/")


@pytest.mark.parametrize("host", [ONE, OTHER])
def test_lists_and_their_next_links(gateway: Running, key: str, many: int, host: str) -> None:
    page = asked_as(gateway, key, host, f"{API}/predictions")
    check(gateway, page, host)
    following = page.json()["next"]
    assert following.startswith(f"{ADDRESSES[host]}{API}/predictions?")
    rest = asked_as(gateway, key, host, following.removeprefix(ADDRESSES[host]))
    check(gateway, rest, host)
    assert rest.json()["previous"].startswith(f"{ADDRESSES[host]}{API}/predictions?")


@pytest.mark.parametrize("host", [ONE, OTHER])
def test_files(gateway: Running, key: str, uploaded: str, host: str) -> None:
    for path in (f"{API}/files/{uploaded}", f"{API}/files"):
        check(gateway, asked_as(gateway, key, host, path), host)


@pytest.mark.parametrize("host", [ONE, OTHER])
def test_input_is_echoed_as_it_was_written_under_every_address(
    gateway: Running, key: str, finished: str, host: str
) -> None:
    with gateway.client(key, headers={"Host": host}) as client:
        picture = client.get(f"{API}/predictions/{finished}").json()["output"][0]
        assert picture.startswith(ADDRESSES[host])
        made = create(client, "image-to-image", image=picture)
        assert made.status_code == 201, made.text
        assert made.json()["input"]["image"] == picture
        sent = gateway.sim.prediction(made.json()["id"])
        assert sent is not None
        given = sent["input"]
        assert isinstance(given, dict)
        assert str(given["image"]).startswith(gateway.sim.delivery_origin)


def test_a_configured_address_is_everybodys_and_aliases_are_understood() -> None:
    env = {
        "GATEWAY_SERVER__PUBLIC_URL": "https://gateway.example",
        "GATEWAY_SERVER__PUBLIC_ALIASES": '["https://alias.example"]',
    }
    with running(env=env) as gateway:
        key = gateway.add_user("ann")
        with gateway.client(key, headers={"Host": ONE}) as client:
            made = client.post(FLUX, json={"input": {"prompt": "a lighthouse"}})
            document = gateway.finished(client, made.json()["id"]).json()
            [picture] = document["output"]
            assert picture.startswith("https://gateway.example/replicate/delivery/")
            assert document["urls"]["get"].startswith("https://gateway.example/replicate/v1/")
            assert ONE not in json.dumps(document)
            path = picture.removeprefix("https://gateway.example")
            for origin in ("https://gateway.example", "https://alias.example", f"http://{ONE}"):
                again = create(client, "image-to-image", image=origin + path)
                assert again.status_code == 201
                sent = gateway.sim.prediction(again.json()["id"])
                assert sent is not None
                assert gateway.sim.delivery_origin in json.dumps(sent["input"])


def test_behind_a_trusted_proxy_the_clients_scheme_and_host_count() -> None:
    env = {"GATEWAY_SERVER__TRUSTED_PROXIES": '["127.0.0.0/8"]'}
    forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "gw.example"}
    with running(env=env) as gateway:
        key = gateway.add_user("ann")
        with gateway.client(key) as client:
            made = created(client, "echo", value=1)
            path = f"{API}/predictions/{made}"
            seen = client.get(path, headers=forwarded).json()
            assert seen["urls"]["get"] == f"https://gw.example{path}"
            assert client.get(path).json()["urls"]["get"] == f"{gateway.url}{path}"


def test_without_trust_nobody_can_make_others_of_the_address(gateway: Running, key: str) -> None:
    forged = {
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.example",
        "Forwarded": "proto=https;host=evil.example",
    }
    with gateway.client(key) as client:
        made = created(client, "echo", value=1)
        for headers in (forged, {}):
            answer = client.get(f"{API}/predictions/{made}", headers=headers)
            assert "evil.example" not in answer.text
            assert answer.json()["urls"]["get"].startswith(gateway.url)


@pytest.mark.parametrize("host", ["two words", "evil.example/path", "a@b.example", "x:99999", "["])
def test_a_malformed_host_is_answered_400(gateway: Running, key: str, host: str) -> None:
    answer = asked_as(gateway, key, host, f"{API}/predictions")
    assert answer.status_code == 400
    assert answer.json()["status"] == 400
    assert host not in answer.text
