"""The control of tests/support/canary.py: a secret that gets out fails the test it got out in.

Each test lets one out on purpose, by one of the ways that the harness watches.
"""

import base64
import logging
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from gateway.domain import keys
from gateway.web.health import Alive
from tests.support.canary import TOKEN, Canary
from tests.support.process import Processes, processes
from tests.support.running import Running, running

UNTOLD = keys.make_key(bytes(range(100, 127)))
"""A key that the harness was not told of."""


def log_it(gateway: Running, secret: str) -> None:
    # No masking knows a secret in base64.
    logging.getLogger("gateway.x").warning(base64.b64encode(f"ann:{secret}".encode()).decode())


def store_it(gateway: Running, secret: str) -> None:
    (gateway.data_dir / "cache" / "x.bin").write_bytes(b"\0\1" + secret.encode())


def name_it(gateway: Running, secret: str) -> None:
    (gateway.data_dir / "mirror" / secret).mkdir(parents=True)


def keep_it(gateway: Running, secret: str) -> None:
    gateway.ledger(lambda conn: conn.exec_driver_sql(f"UPDATE users SET name = '{secret}'"))


def count_it(gateway: Running, secret: str) -> None:
    gateway.app.metrics.http_requests.labels(secret, "GET", "200").inc()


def send_it(gateway: Running, secret: str) -> None:
    httpx.get(f"{gateway.sim.delivery_origin}/x", headers={"x": secret}, verify=False)  # noqa: S501


def ask_with_it(gateway: Running, secret: str) -> None:
    httpx.get(f"{gateway.sim.api_url}/v1/models?q={quote(secret)}", verify=False)  # noqa: S501


LEAKS = [log_it, store_it, name_it, keep_it, count_it, send_it, ask_with_it]
SECRETS: dict[str, Callable[[str], str]] = {
    "token": lambda _: TOKEN,
    "key": lambda key: key,
    "part of a key": lambda key: key[3:35],
}


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("leak", LEAKS)
def test_it_is_found(leak: Callable[[Running, str], None], secret: str) -> None:
    def leaking() -> None:
        with running() as gateway:
            leak(gateway, SECRETS[secret](gateway.add_user("ann")))

    with pytest.raises(AssertionError, match=r"the token in|key 1 in"):
        leaking()


@pytest.mark.parametrize("leak", [store_it, name_it, count_it, send_it, ask_with_it])
def test_a_key_that_nobody_told_of_is_found_too(leak: Callable[[Running, str], None]) -> None:
    def leaking() -> None:
        with running() as gateway:
            leak(gateway, UNTOLD)

    with pytest.raises(AssertionError, match="a key in"):
        leaking()


def test_an_answer_that_shows_it_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    async def shown(*_: object) -> httpx.Response:
        from starlette.responses import PlainTextResponse

        return PlainTextResponse(told[0])  # type: ignore[return-value]

    monkeypatch.setattr(Alive, "healthz", shown)

    def leaking() -> None:
        with running() as gateway:
            told.append(gateway.add_user("ann"))
            # Whoever asks, and with whichever client.
            httpx.get(f"{gateway.url}/healthz", trust_env=False)

    with pytest.raises(AssertionError, match="key 1 in the answer to GET /healthz"):
        leaking()


def test_a_run_that_gives_nothing_away_passes_and_was_looked_through() -> None:
    with running() as gateway:
        with gateway.client(gateway.add_user("ann")) as client:
            assert client.get("/replicate/v1/account").status_code == 200
        canary = gateway.canary
    assert canary.looked > 100_000
    assert canary.leaks == []


def test_a_process_that_gives_it_away_is_found(tmp_path: Path) -> None:
    def leaks(gateway: Processes, key: str) -> None:
        (gateway.data_dir / "x").write_text(key)
        with (gateway.folder / "gateway.log").open("a") as log:
            log.write(f"asked with {key}")
        httpx.get(f"{gateway.addresses['delivery_origin']}/{key}", verify=False)  # noqa: S501
        gateway.steer("GET", "/health")
        httpx.get(f"{gateway.addresses['api_url']}/v1/account?t={TOKEN}", verify=False)  # noqa: S501

    def leaking() -> None:
        with processes() as gateway:
            leaks(gateway, gateway.add_user("ann"))
            found.append(gateway.canary)

    found: list[Canary] = []
    with pytest.raises(AssertionError, match="secrets were given away"):
        leaking()
    for where in ("the file x", "gateway.log", "a request to upstream's delivery"):
        assert f"key 1 in {where}" in found[0].leaks
    assert "the token in a request to upstream's api" in found[0].leaks
    assert not [leak for leak in found[0].leaks if "token in the" in leak]
