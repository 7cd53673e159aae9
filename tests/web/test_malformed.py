"""Whatever is sent: an answer that says what is wrong, and a gateway that stays up."""

import json
import socket
from collections.abc import Iterator

import httpx
import pytest

from tests.support.creating import API, FLUX
from tests.support.running import Running, running

PREDICTIONS = f"{API}/predictions"


@pytest.fixture(scope="module")
def gateway() -> Iterator[Running]:
    with running("[server]\nmax_body_bytes = 65536\n") as gateway:
        yield gateway


@pytest.fixture(scope="module")
def client(gateway: Running) -> Iterator[httpx.Client]:
    with gateway.client(gateway.add_user("ann")) as client:
        yield client


def assert_problem(answer: httpx.Response, *statuses: int) -> None:
    assert answer.status_code in statuses, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "sandbox"
    assert answer.headers["x-request-id"]
    problem = answer.json()
    assert isinstance(problem["title"], str)
    assert isinstance(problem["detail"], str)
    assert problem["status"] == answer.status_code


BODIES: dict[str, bytes] = {
    "nothing": b"",
    "not JSON": b"prompt=a fox",
    "half of it": b'{"input": {"prompt": "a fo',
    "more than one": b'{"input": {}} {"input": {}}',
    "an array": b'[{"input": {}}]',
    "a string": b'"input"',
    "null": b"null",
    "no input": b"{}",
    "input is null": b'{"input": null}',
    "input is a list": b'{"input": ["a fox"]}',
    "input is a string": b'{"input": "a fox"}',
    "input twice": b'{"input": {"prompt": "a"}, "input": {"prompt": "b"}}',
    "version twice": b'{"version": "a", "version": "b", "input": {}}',
    "the same name spelled twice": b'{"input": {}, "inpu\\u0074": {}}',
    "bad UTF-8": b'{"input": {"prompt": "\xff\xfe"}}',
    "UTF-16": '{"input": {}}'.encode("utf-16"),
    "not a number": b'{"input": {"seed": NaN}}',
    "infinite": b'{"input": {"seed": Infinity}}',
    "a control character": b'{"input": {"prompt": "a\x00b"}}',
    "single quotes": b"{'input': {}}",
    "a trailing comma": b'{"input": {},}',
    "deep lists": b'{"input": {"x": ' + b"[" * 20_000 + b"]" * 20_000 + b"}}",
    "deep objects": b'{"input": ' + b'{"x":' * 9_000 + b"1" + b"}" * 9_000 + b"}",
    "only brackets": b"[" * 60_000,
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("path", [FLUX, f"{API}/deployments/acme/flux-fast/predictions"])
def test_a_body_that_makes_no_sense_is_400(
    gateway: Running, client: httpx.Client, name: str, path: str
) -> None:
    before = gateway.sim.log.count(operation="models.predictions.create")
    answer = client.post(path, content=BODIES[name], headers={"content-type": "application/json"})
    assert_problem(answer, 400)
    assert gateway.sim.log.count(operation="models.predictions.create") == before


VERSIONS: dict[str, object] = {
    "missing": None,
    "a number": 7,
    "a list": ["a/b"],
    "empty": "",
    "a path": "a/b/c",
    "dots": "../..",
    "a URL": "https://replicate.com/a/b",
    "blank": "a b",
    "long": "x" * 5000,
    "no name": "/:1",
    "control characters": "a/b:\x00\x1b[31m",
}


@pytest.mark.parametrize("name", VERSIONS)
def test_a_version_that_makes_no_sense_is_422(client: httpx.Client, name: str) -> None:
    body = {"input": {}, "version": VERSIONS[name]}
    assert_problem(client.post(PREDICTIONS, json=body), 422)


def test_a_huge_body_is_413_whether_announced_or_not(client: httpx.Client) -> None:
    body = json.dumps({"input": {"prompt": "x" * 70_000}}).encode()
    assert_problem(client.post(FLUX, content=body), 413)
    chunks = (body[start : start + 1000] for start in range(0, len(body), 1000))
    assert_problem(client.post(FLUX, content=chunks), 413)
    assert_problem(client.request("QUERY", f"{API}/models", content=body), 413)


def test_a_body_of_the_greatest_size_is_read(client: httpx.Client) -> None:
    frame = '{"input": {"prompt": ""}}'
    body = frame.replace('""', '"' + "x" * (65536 - len(frame)) + '"')
    assert len(body) == 65536
    assert client.post(FLUX, content=body).status_code == 201


PATHS = [
    "/replicate",
    "/replicate/",
    "/replicate/v1",
    "/replicate/v1/",
    "/replicate/v2/predictions",
    "/replicate/v1/v1/v1/predictions",
    "/replicate/v1/nothing",
    "/replicate/v1/predictions//cancel",
    "/replicate/v1/predictions/a/b/c",
    "/replicate/v1/predictions/..",
    "/replicate/v1/predictions/%2e%2e",
    "/replicate/v1/predictions/..%2faccount",
    "/replicate/v1/predictions/a%2fcancel",
    "/replicate/v1/predictions/%00",
    "/replicate/v1/predictions/%ff%fe",
    "/replicate/v1/predictions/%",
    "/replicate/v1/predictions/" + "x" * 4000,
    "/replicate/v1/models/../../account",
    "/replicate/v1/models/a/%2e%2e/versions",
    "/REPLICATE/v1/predictions",
    "/replicate/v1/../../etc/passwd",
    "/nothing",
    "//replicate/v1/predictions",
    "/replicate/v1/predictions;x=y",
]


@pytest.mark.parametrize("path", PATHS)
def test_an_odd_path_is_404_and_goes_nowhere(gateway: Running, path: str, key: str) -> None:
    before = gateway.sim.log.count()
    status, headers, body = raw(gateway, path, key=key)
    assert status == 404, body
    assert headers["content-type"] == "application/problem+json"
    assert json.loads(body)["status"] == 404
    assert gateway.sim.log.count() == before


@pytest.fixture(scope="module")
def key(gateway: Running) -> str:
    return gateway.add_user("bea")


MIRROR_PATHS = [
    "",
    "/",
    "/x",
    "/x/",
    "/{host}",
    "/{host}/",
    "/{host}/..",
    "/{host}/../../../etc/passwd",
    "/{host}/a/../../b",
    "/{host}/a/%2e%2e/b",
    "/{host}/a%2fb",
    "/{host}/a%2F..%2Fb",
    "/{host}/a%5cb",
    "/{host}/a//b",
    "/{host}//a",
    "/{host}/%00",
    "/{host}/%",
    "/{host}/%zz",
    "/{host}/a%0d%0aX-Evil:1",
    "/{host}/unknown/out-0.png",
    "/{host}/" + "x" * 5000,
    "/localhost:22/out-0.png",
    "/169.254.169.254/latest/meta-data",
    "/user@{host}/a",
    "/evil.example%23{host}/a",
    "/{host}@evil.example/a",
    "/[::1]/a",
    "/files.example.invalid/foreign/out-0.png",
]


@pytest.mark.parametrize("path", MIRROR_PATHS)
def test_a_mirror_path_that_no_output_has_is_404_and_nobody_is_asked(
    gateway: Running, path: str
) -> None:
    host = gateway.sim.delivery_origin.removeprefix("http://")
    before = gateway.sim.log.count(origin="delivery")
    status, headers, body = raw(gateway, "/replicate/delivery" + path.format(host=host))
    assert status == 404, body
    assert headers["content-type"] == "application/problem+json"
    assert gateway.sim.log.count(origin="delivery") == before


HEADERS: dict[str, tuple[dict[str, str], set[int]]] = {
    "no scheme": ({"Authorization": "hk-"}, {401}),
    "another scheme": ({"Authorization": "Basic aGs6"}, {401}),
    "no key": ({"Authorization": "Bearer"}, {401}),
    "a long key": ({"Authorization": "Bearer hk-" + "a" * 20_000}, {401}),
    "bytes": ({"Authorization": "Bearer hk-\u00ff\u00fe"}, {401}),
    "upstream's kind of key": ({"Authorization": "Bearer r8_" + "a" * 37}, {401}),
    "a strange wait": ({"Prefer": "wait=99999999999999999999"}, {201}),
    "a negative wait": ({"Prefer": "wait=-1"}, {201}),
    "a strange deadline": ({"Cancel-After": "soon"}, {422}),
    "compressed": ({"Content-Encoding": "gzip"}, {415}),
    "another type": ({"Content-Type": "text/plain"}, {201}),
    "an odd request id": ({"X-Request-Id": "a" * 5000}, {201}),
    "a strange retry": ({"X-Stainless-Retry-Count": "-1"}, {201}),
    "a strange host": ({"Host": "a b"}, {400}),
    "a host with a path": ({"Host": "evil.example/x"}, {400}),
    "a host with a user": ({"Host": "a@b"}, {400}),
}


@pytest.mark.parametrize("name", HEADERS)
def test_absurd_headers_are_refused_or_without_effect(client: httpx.Client, name: str) -> None:
    headers, statuses = HEADERS[name]
    sent = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    answer = client.post(FLUX, json={"input": {"prompt": "a fox"}}, headers=sent)
    assert answer.status_code in statuses, answer.text
    if answer.status_code in (400, 401, 415):
        assert_problem(answer, *statuses)
    assert len(answer.headers["x-request-id"]) <= 128


def test_a_method_that_an_address_does_not_know_is_405(client: httpx.Client) -> None:
    for method, path in [
        ("DELETE", PREDICTIONS),
        ("PUT", FLUX),
        ("GET", FLUX),
        ("POST", f"{API}/../delivery/x/y"),
        ("POST", "/healthz"),
    ]:
        answer = client.request(method, path)
        assert_problem(answer, 405)
        assert answer.headers["allow"]


QUERIES = [
    "cursor=garbage",
    "cursor=%ff",
    "cursor=" + "A" * 200,
    "created_after=yesterday",
    "created_before=2025-13-45",
    "source=ftp",
]


@pytest.mark.parametrize("query", QUERIES)
def test_a_list_query_that_makes_no_sense_is_400(client: httpx.Client, query: str) -> None:
    assert_problem(client.get(f"{PREDICTIONS}?{query}"), 400)


def raw(
    gateway: Running, path: str, *, key: str | None = None
) -> tuple[int, dict[str, str], bytes]:
    """GET a path exactly as it is written."""
    lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close"]
    if key is not None:
        lines.append(f"Authorization: Bearer {key}")
    return said(gateway, "\r\n".join([*lines, "", ""]).encode("latin-1"))


def said(gateway: Running, sent: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes; return the first answer: status, headers, body."""
    port = int(gateway.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        line.sendall(sent)
        received = b""
        while piece := line.recv(65536):
            received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    first, *rest = head.decode("latin-1").split("\r\n")
    headers = dict(item.split(": ", 1) for item in rest if ": " in item)
    return int(first.split(" ")[1]), {name.lower(): value for name, value in headers.items()}, body


NOISE: dict[str, bytes] = {
    "not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n",
    "an unknown method": b"BREW /replicate/v1/predictions HTTP/1.1\r\nHost: a\r\n\r\n",
    "no version": b"GET /nothing\r\n\r\n",
    "an unknown version": b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
    "a blank in the path": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "a header without a colon": b"GET / HTTP/1.1\r\nHost a\r\n\r\n",
    "a folded header": b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: a\r\n"
    b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a length that is none": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
    "a negative length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    "length and chunks": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a chunk of no size": b"POST " + FLUX.encode() + b" HTTP/1.1\r\nHost: a\r\n"
    b"Transfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n",
    "a header beyond all bounds": b"GET / HTTP/1.1\r\nHost: a\r\nX-Big: "
    + b"x" * 65_600
    + b"\r\n\r\n",
    "a path beyond all bounds": b"GET /" + b"x" * 65_600 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "a host of nobody": b"GET /" + b"\xff" + b" HTTP/1.1\r\nHost: a\r\n\r\n",
}


@pytest.mark.parametrize("name", NOISE)
def test_what_is_no_http_is_answered_with_a_problem_and_the_line_closed(
    gateway: Running, name: str
) -> None:
    status, headers, body = said(gateway, NOISE[name])
    assert 400 <= status < 500
    assert headers["content-type"] == "application/problem+json"
    problem = json.loads(body)
    assert problem["status"] == status
    assert isinstance(problem["detail"], str)
    assert httpx.get(f"{gateway.url}/healthz", trust_env=False).status_code == 200
