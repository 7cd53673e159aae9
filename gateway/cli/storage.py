"""`mirror`, `cache` and `prune`: what is kept on disk, and what goes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

import click

from gateway.app.accounts import pruning, room_of
from gateway.cache import Cache
from gateway.cli import amounts
from gateway.cli.commands import PROGRAM, Command, Failed, Group, as_json, say
from gateway.cli.output import print_facts, print_json, print_table
from gateway.cli.progress import progress
from gateway.cli.session import Session, with_session
from gateway.domain.sources import SourceRefused, SourceUnreachable
from gateway.flows.erase_predictions import ErasePredictions
from gateway.flows.make_room import MakeRoom, Room
from gateway.flows.verify_mirror import Verified, VerifyMirror
from gateway.ledger import Ledger, files
from gateway.ledger.files import FileTotals
from gateway.mirror import Mirror
from gateway.upstream import Downloads
from gateway.workers import Tasks

T = TypeVar("T")


@asynccontextmanager
async def opened_cache(session: Session) -> AsyncIterator[Cache]:
    """Open the cache of this configuration."""
    settings = session.settings
    folder = settings.storage.data_dir / "cache"
    cache = Cache(folder, settings.cache.max_bytes, clock=session.clock)
    try:
        yield cache
    finally:
        await cache.close()


@asynccontextmanager
async def opened_mirror(session: Session, room: Room | None = None) -> AsyncIterator[Mirror]:
    """Open the mirror of this configuration; nothing is fetched with it."""
    settings, clock = session.settings, session.clock
    tasks = Tasks(clock)
    mirror = Mirror(
        settings.storage.data_dir / "mirror",
        Downloads((), connect_timeout_s=1, read_timeout_s=1),
        clock,
        settings.mirror.max_file_bytes,
        partial(tasks.spawn, endless=True),
        room=room or (lambda size: True),
        faults=(SourceUnreachable, SourceRefused),
    )
    async with mirror:
        if room is not None:
            room.of(mirror.stats)
        yield mirror
    await tasks.close(0)


def with_mirror(session: Session, work: Callable[[Ledger, Mirror], Awaitable[T]]) -> T:
    """Do something with ledger and mirror. Raises Failed."""

    async def run(ledger: Ledger) -> T:
        async with opened_mirror(session) as mirror:
            return await work(ledger, mirror)

    try:
        return session.run(run)
    except OSError as error:
        raise Failed(f"the mirror cannot be used: {error.strerror or error}") from error


@click.group(cls=Group, example=f"{PROGRAM} mirror stats")
def mirror() -> None:
    """Look after the kept output files."""


@mirror.command("stats", example=f"{PROGRAM} mirror stats --json")
@as_json
@with_session
def mirror_stats(session: Session, as_json: bool) -> None:
    """Say how many files there are, in which state, and how much room they take."""
    found: FileTotals = session.read(files.stats)
    most = session.settings.mirror.max_bytes
    if as_json:
        print_json(
            {
                "files": dict(found.counts),
                "stored_bytes": found.stored_bytes,
                "max_bytes": most,
            }
        )
        return
    print_facts(
        [
            (
                "Stored",
                f"{found.counts.get('stored', 0):,} files, {amounts.size(found.stored_bytes)}",
            ),
            ("Limit", f"{amounts.size(most)} ({found.stored_bytes / most:.1%} used)"),
            ("To be fetched", f"{found.counts.get('wanted', 0):,}"),
            ("Too large to keep", f"{found.counts.get('passed', 0):,}"),
            ("Gone", f"{found.counts.get('gone', 0):,}"),
        ]
    )


@mirror.command("verify", example=f"{PROGRAM} mirror verify --repair")
@click.option("--repair", is_flag=True, help="Delete what is damaged or nobody's; fetch it again.")
@as_json
@with_session
def mirror_verify(session: Session, repair: bool, as_json: bool) -> None:
    """Read every kept file and compare it with what was stored, and with the ledger."""

    async def work(ledger: Ledger, mirror: Mirror) -> Verified:
        verify = VerifyMirror(ledger, mirror, session.clock)
        with progress("Verifying:") as told:
            found = await verify(repair=repair, progress=lambda: told("files", 1))
        if repair:
            detail = {"faults": len(found.faults)}
            await ledger.write(lambda conn: session.note(conn, "mirror.repair", "mirror", detail))
        return found

    found = with_mirror(session, work)
    if as_json:
        print_json(
            {
                "checked": found.checked,
                "faults": [
                    {"key": fault.key, "url": fault.url, "fault": fault.what}
                    for fault in found.faults
                ],
                "repaired": repair,
            }
        )
    elif found.faults:
        print_table(
            ["Fault", "File"], [[fault.what, fault.url or fault.key] for fault in found.faults]
        )
    say(f"Checked {found.checked:,} files: {len(found.faults):,} faults.")
    if found.faults and not repair:
        raise Failed("not everything is as it was stored; mirror verify --repair mends it")


@click.group(cls=Group, example=f"{PROGRAM} cache stats")
def cache() -> None:
    """Look after the copies of finished predictions, which may go at any time."""


@cache.command("stats", example=f"{PROGRAM} cache stats --json")
@as_json
@with_session
def cache_stats(session: Session, as_json: bool) -> None:
    """Say how much is cached on disk."""

    async def work() -> tuple[int, int, int]:
        async with opened_cache(session) as opened:
            found = opened.stats()
            return found[0], found[1], found[2]

    settings = session.settings
    if (settings.storage.data_dir / "cache").exists():
        items, size, most = asyncio.run(work())
    else:  # looking makes nothing
        items, size, most = 0, 0, settings.cache.max_bytes
    if as_json:
        print_json({"entries": items, "bytes": size, "max_bytes": most})
    else:
        print_facts(
            [("Entries", f"{items:,}"), ("Size", f"{amounts.size(size)} of {amounts.size(most)}")]
        )


@cache.command("clear", example=f"{PROGRAM} cache clear")
@with_session
def cache_clear(session: Session) -> None:
    """Drop all copies; they are made again from the ledger."""

    async def work(ledger: Ledger) -> int:
        async with opened_cache(session) as opened:
            count = await opened.clear()
        await ledger.write(lambda conn: session.note(conn, "cache.clear", "cache"))
        return count

    say(f"Dropped {session.run(work):,} entries.")


@click.command("prune", cls=Command, example=f"{PROGRAM} prune")
@as_json
@with_session
def prune(session: Session, as_json: bool) -> None:
    """Remove what retention no longer keeps, as a running gateway does by itself.

    By age (retention.documents_days, retention.files_days) and by size (mirror.max_bytes). Daily
    totals stay for good.
    """
    settings = session.settings

    async def work(ledger: Ledger) -> dict[str, int]:
        room = room_of(settings, lambda: None)
        async with opened_cache(session) as cache, opened_mirror(session, room) as mirror:
            erase = ErasePredictions(ledger, cache, mirror, session.clock)
            make_room = MakeRoom(ledger, mirror, session.clock, room)
            pruning_ = pruning(settings, ledger, mirror, session.clock, erase, make_room)
            with progress("Pruning:") as told:
                found = (await pruning_(told)).counts
        await ledger.write(lambda conn: session.note(conn, "prune", "storage", found))
        return found

    found = session.run(work)
    if as_json:
        print_json(found)
        return
    listed = ", ".join(f"{count:,} {kind}" for kind, count in found.items())
    say(f"Removed {listed}." if listed else "There is nothing to remove.")
