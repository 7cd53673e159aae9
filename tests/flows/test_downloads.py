"""The bytes of uploaded files, however upstream hands them out."""

import json
from collections.abc import Iterator

import httpx
import pytest

from tests.support.running import Running, running
from tests.support.scripted import Got, Laid, Scripted, scripted

FILE = "/v1/files/abcdefghijklmnop"
LINK = f"/replicate{FILE}/download?owner=acme&expiry=1&signature=a%2Bb%3D"
CONTENT = bytes(range(256)) * 40
OCTETS = ("Content-Type", "application/octet-stream")


@pytest.fixture(scope="module")
def upstream() -> Iterator[Scripted]:
    with scripted() as upstream:
        file = {"id": "abcdefghijklmnop", "name": "a", "urls": {"get": f"{upstream.url}{FILE}"}}
        upstream.lay("POST", "/v1/files", Laid(201, json.dumps(file).encode()))
        yield upstream


@pytest.fixture(scope="module")
def delivery() -> Iterator[Scripted]:
    with scripted() as delivery:
        yield delivery


@pytest.fixture(scope="module")
def gateway(upstream: Scripted, delivery: Scripted) -> Iterator[Running]:
    env = {
        "GATEWAY_UPSTREAM__BASE_URL": upstream.url,
        "GATEWAY_UPSTREAM__DELIVERY_ORIGINS": json.dumps([delivery.url]),
    }
    with running(env=env) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def client(gateway: Running) -> Iterator[httpx.Client]:
    with gateway.client(gateway.add_user("ann")) as client:
        assert client.post("/replicate/v1/files", content=b"form").status_code == 201
        yield client


def part(got: Got) -> Laid:
    """Answers as a file server does, the part that was asked for."""
    asked = got.headers.get("range")
    if asked is None:
        return Laid(200, CONTENT, (OCTETS, ("Accept-Ranges", "bytes"), ("ETag", '"e"')))
    first, _, last = asked.removeprefix("bytes=").partition("-")
    end = int(last) + 1 if last else len(CONTENT)
    told = f"bytes {first}-{end - 1}/{len(CONTENT)}"
    return Laid(206, CONTENT[int(first) : end], (OCTETS, ("Content-Range", told)))


def test_ranges_pass_both_ways(client: httpx.Client, upstream: Scripted) -> None:
    upstream.lay("GET", f"{FILE}/download", part)
    answer = client.get(LINK, headers={"range": "bytes=10-19"})
    assert (answer.status_code, answer.content) == (206, CONTENT[10:20])
    assert answer.headers["content-range"] == f"bytes 10-19/{len(CONTENT)}"
    whole = client.get(LINK)
    assert (whole.content, whole.headers["etag"]) == (CONTENT, '"e"')


def test_the_signed_query_arrives_as_it_was_and_the_token_stays_here(
    client: httpx.Client, upstream: Scripted
) -> None:
    upstream.lay("GET", f"{FILE}/download", part)
    client.get(LINK)
    (*_, got) = upstream.of("GET", f"{FILE}/download")
    assert got.target == LINK.removeprefix("/replicate")
    assert "authorization" not in got.headers


def test_a_redirect_to_an_output_host_is_followed_here(
    client: httpx.Client, upstream: Scripted, delivery: Scripted
) -> None:
    location = ("Location", f"{delivery.url}/kept/a.bin?sig=1")
    upstream.lay("GET", f"{FILE}/download", Laid(302, b"", (location,)))
    delivery.lay("GET", "/kept/a.bin", part)
    answer = client.get(LINK)
    assert (answer.status_code, answer.content) == (200, CONTENT)
    rest = client.get(LINK, headers={"range": "bytes=100-"})
    assert (rest.status_code, rest.content) == (206, CONTENT[100:])
    delivery.lay("GET", "/kept/a.bin", Laid(404, b""))
    assert client.get(LINK).status_code == 404
    assert all("authorization" not in got.headers for got in delivery.got)


def test_other_redirects_are_passed_on_and_lead_here_if_they_can(
    gateway: Running, client: httpx.Client, upstream: Scripted
) -> None:
    for location, seen in (
        ("https://elsewhere.example/x", "https://elsewhere.example/x"),
        (f"{upstream.url}{FILE}/download?a=1", f"{gateway.base}{FILE}/download?a=1"),
        (f"{FILE}/download?a=1", f"{gateway.base}{FILE}/download?a=1"),
    ):
        upstream.lay("GET", f"{FILE}/download", Laid(302, b"", (("Location", location),)))
        answer = client.get(LINK)
        assert (answer.status_code, answer.headers["location"]) == (302, seen)


def test_a_signature_that_upstream_refuses_is_upstreams_answer(
    client: httpx.Client, upstream: Scripted
) -> None:
    body = b'{"detail":"Signature expired","status":401}\n'
    upstream.lay("GET", f"{FILE}/download", Laid(401, body))
    answer = client.get(LINK)
    assert (answer.status_code, answer.content) == (401, body)


def test_a_download_that_breaks_off_is_not_taken_for_whole(
    client: httpx.Client, upstream: Scripted
) -> None:
    headers = (OCTETS, ("Content-Length", str(len(CONTENT) + 10)), ("Connection", "close"))
    upstream.lay("GET", f"{FILE}/download", Laid(200, CONTENT, headers))
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(LINK)
