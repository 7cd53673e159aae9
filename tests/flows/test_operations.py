"""The whole table: every operation reachable, counted, guarded, and passed on as it is."""

import gzip
import json
from collections.abc import Iterator

import httpx
import pytest

from gateway.ledger import versions
from gateway.simulator.operations import OPERATIONS as SIMULATED
from gateway.upstream.operations import OPERATIONS, Access, Operation
from tests.support.canary import TOKEN
from tests.support.running import Running, running
from tests.support.scripted import Got, Laid, Scripted, scripted

API = "/replicate/v1"
PARAMS = {
    "collection_slug": "text-to-image",
    "deployment_name": "portraits",
    "deployment_owner": "acme",
    "file_id": "abcdefghijklmnop",
    "model_name": "flux-schnell",
    "model_owner": "black-forest-labs",
    "prediction_id": "ufawqhfynnddngldkgtslldrkq",
    "training_id": "zz4ibbonubfz7carwiefibzgga",
    "version_id": "2a6b576af31790b470f0a8442e1e9791213fa13799cbb65a9fc1436e96389574",
}
FORWARDED = [one for one in OPERATIONS.values() if one.access in (Access.READ, Access.MANAGE)]
ALL = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=lambda one: one.name)
PASSED = pytest.mark.parametrize("operation", FORWARDED, ids=lambda one: one.name)

# Numbers that floats would change, escapes, a null, an unknown member, blanks, a last newline.
ODD = (
    b'{ "b":1.50, "a":1e2,\t"big":12345678901234567890, "text":"caf\\u00e9 \\/ \xc3\xa9",'
    b' "none":null,"url":"https://example.com/x","results":[{"z":0.1000}] , "b2":-0}\n'
)


def path_of(operation: Operation) -> str:
    return operation.template.format_map(PARAMS)


@pytest.fixture(scope="module")
def upstream() -> Iterator[Scripted]:
    with scripted() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(upstream: Scripted) -> Iterator[Running]:
    env = {"GATEWAY_UPSTREAM__BASE_URL": upstream.url, "GATEWAY_UPSTREAM__TOKEN": TOKEN}
    with running(env=env) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def _time_passes(gateway: Running) -> None:
    # Or the account's allowance would be used up by so many requests at one moment.
    gateway.clock.advance(1)  # type: ignore[attr-defined]  # a ManualClock


@pytest.fixture(scope="module")
def manager(gateway: Running) -> Iterator[httpx.Client]:
    with gateway.client(gateway.add_user("manager", role="manage")) as client:
        yield client


@pytest.fixture(scope="module")
def member(gateway: Running) -> Iterator[httpx.Client]:
    with gateway.client(gateway.add_user("member")) as client:
        yield client


def test_the_table_is_the_official_one() -> None:
    assert len(OPERATIONS) == 37
    official = {(one.name, one.method, one.template.count("{")) for one in OPERATIONS.values()}
    assert official == {(one.name, one.method, one.template.count("{")) for one in SIMULATED}


@ALL
def test_without_a_key_nothing_is_answered_or_asked(
    gateway: Running, upstream: Scripted, operation: Operation
) -> None:
    asked = len(upstream.got)
    with gateway.client() as client:
        for headers in ({}, {"Authorization": "Bearer hk-nobodys"}):
            answer = client.request(
                operation.method, f"/replicate{path_of(operation)}", headers=headers
            )
            assert answer.status_code == 401
            assert answer.json()["title"] == "Unauthenticated"
    assert len(upstream.got) == asked


@ALL
def test_it_is_reachable_and_counted_by_its_template(
    gateway: Running, manager: httpx.Client, operation: Operation
) -> None:
    answer = manager.request(operation.method, f"/replicate{path_of(operation)}", content=b"{}")
    assert answer.status_code not in (401, 403, 405, 500), answer.text
    # Neither "no such address" nor a fault of the gateway.
    assert "address" not in answer.text
    with gateway.client() as scraper:
        page = scraper.get("/metrics").text
    route = f'route="/replicate{operation.template}"'
    lines = [line for line in page.splitlines() if "http_requests_total" in line and route in line]
    assert any(f'method="{operation.method}"' in line for line in lines), operation.name


@ALL
def test_what_changes_shared_things_needs_the_role(
    gateway: Running, upstream: Scripted, member: httpx.Client, operation: Operation
) -> None:
    asked = len(upstream.of(operation.method, path_of(operation)))
    answer = member.request(operation.method, f"/replicate{path_of(operation)}", content=b"{}")
    if operation.access in (Access.MANAGE, Access.TRAIN):
        # A body that makes no sense may be what is told first.
        assert answer.status_code == (403 if operation.access is Access.MANAGE else 400)
        assert len(upstream.of(operation.method, path_of(operation))) == asked
    else:
        assert answer.status_code != 403
    if operation.access in (Access.OWN, Access.OWN_LIST, Access.OWN_SECRET):
        # Somebody else's, as far as anybody knows: upstream is not even asked.
        assert answer.status_code == (404 if operation.access is Access.OWN else 200)
        assert len(upstream.of(operation.method, path_of(operation))) == asked


@PASSED
@pytest.mark.parametrize("coding", ["plain", "gzip", "chunked"])
def test_bodies_come_through_byte_for_byte(
    upstream: Scripted, manager: httpx.Client, operation: Operation, coding: str
) -> None:
    headers: tuple[tuple[str, str], ...] = (
        ("Content-Type", "application/json"),
        ("Set-Cookie", "account=acme"),
        ("RateLimit-Remaining", "17"),
    )
    body = ODD
    if coding == "gzip":
        headers, body = (*headers, ("Content-Encoding", "gzip")), gzip.compress(ODD)
    path = path_of(operation)
    laid = Laid(200, body, headers, chunked=coding == "chunked")
    upstream.lay(operation.method, path, laid)
    sent = b'{"a": 1.50, "unknown": null}' if operation.body != "none" else b""
    url = f"/replicate{path}?a=%2F&b=c+d&a=2"
    answer = manager.request(operation.method, url, content=sent)
    assert (answer.status_code, answer.content) == (200, ODD)
    assert answer.headers["content-type"] == "application/json"
    assert "set-cookie" not in answer.headers
    assert "ratelimit-remaining" not in answer.headers
    (*_, got) = upstream.of(operation.method, path)
    assert got.target == f"{path}?a=%2F&b=c+d&a=2"
    assert got.body == sent
    assert got.headers["authorization"] == f"Bearer {TOKEN}"
    assert "cookie" not in got.headers


@PASSED
def test_errors_are_upstreams_own(
    upstream: Scripted, manager: httpx.Client, operation: Operation
) -> None:
    body = b'{"detail":"The requested resource could not be found.","status":404}\n'
    problem = (("Content-Type", "application/problem+json"),)
    upstream.lay(operation.method, path_of(operation), Laid(404, body, problem))
    answer = manager.request(operation.method, f"/replicate{path_of(operation)}", content=b"{}")
    assert (answer.status_code, answer.content) == (404, body)
    assert answer.headers["content-type"] == "application/problem+json"


@PASSED
def test_no_content_and_accepted_come_through(
    upstream: Scripted, manager: httpx.Client, operation: Operation
) -> None:
    if operation.answer.is_json:
        pytest.skip("it always has a body")
    for status in (204, 202):
        upstream.lay(operation.method, path_of(operation), Laid(status, b"", ()))
        answer = manager.request(operation.method, f"/replicate{path_of(operation)}")
        assert (answer.status_code, answer.content) == (status, b"")


def test_the_readme_is_text(upstream: Scripted, member: httpx.Client) -> None:
    path = "/v1/models/black-forest-labs/flux-schnell/readme"
    text = "# FLUX ✨\n\nNot { JSON.\n".encode()
    upstream.lay("GET", path, Laid(200, text, (("Content-Type", "text/plain; charset=utf-8"),)))
    answer = member.get(f"/replicate{path}")
    assert answer.content == text
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("words", [b"a fox", b'"a fox"', "狐".encode()])
def test_a_search_travels_as_it_was_written(
    upstream: Scripted, member: httpx.Client, words: bytes
) -> None:
    upstream.lay("QUERY", "/v1/models", Laid(200, b'{"next":null,"previous":null,"results":[]}'))
    answer = member.request(
        "QUERY", f"{API}/models", content=words, headers={"content-type": "text/plain"}
    )
    assert answer.status_code == 200
    (*_, got) = upstream.of("QUERY", "/v1/models")
    assert (got.body, got.headers["content-type"]) == (words, "text/plain")


def test_page_links_lead_here_and_the_rest_stays(
    gateway: Running, upstream: Scripted, member: httpx.Client
) -> None:
    page = (
        b'{"next": "%s/v1/models?cursor=a%%3D", "previous":"http://api/x",\n "results":'
        b'[{"cover_image_url":"%s/v1/models", "n":1.0}]}\n' % ((upstream.url.encode(),) * 2)
    )
    upstream.lay("GET", "/v1/models", Laid(200, page, (("ETag", '"x"'),)))
    answer = member.get(f"{API}/models")
    theirs, ours = upstream.url.encode(), f"{gateway.url}/replicate".encode()
    assert answer.content == page.replace(theirs, ours, 1)
    # What upstream says of its own bytes does not hold for these.
    assert "etag" not in answer.headers


def test_validators_work_across_the_gateway(upstream: Scripted, member: httpx.Client) -> None:
    def answer(got: Got) -> Laid:
        etag = (("ETag", 'W/"1"'), ("Content-Type", "application/json"))
        if got.headers.get("if-none-match") == 'W/"1"':
            return Laid(304, b"", etag)
        return Laid(200, b"[]", etag)

    upstream.lay("GET", "/v1/hardware", answer)
    first = member.get(f"{API}/hardware")
    assert (first.status_code, first.headers["etag"]) == (200, 'W/"1"')
    second = member.get(f"{API}/hardware", headers={"if-none-match": 'W/"1"'})
    assert (second.status_code, second.content) == (304, b"")
    assert second.headers["etag"] == 'W/"1"'


@pytest.mark.parametrize("prefix", ["/replicate", "/replicate/v1", "/replicate/v1/v1"])
def test_both_base_urls_and_head_and_options_are_understood(
    upstream: Scripted, member: httpx.Client, prefix: str
) -> None:
    upstream.lay("GET", "/v1/collections", Laid(200, ODD))
    assert member.get(f"{prefix}/collections").content == ODD
    head = member.head(f"{prefix}/collections")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(ODD))
    options = member.options(f"{prefix}/collections")
    assert options.status_code in (200, 204)
    assert set(options.headers["allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


@pytest.mark.parametrize(
    "path",
    ["/v1/nothing", "/v1", "/", "/v1/models/a", "/v1/predictions/x/y/z", "/v1/account/x", "/v2/x"],
)
def test_what_is_not_in_the_table_is_never_forwarded(
    upstream: Scripted, manager: httpx.Client, path: str
) -> None:
    asked = len(upstream.got)
    assert manager.get(f"/replicate{path}").status_code == 404
    assert manager.post("/replicate/v1/account").status_code == 405
    assert len(upstream.got) == asked


def test_redirects_lead_here_where_this_gateway_serves_what_is_there(
    gateway: Running, upstream: Scripted, member: httpx.Client
) -> None:
    ours = f"{gateway.base}/v1/models/new/name"
    for location in (f"{upstream.url}/v1/models/new/name", "/v1/models/new/name"):
        laid = Laid(307, b'{"detail":"moved"}', (("Location", location),))
        upstream.lay("GET", "/v1/models/old/name", laid)
        answer = member.get(f"{API}/models/old/name")
        assert (answer.status_code, answer.headers["location"]) == (307, ours)


def test_answers_that_are_no_json_are_502(upstream: Scripted, member: httpx.Client) -> None:
    upstream.lay("GET", "/v1/search", Laid(200, b"<html>", (("Content-Type", "text/html"),)))
    answer = member.get(f"{API}/search?query=x")
    assert (answer.status_code, answer.json()["title"]) == (502, "Upstream answer unreadable")


def test_large_lists_come_through_whole(upstream: Scripted, member: httpx.Client) -> None:
    body = b'{"next":null,"results":[' + b",".join([b'{"x":"%s"}' % (b"y" * 1000)] * 9000) + b"]}"
    upstream.lay("GET", "/v1/models/big/one/versions", Laid(200, body))
    assert member.get(f"{API}/models/big/one/versions").content == body


def test_a_large_body_reaches_upstream_and_one_too_large_does_not(
    upstream: Scripted, manager: httpx.Client
) -> None:
    upstream.lay("POST", "/v1/models", Laid(201, b'{"owner":"acme"}'))
    body = json.dumps({"description": "x" * 20_000_000}).encode()
    answer = manager.post(f"{API}/models", content=body)
    assert (answer.status_code, answer.content) == (201, b'{"owner":"acme"}')
    assert upstream.of("POST", "/v1/models")[-1].body == body
    asked = len(upstream.got)
    assert manager.post(f"{API}/models", content=body + body).status_code == 413
    assert len(upstream.got) == asked


def test_everybody_has_a_secret_of_their_own(
    gateway: Running, upstream: Scripted, member: httpx.Client, manager: httpx.Client
) -> None:
    path = "/v1/webhooks/default/secret"
    one, other = member.get(f"/replicate{path}"), manager.get(f"/replicate{path}")
    assert set(one.json()) == {"key"}
    assert one.json()["key"].startswith("whsec_")
    assert one.json()["key"].count("_") == 1
    assert one.json() != other.json()
    assert member.get(f"/replicate{path}").json() == one.json()
    assert upstream.of("GET", path) == []


ID = "ab" * 32
PAGES: dict[str, tuple[str, str, object]] = {
    "model": ("GET", "/v1/models/Acme/One", {"latest_version": {"id": ID}}),
    "version": ("GET", f"/v1/models/acme/one/versions/{ID}", {"id": ID}),
    "versions": ("GET", "/v1/models/acme/one/versions", {"results": [{"id": ID}]}),
    "deployment": (
        "GET",
        "/v1/deployments/acme/d",
        {"owner": "acme", "name": "d", "current_release": {"model": "acme/one", "version": ID}},
    ),
    "deployments": (
        "GET",
        "/v1/deployments",
        {"results": [{"current_release": {"model": "Acme/one", "version": ID}}]},
    ),
    "models": (
        "GET",
        "/v1/models",
        {"results": [{"owner": "acme", "name": "one", "latest_version": {"id": ID}}]},
    ),
    "search": (
        "GET",
        "/v1/search",
        {"models": [{"model": {"owner": "acme", "name": "one", "latest_version": {"id": ID}}}]},
    ),
    "collection": (
        "GET",
        "/v1/collections/c",
        {"models": [{"owner": "acme", "name": "one", "latest_version": {"id": ID}}]},
    ),
}


@pytest.mark.parametrize("page", PAGES)
def test_versions_seen_on_pages_are_remembered(
    gateway: Running, upstream: Scripted, member: httpx.Client, page: str
) -> None:
    method, path, document = PAGES[page]
    own = f"{list(PAGES).index(page):02x}" * 32
    body = json.dumps(document).replace(ID, own).encode()
    path = path.replace(ID, own)
    if page == "model":
        body = json.dumps({"owner": "Acme", "name": "One", "latest_version": {"id": own}}).encode()
    upstream.lay(method, path, Laid(200, body))
    assert member.get(f"/replicate{path}").status_code == 200
    assert gateway.ledger(lambda conn: versions.model_of(conn, own)) == "acme/one"
