"""A key where no key belongs goes no further, and its owner hears what to do."""

from collections.abc import Iterator
from urllib.parse import quote

import pytest

from gateway.ledger import Connection
from gateway.ledger.tables import creates as creates_table
from tests.support.creating import API, FLUX, create
from tests.support.running import Running, running

TOML = "[webhooks]\nallow_private_addresses = true\n"


@pytest.fixture(scope="module")
def gateway() -> Iterator[Running]:
    # What it logs, stores, answers and sends is looked through for the keys at its end.
    with running(TOML) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def key(gateway: Running) -> str:
    return gateway.add_user("ann", role="manage")


def attempts(gateway: Running) -> int:
    def count(conn: Connection) -> int:
        return len(conn.execute(creates_table.select()).all())

    return gateway.ledger(count)


ADDRESSES = [
    f"{API}/models?query={{key}}",
    f"{API}/predictions?cursor=abc{{key}}",
    f"{API}/search?{{key}}",
    f"{API}/collections/{{key}}",
    f"{API}/models/acme-{{key}}/{{key}}x",
    f"{API}/files/{{key}}/download?owner=x",
    "/replicate/{key}/v1/models",
    "/{key}",
    "/v1/streams/{key}",
    "/me/v1/usage?since={key}",
    "/dashboard?key={key}",
    "/replicate/delivery/replicate.delivery/{key}/out.png",
]


@pytest.mark.parametrize("coding", ["plain", "encoded", "encoded twice"])
@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "QUERY"])
def test_an_address_with_a_key_is_refused_and_goes_nowhere(
    gateway: Running,
    key: str,
    address: str,
    method: str,
    coding: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    shown = key
    if coding != "plain":
        shown = "".join(f"%{ord(char):02X}" for char in key)
    if coding == "encoded twice":
        shown = quote(shown)
    sent, made = len(gateway.sim.log.entries()), attempts(gateway)
    with gateway.client(key) as client:
        answer = client.request(method, address.format(key=shown), content=b"{}")
    assert (answer.status_code, answer.json()["title"]) == (400, "Key in the address")
    assert "Authorization: Bearer" in answer.json()["detail"]
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-should-retry"] == "false"
    assert (len(gateway.sim.log.entries()), attempts(gateway)) == (sent, made)
    # Plain ones are masked by their shape.
    assert "%68" not in caplog.text


def test_a_mistyped_key_and_somebody_elses_are_refused_too(gateway: Running, key: str) -> None:
    wrong = key[:-1] + ("a" if key[-1] != "a" else "b")
    other = gateway.add_user("bea")
    with gateway.client(key) as client:
        for shown in (wrong, other):
            assert client.get(f"{API}/models?query={shown}").status_code == 400


def test_addresses_that_only_resemble_one_are_answered(gateway: Running, key: str) -> None:
    with gateway.client(key) as client:
        assert client.get(f"{API}/hardware?x=hk-{'a' * 42}").status_code == 200
        named = f"/replicate/delivery/replicate.delivery/xezq/hk-{'0123456789abcdef' * 4}.png"
        assert client.get(named).status_code == 404


@pytest.mark.parametrize("member", ["webhook", "webhook_completed"])
@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/hook?key={key}", "http://u:{key}@127.0.0.1:9/", "http://{key}.x/"]
)
def test_a_webhook_with_a_key_is_refused(gateway: Running, key: str, member: str, url: str) -> None:
    made = attempts(gateway)
    with gateway.client(key) as client:
        body = {"input": {"prompt": "a fox"}, member: url.format(key=key)}
        answer = client.post(FLUX, json=body)
    assert answer.status_code == 422
    assert "key of this gateway" in answer.json()["detail"]
    assert answer.json()["invalid_fields"][0]["field"] == "webhook"
    assert attempts(gateway) == made


def test_an_input_with_a_key_names_the_field(gateway: Running, key: str) -> None:
    made = attempts(gateway)
    escaped = f'{{"input": {{"a": [{{"api_token": "\\u0068k-{key[3:]}"}}]}}}}'
    with gateway.client(key) as client:
        for content in (f'{{"input": {{"a": [{{"api_token": "{key}"}}]}}}}', escaped):
            answer = client.post(FLUX, content=content)
            assert answer.status_code == 422
            assert answer.json()["invalid_fields"][0]["field"] == "input.a.0.api_token"
        answer = client.post(FLUX, json={"input": {"prompt": "x"}, key: 1})
        assert answer.status_code == 422
        for method, path in (("QUERY", "models"), ("POST", "models"), ("POST", "deployments")):
            said = client.request(method, f"{API}/{path}", content=f'{{"x": "{key}"}}')
            assert said.status_code == 422
    assert attempts(gateway) == made


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("place", ["content", "metadata"])
def test_an_upload_with_a_key_around_the_file_is_refused_and_not_kept(
    gateway: Running, key: str, place: str, announced: bool
) -> None:
    files = f"{API}/files"
    name, metadata = (f"of {key}.txt", "{}") if place == "content" else ("a", f'{{"a": "{key}"}}')
    with gateway.client(key) as client:
        before = client.get(files).json()["results"]
        form = client.build_request(
            "POST",
            files,
            files={"content": (name, b"x" * 300_000), "metadata": ("blob", metadata.encode())},
        )
        content = form.read()
        pieces = (content[start : start + 9000] for start in range(0, len(content), 9000))
        answer = client.post(
            files,
            content=content if announced else pieces,
            headers={"content-type": form.headers["content-type"]},
        )
        assert answer.status_code == 422
        assert answer.json()["invalid_fields"][0]["field"] == place
        assert "key of this gateway" in answer.json()["detail"]
        assert client.get(files).json()["results"] == before


def test_what_an_administrator_writes_down_holds_no_key(gateway: Running, key: str) -> None:
    with gateway.client(gateway.add_user("ada", role="admin")) as client:
        for path, body in (
            ("users", {"name": key}),
            ("keys", {"user": "ann", "label": f"the old one was {key}"}),
        ):
            answer = client.post(f"/admin/v1/{path}", json=body)
            assert answer.status_code == 422
            assert answer.json()["invalid_fields"][0]["field"] == list(body)[-1]


@pytest.mark.parametrize("name", ["x-api-key", "accept", "cancel-after", "if-none-match", "cookie"])
def test_another_header_with_a_key_stays_here(gateway: Running, key: str, name: str) -> None:
    with gateway.client(key, headers={name: f"x {key}"}) as client:
        assert client.get(f"{API}/hardware").status_code == 200
        create(client, "echo", value=name)
    with gateway.client(headers={name: f"Bearer {key}"}) as client:
        assert client.get(f"{API}/hardware").status_code == 401
    sent = gateway.sim.log.entries()[-1]
    assert all(key not in value for _, value in sent.headers)


def test_names_of_requests_hold_no_key(gateway: Running, key: str) -> None:
    with gateway.client(key, headers={"x-request-id": f"of-{key}"}) as client:
        assert key not in client.get(f"{API}/hardware").headers["x-request-id"]
