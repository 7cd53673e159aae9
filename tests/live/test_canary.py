"""Whatever is done with the gateway, the account's token and the users' keys show up nowhere.

The token and every key are unlike anything else; after a broad run over a simulated Replicate that
fails in every way, they are looked for in everything that was answered, printed, logged, stored,
sent upstream or delivered to somebody. So they are after every other run of the tests, as far as
the harness sees it (tests/support/canary.py); this one goes where keys are misplaced on purpose,
and also reads what the command line prints and what webhooks carry.
"""

import base64
import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from gateway.cli.commands import Invocation
from gateway.cli.root import root
from gateway.clock import SystemClock
from gateway.upstream.operations import OPERATIONS
from tests.support.canary import TOKEN, given_away
from tests.support.creating import FLUX, HELLO_VERSION, create, predictions_of
from tests.support.process import Processes, processes
from tests.support.receiving import Receiver, receiver

API = "/replicate/v1"
TOML = """
[server]
contact = "Ada"
[upstream]
poll_interval_ms = 50
creates_per_minute = 6000
requests_per_minute = 60000
read_timeout_s = 61
[webhooks]
allow_private_addresses = true
[plans.default]
trainings = true
[plans.small]
models_deny = ["simulated/queue"]
quotas = [
  { metric = "predictions", limit = 1, per = "month" },
]
[prices."simulated/*"]
per_second = 0.001
"""
PARAMS = {
    "collection_slug": "text-to-image",
    "deployment_name": "flux-fast",
    "deployment_owner": "acme",
    "file_id": "abcdefghijklmnop",
    "model_name": "flux-schnell",
    "model_owner": "black-forest-labs",
    "prediction_id": "ufawqhfynnddngldkgtslldrkq",
    "training_id": "zz4ibbonubfz7carwiefibzgga",
    "version_id": HELLO_VERSION,
}
FAULTS = (
    {"kind": "reset_before"},
    {"kind": "reset_after"},
    {"kind": "truncate"},
    {"kind": "server_error"},
    {"kind": "bare_error"},
    {"kind": "throttle", "retry_after": 1},
    {"kind": "garbage"},
    {"kind": "wrong_length"},
    {"kind": "token_refused"},
    {"kind": "no_credit"},
)


@dataclass
class Drive:
    """A run over the gateway, and everything that came back from it."""

    gateway: Processes
    hook: Receiver
    secrets: dict[str, str]
    heard: list[tuple[str, bytes]] = field(default_factory=list)
    """What was answered and printed, each with what it was the answer to."""

    @contextlib.contextmanager
    def client(self, key: str | None) -> Iterator[httpx.Client]:
        """A client whose answers, errors included, are kept."""

        def keep(answer: httpx.Response) -> None:
            answer.read()
            head = f"{answer.status_code} {answer.headers.multi_items()}".encode()
            where = f"{answer.request.method} {answer.request.url.path}"
            self.heard.append((where, head + answer.content))

        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        with httpx.Client(
            base_url=self.gateway.url, headers=headers, trust_env=False, timeout=30
        ) as client:
            client.event_hooks["response"] = [keep]
            yield client

    def cli(self, *arguments: str, **environment: str) -> str:
        """Run a command, whatever comes of it, and keep what it prints; returns its stdout."""
        told = Invocation(self.gateway.config, SystemClock())
        env = {**self.gateway._environment(), **environment}
        done = CliRunner().invoke(root, list(arguments), obj=told, env=env)
        unexpected = done.exception and not isinstance(done.exception, SystemExit)
        assert not unexpected, (arguments, done.exception)
        if arguments[:2] != ("keys", "create"):
            self.heard.append((" ".join(arguments), done.stdout_bytes + done.stderr_bytes))
        return done.stdout.strip()

    def add_user(self, name: str, *options: str) -> None:
        """Add a user; the key that is printed, once, is a secret from then on."""
        self.cli("users", "add", name, *options)
        self.secrets[name] = self.cli("keys", "create", name)


def predict(drive: Drive, client: httpx.Client) -> None:
    """Creates of every kind, streams, files, trainings, webhooks; what fails for a user."""
    hooked = {"webhook": drive.hook.url, "webhook_events_filter": ["start", "completed"]}
    ids = []
    for path, body in (
        (predictions_of("simulated/single-picture"), {"input": {"prompt": "a fox"}, **hooked}),
        (f"{API}/predictions", {"version": HELLO_VERSION, "input": {"text": "you"}}),
        (f"{API}/deployments/acme/flux-fast/predictions", {"input": {"prompt": "a fox"}}),
        (predictions_of("simulated/failing"), {"input": {"seconds": 0.1}, **hooked}),
        (predictions_of("simulated/foreign-url"), {"input": {"url": f"{drive.hook.url}/x.png"}}),
        (predictions_of("meta/meta-llama-3-8b-instruct"), {"input": {"max_tokens": 5}}),
    ):
        answer = client.post(path, json=body)
        assert answer.status_code == 201, answer.text
        ids.append(answer.json()["id"])
    stream = client.get(f"{API}/predictions/{ids[-1]}").json()["urls"]["stream"]
    with drive.client(None) as anybody:
        anybody.get(stream)
        anybody.get(stream, headers={"Last-Event-ID": "1"})
    for one in ids:
        document = drive.gateway.finished(client, one).json()
        output = document["output"]
        if isinstance(output, str) and output.startswith("http"):
            with drive.client(None) as anybody:
                anybody.get(output)
            client.get(output, headers={"Range": "bytes=0-9"})
            create(client, "image-to-image", image=output)
    client.post(FLUX, json={"input": {"prompt": "a fox"}}, headers={"Prefer": "wait"})
    slow = create(client, "slow", seconds=100).json()["id"]
    client.post(f"{API}/predictions/{slow}/cancel")
    client.delete(f"/me/v1/predictions/{ids[0]}")
    made = client.post(f"{API}/files", files={"content": ("a.txt", b"words", "text/plain")})
    file = made.json()
    create(client, "image-to-image", image=file["urls"]["get"])
    client.get(f"{API}/files/{file['id']}/download")
    client.delete(f"{API}/files/{file['id']}")
    trainer = client.get(f"{API}/models/ostris/flux-dev-lora-trainer").json()
    version = trainer["latest_version"]["id"]
    client.post(
        f"{API}/models/ostris/flux-dev-lora-trainer/versions/{version}/trainings",
        json={"destination": "acme/fine-tune", "input": {"input_images": "https://example.com/z"}},
    )
    # Refused here: no input, no JSON, a webhook and a file of nobody's.
    client.post(FLUX, json={})
    client.post(FLUX, content=b"{")
    client.post(FLUX, json={"input": {"prompt": 1}, "webhook": "ftp://example.com"})
    create(client, "image-to-image", image=f"{drive.gateway.base}/v1/files/nobodys")


def walk(drive: Drive, client: httpx.Client) -> None:
    """Every operation, with a body that fits it badly; the gateway's own pages."""
    for operation in OPERATIONS.values():
        path = "/replicate" + operation.template.format_map(PARAMS)
        client.request(operation.method, path, content=b'{"odd": 1}')
    for path in ("/healthz", "/readyz", "/metrics", "/nowhere", "/replicate/nowhere", "/dashboard"):
        client.get(path)
    for path in ("usage", "limits", "predictions"):
        client.get(f"/me/v1/{path}")
    client.get(f"{API}/predictions?cursor=nonsense")
    client.request("OPTIONS", f"{API}/predictions")
    client.put(f"{API}/predictions")


def mistake(drive: Drive, key: str) -> None:
    """Put a key where it does not belong."""
    with drive.client(None) as client:
        for scheme in ("", "Token ", "Basic ", "bearer   ", "Bearer,"):
            client.get(f"{API}/predictions", headers={"Authorization": f"{scheme}{key}"})
            client.get(f"{API}/account", headers={"Authorization": f"{scheme}{key}x"})
        client.get(f"{API}/account", headers={"Authorization": f"Bearer {TOKEN}"})
        client.get(f"{API}/predictions", headers={"Cookie": f"key={key}"})
        for form in ({"key": key}, {"key": f"{key}x"}):
            client.post("/dashboard/sign-in", data=form)
    with drive.client(key) as client:
        client.get(f"{API}/predictions/{key}")
        client.get(f"/replicate/{key}")
        client.get(f"/{key}")
        client.get(f"{API}/models/{key}/{key}/nothing")
        encoded = "".join(f"%{ord(char):02x}" for char in key)
        for shown in (key, f"{key}x", f"x{key}", encoded, encoded.replace("%", "%25")):
            for path in ("models", "predictions", "files", "search", "trainings"):
                client.get(f"{API}/{path}?q={shown}&{shown}")
                client.get(f"{API}/{path}/{shown}")
            client.get(f"/replicate/delivery/replicate.delivery/{shown}/x.png?{shown}")
            client.get(f"/v1/streams/{shown}")
            client.get(f"/me/v1/usage?since={shown}")
            client.get(f"/dashboard/predictions?q={shown}")
            client.post(f"{FLUX}?{shown}", json={"input": {"prompt": "a fox"}})
            hook = f"{drive.hook.url}?key={shown}"
            client.post(FLUX, json={"input": {"prompt": "a fox"}, "webhook": hook})
        for body in ({"input": {"prompt": key}}, {"input": {}, key: 1}, {"input": key}, [key], key):
            client.post(FLUX, json=body)
            client.request("QUERY", f"{API}/models", json=body)
        client.post(f"{API}/predictions", json={"version": key, "input": {}})
        names = ("x-api-key", "accept", "cancel-after", "prefer", "idempotency-key", "cookie")
        for name in (*names, "x-request-id", "user-agent", "referer", "x-forwarded-for", "host"):
            client.post(FLUX, json={"input": {"prompt": name}}, headers={name: key})
            client.get(f"{API}/models", headers={name: key})
        client.request(key, f"{API}/predictions")
    scrape(drive)


def scrape(drive: Drive) -> None:
    """Read what has been counted so far."""
    with drive.client(None) as client:
        assert b"http_requests_total" in client.get("/metrics").content


def administrate(drive: Drive, admin: str) -> None:
    """What an administrator looks at, over HTTP and on the command line."""
    with drive.client(admin) as client:
        document = client.get("/admin/v1/openapi.json").json()
        for path, methods in document["paths"].items():
            if "get" in methods and "{" not in path:
                client.get(path)
        client.get("/admin/v1/users/ann")
    usual = (
        *("users list --json", "users show ann", "keys list --json", "keys list ann"),
        *("usage --by model --format csv", "export", "webhooks list --json", "prune", "doctor"),
        *("predictions list", "predictions list --json", "predictions orphans"),
        *("mirror stats", "mirror verify", "cache stats", "keys revoke nonsense"),
        *("config show", "config show --json", "config check", "config reload"),
    )
    # Faults of the configuration are told without what is secret in it.
    faulty = (
        {"GATEWAY_UPSTREAM__TOKEN": f"{TOKEN}\n{TOKEN}"},
        {"GATEWAY_UPSTREAM__BASE_URL": f"https://u:{TOKEN}@api.replicate.com"},
        {"GATEWAY_UPSTREM__TOKEN": TOKEN},
    )
    for line in usual:
        drive.cli(*line.split())
    for wrong in faulty:
        drive.cli("config", "check", **wrong)


def fail(drive: Drive, client: httpx.Client) -> None:
    """Let upstream fail in every way that it can, under creates and reads."""
    for fault in FAULTS:
        drive.gateway.steer("POST", "/faults", {**fault, "match": "*.create"})
        create(client, "echo", value=fault["kind"])
        drive.gateway.steer("POST", "/faults", {**fault, "match": "models.get"})
        client.get(f"{API}/models/black-forest-labs/flux-schnell")
        drive.gateway.steer("DELETE", "/faults")
    drive.gateway.steer("POST", "/faults", {"kind": "truncate", "match": "delivery.get"})
    made = create(client, "single-picture", prompt="torn")
    with contextlib.suppress(httpx.TransportError):
        client.get(drive.gateway.finished(client, made.json()["id"]).json()["output"])
    drive.gateway.steer("POST", "/origins/api/stop")
    create(client, "echo", value="nobody there")
    client.get(f"{API}/account")
    drive.gateway.steer("POST", "/origins/api/start")


@pytest.fixture(scope="module")
def driven() -> Iterator[Drive]:
    """The broad run, with the console's log and then with the JSON log."""
    with (
        receiver() as hook,
        processes(
            TOML, token=TOKEN, speed=8, creates_per_minute=6000, requests_per_minute=60000
        ) as gateway,
    ):
        drive = Drive(gateway, hook, {"token": TOKEN})
        drive.add_user("ann")
        drive.add_user("manager", "--role", "manage")
        drive.add_user("admin", "--role", "admin")
        drive.add_user("small", "--plan", "small")
        drive.add_user("revoked")
        keys = drive.secrets
        drive.cli("keys", "revoke", keys["revoked"])
        hook.answer = lambda delivery: 200 if len(hook.deliveries) % 2 else 500
        for log_format in ("console", "json"):
            if log_format == "json":
                gateway.stop()
                gateway.environment["GATEWAY_SERVER__LOG_FORMAT"] = "json"
                gateway.start()
            with drive.client(keys["ann"]) as client:
                predict(drive, client)
                fail(drive, client)
            for name in ("manager", "small", "revoked"):
                with drive.client(keys[name]) as client:
                    walk(drive, client)
                    create(client, "echo", value=name)
                    create(client, "queue")
            mistake(drive, keys["ann"])
        administrate(drive, keys["admin"])
        scrape(drive)
        gateway.wait_for(lambda: len(hook.deliveries) >= 4)
        gateway.stop()
        yield drive


def kept(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Everything that the gateway has on disk: names and contents, and each value of its ledger."""
    for path in folder.rglob("*"):
        yield str(path.relative_to(folder)), str(path.relative_to(folder)).encode()
        if path.is_file():
            yield f"inside {path.relative_to(folder)}", path.read_bytes()
    # By what is in them, not by their names: the cache's are called otherwise.
    files = [path for path in folder.rglob("*") if path.is_file()]
    for database in (path for path in files if path.read_bytes()[:16] == b"SQLite format 3\0"):
        with contextlib.closing(sqlite3.connect(database)) as connection:
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            for (table,) in tables.fetchall():
                for row in connection.execute(f'SELECT * FROM "{table}"'):
                    values = [v if isinstance(v, bytes) else str(v).encode() for v in row]
                    yield f"a row of {table}", b"\0".join(values)


def found_in(pieces: "Iterator[tuple[str, bytes]]", secrets: dict[str, str]) -> list[str]:
    """Return where which secrets were found."""
    return [
        f"{name} in {where}" for where, content in pieces for name in given_away(content, secrets)
    ]


def test_the_search_would_find_them(driven: Drive, tmp_path: Path) -> None:
    key = driven.secrets["ann"]
    (tmp_path / "log").write_text(f"GET /v1/predictions?key={key}")
    (tmp_path / key).mkdir()
    coded = base64.b64encode(f"ann:{TOKEN}".encode())
    with contextlib.closing(sqlite3.connect(tmp_path / "cache.db")) as connection:
        connection.execute("CREATE TABLE notes (text)")
        connection.execute("INSERT INTO notes VALUES (?)", (coded,))
        connection.commit()
    found = found_in(kept(tmp_path), driven.secrets)
    assert {"ann in inside log", f"ann in {key}", "token in a row of notes"} <= set(found)


def test_the_run_was_broad(driven: Drive) -> None:
    statuses = {int(heard[:3]) for where, heard in driven.heard if heard[:3].isdigit()}
    assert {200, 201, 204, 206, 400, 401, 402, 403, 404, 405, 422, 502} <= statuses
    assert len(driven.heard) > 300
    # No command was misspelt.
    assert not [where for where, heard in driven.heard if b"Usage: " in heard]
    assert len(driven.hook.deliveries) >= 4
    log = driven.gateway.log()
    assert len(log) > 10_000
    assert '"level"' in log


def test_no_answer_and_no_command_shows_them(driven: Drive) -> None:
    assert found_in(iter(driven.heard), driven.secrets) == []


def test_no_log_line_shows_them(driven: Drive) -> None:
    lines = ((line, line.encode()) for line in driven.gateway.log().splitlines())
    assert found_in(lines, driven.secrets) == []


def test_nothing_on_disk_holds_them(driven: Drive) -> None:
    pieces = list(kept(driven.gateway.data_dir))
    assert any(where.startswith("a row of predictions") for where, _ in pieces)
    assert found_in(iter(pieces), driven.secrets) == []


def test_upstream_sees_its_token_where_it_belongs_and_no_key_anywhere(driven: Drive) -> None:
    requests: list[dict[str, Any]] = driven.gateway.received()
    assert {request["origin"] for request in requests} == {"api", "delivery", "streams"}
    leaks = []
    for request in requests:
        headers = dict(request["headers"])
        sent = headers.pop("authorization", None)
        # The token opens the API alone; files and streams are read without it.
        assert sent == (f"Bearer {TOKEN}" if request["origin"] == "api" else None)
        rest = f"{headers} {request['path']} {request['query']} {request['body']}"
        where = f"{request['method']} {request['origin']} {request['path']}"
        leaks += found_in(iter([(where, rest.encode())]), driven.secrets)
    assert leaks == []


def test_no_webhook_and_no_foreign_host_gets_them(driven: Drive) -> None:
    pieces = (
        (delivery.path, f"{delivery.path} {delivery.headers}".encode() + delivery.body)
        for delivery in driven.hook.deliveries
    )
    assert found_in(pieces, driven.secrets) == []
    # The address that a model's output named was not even asked: it is no origin of ours.
    assert {delivery.path for delivery in driven.hook.deliveries} == {"/hook"}
