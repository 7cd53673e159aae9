"""The shortest way gives the answers of the ordinary one, and is taken by nothing else."""

import asyncio
import copy
from typing import Any

import pytest

from gateway.ledger import keys
from gateway.web.front import Front
from tests.support.creating import FLUX
from tests.support.running import Running, running

TOML = """
[plans.default]
quotas = [
  { metric = "requests", limit = 40, per = "minute" },
  { metric = "requests", limit = 5, per = "month" },
]
[plans.free]
[teams.open]
share = true
plan = "free"
"""

Message = dict[str, Any]


class Asked:
    """What one application sent for a request."""

    def __init__(self, messages: list[Message]) -> None:
        start = messages[0]
        self.status: int = start["status"]
        self.headers: list[tuple[bytes, bytes]] = list(start["headers"])
        self.body = b"".join(message.get("body", b"") for message in messages[1:])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Asked) and vars(self) == vars(other)

    def __repr__(self) -> str:
        return f"{self.status} {self.headers} {self.body[:300]!r}"

    __hash__ = None  # type: ignore[assignment] # compared only


def ask(gateway: Running, app: Any, path: str, headers: dict[str, str]) -> Asked:
    scope = {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "client": ("127.0.0.1", 1234),
        "headers": [
            (name.lower().encode(), value.encode())
            for name, value in {"host": "gateway.test", "x-request-id": "mine", **headers}.items()
        ],
    }
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(copy.deepcopy(message))

    async def receive() -> Message:
        await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    gateway.loop.do(app(scope, receive, send))
    return Asked(sent)


def front_of(gateway: Running) -> Front:
    front = gateway.app._served
    assert isinstance(front, Front)
    return front


async def nobody(*_: object) -> None:
    raise AssertionError("it went the ordinary way")


def alone(front: Front) -> Front:
    """The same front with nothing behind it."""
    short = copy.copy(front)
    short._app = nobody
    return short


@pytest.mark.parametrize("extra", [
    {},
    {"user-agent": "replicate-python/1.0.7"},
    {"cache-control": "no-cache"},
    {"if-none-match": '"something else"'},
    {"if-none-match": "*"},
    {"x-forwarded-host": "elsewhere.test"},
])  # fmt: skip
def test_the_short_way_and_the_ordinary_one_answer_alike_to_the_byte(extra: dict[str, str]) -> None:
    with running(TOML) as gateway:
        key = gateway.add_user("ann", plan="free")
        with gateway.client(key) as client:
            made = client.post(FLUX, json={"input": {"prompt": "a"}}).json()["id"]
            gateway.finished(client, made)
        front = front_of(gateway)
        path = f"/replicate/v1/predictions/{made}"
        headers = {"authorization": f"Bearer {key}", **extra}
        ordinary = ask(gateway, front._app, path, headers)
        assert ordinary.status == (304 if extra.get("if-none-match") == "*" else 200)
        short = ask(gateway, alone(front), path, headers)
        assert short == ordinary


def test_both_ways_are_counted_and_measured_alike() -> None:
    with running(TOML) as gateway:
        key = gateway.add_user("ann")
        with gateway.client(key) as client:
            made = client.post(FLUX, json={"input": {"prompt": "a"}}).json()["id"]
            gateway.finished(client, made)
        front = front_of(gateway)
        path = f"/replicate/v1/predictions/{made}"
        headers = {"authorization": f"Bearer {key}"}
        line = (
            'replicate_gateway_http_requests_total{method="GET",'
            'route="/replicate/v1/predictions/{prediction_id}",status="200"} '
        )

        def measured() -> float:
            page = gateway.app.metrics.render().decode()
            return float(page.partition(line)[2].splitlines()[0])

        before = measured()
        # The minute's rule lets forty through, whichever way they take; the month's spares reads.
        answers = [
            ask(gateway, (front, front._app)[turn % 2], path, headers).status for turn in range(60)
        ]
        let_through = answers.count(200)
        assert set(answers) == {200, 429}
        assert answers == [200] * let_through + [429] * (60 - let_through)
        assert measured() - before == let_through


def test_what_is_not_plain_goes_the_ordinary_way() -> None:
    with running(TOML) as gateway:
        ann, bob = gateway.add_user("ann"), gateway.add_user("bob")
        with gateway.client(ann) as client:
            made = client.post(FLUX, json={"input": {"prompt": "a"}}).json()["id"]
            gateway.finished(client, made)
            assert client.get(f"/replicate/v1/predictions/{made}").status_code == 200
        front = front_of(gateway)
        path = f"/replicate/v1/predictions/{made}"
        for status, key, where in (
            (404, bob, path),
            (401, "hk-unknown", path),
            (404, ann, path + "x"),
            (404, ann, f"{path}/logs"),
        ):
            headers = {"authorization": f"Bearer {key}"}
            assert ask(gateway, front, where, headers).status == status
            with pytest.raises(AssertionError, match="ordinary"):
                ask(gateway, alone(front), where, headers)
        twice = {"authorization": f"Bearer {ann}", "host": "no host"}
        assert ask(gateway, front, path, twice).status == 400


def test_a_revoked_key_is_dead_on_the_short_way_too() -> None:
    with running(TOML) as gateway:
        key = gateway.add_user("ann", plan="free")
        with gateway.client(key) as client:
            made = client.post(FLUX, json={"input": {"prompt": "a"}}).json()["id"]
            gateway.finished(client, made)
            path = f"/replicate/v1/predictions/{made}"
            assert client.get(path).status_code == 200

            def revoke(conn: Any) -> None:
                for row in keys.list_keys(conn):
                    keys.revoke_key(conn, row.id, gateway.clock.now())

            gateway.ledger(revoke)
            gateway.refresh_keys()
            assert client.get(path).status_code == 401


def test_a_gateway_that_ends_refuses_on_the_short_way_too() -> None:
    with running(TOML) as gateway:
        key = gateway.add_user("ann", plan="free")
        with gateway.client(key) as client:
            made = client.post(FLUX, json={"input": {"prompt": "a"}}).json()["id"]
            gateway.finished(client, made)
        front = front_of(gateway)
        gateway.app.drain()
        headers = {"authorization": f"Bearer {key}"}
        assert ask(gateway, front, f"/replicate/v1/predictions/{made}", headers).status == 503
