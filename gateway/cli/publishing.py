"""Making the configuration's plans, teams and prices known while a gateway runs."""

import asyncio
import logging
import socket
from collections.abc import Callable

from gateway.app import policy_of
from gateway.cli.commands import Failed
from gateway.cli.config import strays
from gateway.clock import Clock
from gateway.flows.administer import Actor
from gateway.flows.publish_policy import publish_policy
from gateway.ledger import Connection, Ledger, LedgerError
from gateway.settings import Settings

_log = logging.getLogger(__name__)


async def publish(settings: Settings, running: Settings, clock: Clock) -> list[str]:
    """Publish to the ledger of the running gateway; returns what is odd about it, for people.

    Raises LedgerError.
    """
    policy = policy_of(settings)

    def work(conn: Connection) -> list[str]:
        publish_policy(conn, policy, clock.now(), Actor("serve", socket.gethostname()))
        return list(strays(conn, policy))

    storage = running.storage
    async with Ledger(storage.database_url, clock, folder=storage.data_dir) as ledger:
        return await ledger.write(work, durable=True)


async def republish(reload: Callable[[], Settings], running: Settings, clock: Clock) -> None:
    """Read the configuration anew and let every worker know; what is wrong with it is logged."""
    try:
        settings = await asyncio.to_thread(reload)
    except Failed as error:
        for line in error.message.splitlines():
            _log.error("not reloaded: %s", line)
        return
    try:
        warnings = await publish(settings, running, clock)
    except LedgerError as error:
        _log.error("not reloaded: %s", error)
        return
    for line in warnings:
        _log.warning("%s", line)
    _log.info("reloaded: plans, teams, prices and contact hold from now on")
