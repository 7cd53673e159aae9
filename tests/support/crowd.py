"""Many requests at once, each on a connection of its own, so that every worker gets some."""

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import httpx

from gateway.clock import SystemClock
from gateway.ledger import Ledger
from tests.support.people import make_user
from tests.support.process import Processes

T = TypeVar("T")


def make_users(gateway: Processes, names: Iterable[str], plan: str | None = None) -> list[str]:
    """Make users in the gateway's ledger, quicker than by the command line; return their keys."""

    async def run() -> list[str]:
        async with Ledger("", SystemClock(), folder=gateway.data_dir) as ledger:
            return await ledger.write(
                lambda conn: [make_user(conn, SystemClock(), name, plan=plan) for name in names]
            )

    return asyncio.run(run())


def at_once(count: int, work: Callable[[int], T]) -> list[T]:
    """Call `work` with 0, 1, … in as many threads; return what it returned, in that order."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(work, range(count)))


def asked_apart(
    gateway: Processes, key: str, count: int, path: str = "/replicate/v1/predictions"
) -> list[httpx.Response]:
    """Ask for a path on so many new connections at once."""
    # The trust is read once; reading it is dearer than the request.
    trust = gateway.verify()

    def ask(_: int) -> httpx.Response:
        with gateway.client(key, verify=trust) as client:
            return client.get(path)

    return at_once(count, ask)


def workers_of(answers: Iterable[httpx.Response]) -> set[str]:
    """Tell the processes that answered: each begins the names it gives to requests in its way."""
    return {answer.headers["x-request-id"].partition("-")[0] for answer in answers}


def until_all_answered(gateway: Processes, key: str, workers: int) -> None:
    """Ask until every worker has met this key."""
    seen: set[str] = set()

    def all_met() -> bool:
        seen.update(workers_of(asked_apart(gateway, key, 16)))
        return len(seen) >= workers

    gateway.wait_for(all_met)
