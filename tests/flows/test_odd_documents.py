"""Upstream's documents are legal JSON that not every parser takes: they are paid for all the same.

Half a surrogate pair is what ``prompt.slice(0, n)`` through an emoji leaves, and upstream echoes
the input.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from gateway.domain.json_text import MAX_DEPTH
from gateway.ledger import Connection
from tests.support.running import Running, running
from tests.support.scripted import Got, Laid, Scripted, scripted

PREDICTIONS = "/replicate/v1/predictions"
VERSION = b"5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa"
ODD = {
    "half a surrogate pair": b'"a cat \\ud83d"',
    "a number beyond a double": b"1e400",
    "an integer of hundreds of digits": b"9" * 700,
    "an integer of thousands of digits": b"9" * 5_000,
    "numbers as they were written": b"[1.0e+5, -0.0, 1E-7, 0.10]",
}
DEEP = {
    "a little too deep": b"[" * (MAX_DEPTH + 9) + b'"x"' + b"]" * (MAX_DEPTH + 9),
    "deeper than parsers go": b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
}
EVERY = {**ODD, **DEEP}


@pytest.fixture
def upstream() -> Iterator[Scripted]:
    with scripted() as upstream:
        yield upstream


@pytest.fixture
def gateway(upstream: Scripted) -> Iterator[Running]:
    with running(env={"GATEWAY_UPSTREAM__BASE_URL": upstream.url}) as gateway:
        yield gateway


def document(
    gateway: Running,
    upstream: Scripted,
    name: str,
    *,
    given: bytes = b"{}",
    output: bytes = b"null",
    status: str = "starting",
    more: bytes = b"",
) -> bytes:
    made = datetime.fromtimestamp(gateway.clock.now(), UTC).isoformat()
    return (
        b'{"id": "%s","model":"acme/odd","version":"%s", "input":%s,"output":%s,"logs":"",'
        b'"error":null,"status":"%s","created_at":"%s"%s,'
        b'"urls":{"get":"%s/v1/predictions/%s"}}\n'
    ) % (
        *(name.encode(), VERSION, given, output, status.encode(), made.encode(), more),
        *(upstream.url.encode(), name.encode()),
    )


def page(*items: bytes) -> Laid:
    return Laid(body=b'{"next":null,"previous":null,"results":[' + b",".join(items) + b"]}")


def body(given: bytes) -> bytes:
    return b'{"version":"' + VERSION + b'","input":' + given + b"}"


def shown(gateway: Running, upstream: Scripted, document: bytes) -> bytes:
    return document.replace(upstream.url.encode(), gateway.base.encode())


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_an_odd_input_is_made_followed_and_read_byte_for_byte(
    gateway: Running, upstream: Scripted, odd: bytes
) -> None:
    given = b'{"prompt": ' + odd + b"}"
    first = document(gateway, upstream, "odd", given=given)
    last = document(gateway, upstream, "odd", given=given, output=odd, status="succeeded")
    upstream.lay("POST", "/v1/predictions", Laid(201, first))
    upstream.lay("GET", "/v1/predictions/odd", Laid(body=last))
    upstream.lay("GET", "/v1/predictions", page(last))
    key = gateway.add_user("ann")
    with gateway.client(key) as client:
        made = client.post(PREDICTIONS, content=body(given))
        assert (made.status_code, made.content) == (201, shown(gateway, upstream, first))
        (sent,) = upstream.of("POST", "/v1/predictions")
        assert sent.body == body(given)
        whole = shown(gateway, upstream, last)
        gateway.settle(lambda: client.get(f"{PREDICTIONS}/odd").content == whole, most_s=60)
        assert whole.strip() in client.get(PREDICTIONS).content
    gateway.settle(lambda: running_now(gateway) == 0, most_s=60)


@pytest.mark.parametrize("odd", DEEP.values(), ids=DEEP)
def test_an_output_of_any_depth_is_an_output(
    gateway: Running, upstream: Scripted, odd: bytes
) -> None:
    last = document(gateway, upstream, "odd", output=odd, status="succeeded")
    upstream.lay("POST", "/v1/predictions", Laid(201, last))
    upstream.lay("GET", "/v1/predictions/odd", Laid(body=last))
    key = gateway.add_user("ann")
    with gateway.client(key) as client:
        made = client.post(PREDICTIONS, content=body(b"{}"))
        assert (made.status_code, made.content) == (201, shown(gateway, upstream, last))
        whole = shown(gateway, upstream, last)
        assert client.get(f"{PREDICTIONS}/odd").content == whole
        assert whole.strip() in client.get(PREDICTIONS).content
    gateway.settle(lambda: running_now(gateway) == 0, most_s=60)


@pytest.mark.parametrize("odd", EVERY.values(), ids=EVERY)
def test_an_odd_item_of_the_list_keeps_nobody_elses_create_in_doubt(
    gateway: Running, upstream: Scripted, odd: bytes
) -> None:
    made: list[bytes] = []

    def lost(_: Got) -> Laid:
        made.append(
            document(gateway, upstream, "good", given=b'{"p":2}', output=b'"x"', status="succeeded")
        )
        return Laid(201, b"<html>")

    odd_item = document(gateway, upstream, "odd", given=b'{"p":' + odd + b"}", output=odd)
    upstream.lay("POST", "/v1/predictions", lost)
    upstream.lay("GET", "/v1/predictions", lambda _: page(*made, odd_item))
    upstream.lay("GET", "/v1/predictions/good", lambda _: Laid(body=made[0]))
    key = gateway.add_user("bob")
    with gateway.client(key) as client:
        answer = client.post(PREDICTIONS, content=body(b'{"p":2}'))
        assert answer.status_code == 502
        found = gateway.settle(lambda: client.get(PREDICTIONS).json()["results"], most_s=120)
    assert [item["id"] for item in found] == ["good"]


@pytest.mark.parametrize("odd", EVERY.values(), ids=EVERY)
def test_an_odd_refusal_is_upstreams_own(gateway: Running, upstream: Scripted, odd: bytes) -> None:
    refusal = b'{"detail":"- input is odd","status":422,"input":' + odd + b"}\n"
    upstream.lay("POST", "/v1/predictions", Laid(422, refusal))
    key = gateway.add_user("ann")
    with gateway.client(key) as client:
        answer = client.post(PREDICTIONS, content=body(b"{}"))
    assert (answer.status_code, answer.content) == (422, refusal)


@pytest.mark.parametrize("odd", EVERY.values(), ids=EVERY)
def test_an_odd_page_of_the_catalogue_and_an_odd_file_are_passed_on(
    gateway: Running, upstream: Scripted, odd: bytes
) -> None:
    models = b'{"next":null,"previous":null,"results":[{"default_example":' + odd + b"}]}"
    file = b'{"id":"f1","metadata":{"a":' + odd + b"}}"
    upstream.lay("GET", "/v1/models", Laid(body=models))
    upstream.lay("POST", "/v1/files", Laid(201, file))
    key = gateway.add_user("ann")
    with gateway.client(key) as client:
        assert client.get("/replicate/v1/models").content == models
        sent = client.post("/replicate/v1/files", files={"content": b"abc"})
    assert (sent.status_code, sent.content) == (201, file)


@pytest.mark.parametrize("odd", EVERY.values(), ids=EVERY)
def test_an_odd_document_is_shown_to_an_admin_and_on_the_dashboard(
    gateway: Running, upstream: Scripted, odd: bytes
) -> None:
    given = b'{"prompt":' + odd + b"}"
    last = document(gateway, upstream, "odd", given=given, output=odd, status="succeeded")
    upstream.lay("POST", "/v1/predictions", Laid(201, last))
    upstream.lay("GET", "/v1/predictions/odd", Laid(body=last))
    key = gateway.add_user("root", role="admin")
    with gateway.client(key) as client:
        assert client.post(PREDICTIONS, content=body(b"{}")).status_code == 201
        record = client.get("/admin/v1/predictions/odd")
        assert record.status_code == 200
        assert b'"document":' + last.strip() in record.content
    with gateway.client() as client:
        assert client.post("/dashboard/sign-in", data={"key": key}).status_code == 303
        for path in ("/dashboard/predictions", "/dashboard/predictions?id=odd"):
            answer = client.get(path)
            assert (answer.status_code, "acme/odd" in answer.text) == (200, True)


def test_what_was_answered_without_a_source_is_listed_as_made_by_the_api(
    gateway: Running, upstream: Scripted
) -> None:
    first = document(gateway, upstream, "plain")
    last = document(gateway, upstream, "plain", status="succeeded", more=b',"source":"api"')
    upstream.lay("POST", "/v1/predictions", Laid(201, first))
    upstream.lay("GET", "/v1/predictions/plain", Laid(body=last))
    key = gateway.add_user("ann")
    with gateway.client(key) as client:
        assert client.post(PREDICTIONS, content=body(b"{}")).status_code == 201
        for query, expected in (("", 1), ("?source=api", 1), ("?source=web", 0)):
            assert len(client.get(PREDICTIONS + query).json()["results"]) == expected


def test_a_create_is_not_sent_while_upstream_does_not_say_whose_account_it_is(
    gateway: Running, upstream: Scripted
) -> None:
    account = upstream.answers["GET", "/v1/account"]
    key = gateway.add_user("ann")
    upstream.lay("POST", "/v1/predictions", Laid(201, document(gateway, upstream, "plain")))
    with gateway.client(key) as client:
        for refusal in (Laid(404, b'{"detail":"no","status":404}'), Laid(200, b'{"name":"Acme"}')):
            upstream.lay("GET", "/v1/account", refusal)
            answer = client.post(PREDICTIONS, content=body(b"{}"))
            assert answer.status_code == 502
            assert answer.json()["title"] == "Upstream account unknown"
            assert "x-should-retry" not in answer.headers
        assert not upstream.of("POST", "/v1/predictions")
        upstream.lay("GET", "/v1/account", account)
        assert client.post(PREDICTIONS, content=body(b"{}")).status_code == 201


def running_now(gateway: Running) -> int:
    def read(conn: Connection) -> int:
        row = conn.exec_driver_sql(
            "SELECT count(*) FROM predictions WHERE settled_at IS NULL"
        ).one()
        return int(row[0])

    return gateway.ledger(read)
