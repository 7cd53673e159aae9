"""What is kept: the ledger, the copies that may be lost, the output files."""

import socket
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

from gateway.app.accounts import room_of
from gateway.app.policy import policy_of
from gateway.app.process import Process
from gateway.app.secret import SECRET_FACT
from gateway.cache import Cache, MemoryLru
from gateway.domain.sources import SourceRefused, SourceUnreachable
from gateway.flows.administer import Actor
from gateway.flows.make_room import Room
from gateway.flows.present import Shown
from gateway.flows.publish_policy import publish_policy
from gateway.ledger import Ledger, published
from gateway.mirror import Mirror, MirrorEvents
from gateway.upstream import Downloads

_MEMORY_BYTES = 64 * 1024 * 1024
_MEMORY_ITEMS = 20_000

Memory = MemoryLru[tuple[str, str, str], Shown]


@dataclass(frozen=True, slots=True)
class Storage:
    """All but the output files. `secret` is the one that all workers and machines share."""

    ledger: Ledger
    secret: bytes
    cache: Cache
    memory: Memory


async def open_storage(process: Process, stack: AsyncExitStack, *, publishes: bool) -> Storage:
    """Open it on the stack; `publishes` lets others take over this process's policy."""
    settings, clock = process.settings, process.clock
    data = settings.storage.data_dir
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    ledger = await stack.enter_async_context(
        Ledger(settings.storage.database_url, clock, folder=data, took=process.metrics.ledger_took)
    )
    if publishes:
        policy, actor = policy_of(settings), Actor("serve", socket.gethostname())
        await ledger.write(partial(publish_policy, policy=policy, now=clock.now(), actor=actor))
    secret = await ledger.write(
        partial(published.remember, name=SECRET_FACT, value=clock.secret(32).hex())
    )
    cache = Cache(data / "cache", settings.cache.max_bytes, clock=clock)
    stack.push_async_callback(cache.close)
    return Storage(
        ledger=ledger,
        secret=bytes.fromhex(secret),
        cache=cache,
        memory=Memory(_MEMORY_BYTES, _MEMORY_ITEMS, _weight),
    )


async def open_mirror(
    process: Process, stack: AsyncExitStack, downloads: Downloads
) -> tuple[Mirror, Room]:
    """Open the mirror on the stack, with the room that it has."""
    settings, metrics = process.settings, process.metrics
    room = room_of(settings, process.kicks.prune.kick)
    mirror = await stack.enter_async_context(
        Mirror(
            settings.storage.data_dir / "mirror",
            downloads,
            process.clock,
            settings.mirror.max_file_bytes,
            # What arrives is resumed after a restart: nobody waits for it at the end.
            partial(process.tasks.spawn, endless=True),
            room=room,
            faults=(SourceUnreachable, SourceRefused),
            events=MirrorEvents(
                on_result=metrics.mirror_fetched,
                on_bytes=lambda size: metrics.mirror_bytes.inc(size),
                on_open=lambda held: metrics.cache_result("mirror", "hit" if held else "miss"),
            ),
        )
    )
    room.of(mirror.stats)
    return mirror, room


def _weight(shown: Shown) -> int:
    return len(shown.body)
