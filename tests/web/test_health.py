import asyncio
import json
import threading
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from gateway.domain.plans import Identity, Plan, Role
from gateway.web.health import Alive, Check, MetricsPage, Readiness, disk_check
from gateway.web.problem_response import ProblemError
from gateway.web.request_facts import Facts, keep_facts
from tests.support.clock import ManualClock
from tests.web.asgi import Heard, call, make_scope


async def fine() -> str | None:
    return None


async def broken() -> str | None:
    return "it is broken"


async def raising() -> str | None:
    raise OSError("it is gone")


async def ready(readiness: Readiness) -> Heard:
    return await call(Starlette(routes=[Route("/readyz", readiness.readyz)]), make_scope("/readyz"))


def readiness(
    clock: ManualClock | None = None, *, draining: bool = False, **checks: Check
) -> Readiness:
    return Readiness(clock or ManualClock(), checks, lambda: draining)


async def test_alive_is_alive() -> None:
    heard = await call(
        Starlette(routes=[Route("/healthz", Alive(b"s" * 32).healthz)]), make_scope("/healthz")
    )
    assert heard.status == 200


async def test_ready_is_when_every_check_finds_nothing() -> None:
    heard = await ready(readiness(ledger=fine, cache=fine))
    assert heard.status == 200
    assert json.loads(heard.body)["checks"] == {"ledger": "ok", "cache": "ok"}


@pytest.mark.parametrize(("check", "text"), [(broken, "it is broken"), (raising, "it is gone")])
async def test_unready_names_what_is_wrong(check: Check, text: str) -> None:
    heard = await ready(readiness(ledger=fine, cache=check))
    assert heard.status == 503
    assert heard.headers["content-type"] == "application/problem+json"
    assert int(heard.headers["retry-after"]) >= 1
    body = json.loads(heard.body)
    assert list(body["checks"]) == ["cache"]
    assert text in body["detail"]
    assert "cache" in body["detail"]


async def test_a_check_that_hangs_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.web.health._CHECK_WITHIN_S", 0.01)

    async def hanging() -> str | None:
        await asyncio.Event().wait()
        return None

    assert (await ready(readiness(ledger=hanging))).status == 503


async def test_a_gateway_that_shuts_down_is_not_ready() -> None:
    assert (await ready(readiness(draining=True, ledger=fine))).status == 503


async def test_asking_often_does_not_wear_out_what_is_asked_about() -> None:
    clock = ManualClock()
    looks = 0

    async def counting() -> str | None:
        nonlocal looks
        looks += 1
        return None

    asked = readiness(clock, ledger=counting)
    await asyncio.gather(*(ready(asked) for _ in range(10)))
    assert looks == 1
    clock.advance(1)
    await ready(asked)
    assert looks == 2


async def test_a_writable_folder_with_room_is_fine_and_left_clean(tmp_path: Path) -> None:
    assert await disk_check(tmp_path, 1)() is None
    assert not list(tmp_path.iterdir())  # noqa: ASYNC240 - nothing else waits in this test


async def test_a_folder_that_cannot_be_written_to_is_a_fault(tmp_path: Path) -> None:
    fault = await disk_check(tmp_path / "missing", 1)()
    assert fault is not None
    assert "cannot be written" in fault


async def test_too_little_room_is_a_fault(tmp_path: Path) -> None:
    fault = await disk_check(tmp_path, 2**62)()
    assert fault is not None
    assert "free" in fault


PEOPLE = {
    "Bearer admin": Role.ADMIN,
    "Bearer manager": Role.MANAGE,
    "Bearer member": Role.MEMBER,
}


async def identify(authorization: str | None) -> Identity | None:
    role = PEOPLE.get(authorization or "")
    return None if role is None else Identity("u", "ada", None, role, "k", Plan("default"))


def metrics_page() -> MetricsPage:
    return MetricsPage(lambda: b"up 1\n", identify, lambda: "ops")


def asking(client: str, *headers: tuple[str, str]) -> Request:
    scope = make_scope("/metrics", headers=headers, client=client)
    keep_facts(scope, Facts("r", "GET", 0.0, client))
    return Request(scope)


@pytest.mark.parametrize("client", ["127.0.0.1", "::1"])
async def test_this_machine_reads_the_metrics_without_a_key(client: str) -> None:
    response = await metrics_page().page(asking(client))
    assert bytes(response.body) == b"up 1\n"
    assert response.headers["content-type"].startswith("text/plain; version=")


@pytest.mark.parametrize(
    ("client", "headers", "status"),
    [
        ("198.51.100.7", (), 401),
        ("127.0.0.1", (("X-Forwarded-For", "198.51.100.7"),), 401),
        ("127.0.0.1", (("Forwarded", "for=198.51.100.7"),), 401),
        ("198.51.100.7", (("Authorization", "Bearer nobody"),), 401),
        ("198.51.100.7", (("Authorization", "Bearer member"),), 403),
        ("198.51.100.7", (("Authorization", "Bearer manager"),), 403),
    ],
)
async def test_others_need_an_admins_key(
    client: str, headers: tuple[tuple[str, str], ...], status: int
) -> None:
    with pytest.raises(ProblemError) as caught:
        await metrics_page().page(asking(client, *headers))
    assert caught.value.problem.status == status


async def test_an_admin_reads_the_metrics_from_anywhere() -> None:
    response = await metrics_page().page(asking("198.51.100.7", ("Authorization", "Bearer admin")))
    assert response.status_code == 200


async def test_those_who_ask_while_the_page_is_made_share_the_next_one() -> None:
    go = threading.Event()
    made = 0

    def render() -> bytes:
        nonlocal made
        made += 1
        number = made
        assert go.wait(20)
        return str(number).encode()

    page = MetricsPage(render, identify, lambda: "")
    first = asyncio.ensure_future(page.open_page(asking("127.0.0.1")))
    await asyncio.sleep(0.02)
    later = [asyncio.ensure_future(page.open_page(asking("127.0.0.1"))) for _ in range(10)]
    await asyncio.sleep(0.02)
    go.set()
    assert bytes((await first).body) == b"1"
    assert {bytes((await response).body) for response in later} == {b"2"}
    assert made == 2
