"""The way of one file to this machine: fetched here, or watched while another process does."""

import logging
import os
from functools import partial

from gateway.clock import Clock
from gateway.mirror.arrival import Arrival, Outcome
from gateway.mirror.disk import Disk, OpenFile, sha256_of
from gateway.mirror.download import Downloader, NotKeepable
from gateway.mirror.errors import OutputBroken, OutputError, OutputGone, OutputUnreachable
from gateway.mirror.files import MirrorEvents, NotKept, StoredFile, Unstored
from gateway.mirror.folder import means_full
from gateway.mirror.spool import Condemned, Part, Spool, Watched
from gateway.mirror.store import Store, StoreFull

_log = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.02  # at another process's fetch
_INTERRUPT_LOOKS = 100  # two seconds for another process to drop what it is fetching


class Pursuit:
    """Takes arrivals to their outcome; one call of `outcome` for each."""

    def __init__(
        self,
        store: Store,
        spool: Spool,
        disk: Disk,
        downloader: Downloader,
        clock: Clock,
        events: MirrorEvents,
    ) -> None:
        self._store = store
        self._spool = spool
        self._disk = disk
        self._downloader = downloader
        self._clock = clock
        self._events = events

    async def outcome(self, arrival: Arrival) -> Outcome:
        """Return what became of the file: whoever is able to brings it here."""
        try:
            while True:
                if (stored := await self._store.get(arrival.key)) is not None:
                    await self._check_watched(arrival, stored)
                    return stored
                part = await self.claim(arrival.key)
                if part is None:
                    if not await self._look_on(arrival):
                        return OutputBroken("nobody waited for the file any more")
                elif (outcome := await self._hold(arrival, part)) is not None:
                    return outcome
        except OSError as fault:
            return _disk_verdict(arrival.key, fault)

    async def claim(self, key: str) -> Part | None:
        """Become the only one on this machine who fetches the file, None if somebody else is."""
        return await self._disk.acquire(
            partial(self._spool.claim, key), lambda part: part.leave() if part else None
        )

    async def interrupt(self, key: str) -> Part | None:
        """Have whoever fetches this file drop it, and claim it; None if there is nothing to claim.

        A fetcher that waits for upstream notices only when the next bytes arrive; it is not waited
        for longer than two seconds, because it will drop the file whenever that is.
        """
        for _ in range(_INTERRUPT_LOOKS):
            if not await self._disk.run(self._spool.condemn, key):
                return None
            if (part := await self.claim(key)) is not None:
                return part
            await self._clock.sleep(_LOOK_EVERY_S)
        return None

    async def _hold(self, arrival: Arrival, part: Part) -> Outcome | None:
        """Fetch a file that this process has claimed; None when it must be claimed again."""
        try:
            if await self._disk.run(part.condemned):
                await self._disk.run(part.discard)  # the end of a deletion that did not wait for us
                return None
            if (stored := await self._store.get(arrival.key)) is not None:
                await self._disk.run(part.discard)  # stored between our look and our claim
                await self._check_watched(arrival, stored)
                return stored
            outcome = await self._fetch(arrival, part)
            self._events.on_result(_name(outcome))
            if isinstance(outcome, Unstored | OutputGone):
                await self._disk.run(part.discard)
            return outcome
        finally:
            part.leave()

    async def _fetch(self, arrival: Arrival, part: Part) -> Outcome:
        try:
            await self._disk.run(part.recall)
            if part.size:
                _log.info("fetch of %s goes on from byte %d", arrival.key[:12], part.size)
            await self._downloader.fetch(arrival, part)
            return await self._keep(arrival, part)
        except NotKeepable as verdict:
            return verdict.outcome
        except StoreFull:
            return Unstored(NotKept.NO_ROOM, part.size)
        except OSError as fault:
            return _disk_verdict(arrival.key, fault)
        except Condemned:
            return OutputGone("the file was deleted")
        except OutputError as fault:
            return fault

    async def _keep(self, arrival: Arrival, part: Part) -> StoredFile:
        headers = part.headers
        if headers is None:
            raise OutputBroken("the file has no headers")
        file = StoredFile(
            key=arrival.key,
            size=part.size,
            content_type=headers.content_type,
            etag=headers.etag,
            sha256=part.sha256(),
            last_modified=headers.last_modified,
            stored_at=self._clock.now(),
        )
        if await self._disk.run(part.condemned):
            raise Condemned
        await self._store.put(file, part.path)
        # Again, for a deletion that looked into the store before the file was in it. A later one
        # finds it there: it waits for the lock, which is ours until `finish`.
        if await self._disk.run(part.condemned):
            await self._store.delete(arrival.key)
            raise Condemned
        await self._disk.run(part.finish)
        return file

    async def _look_on(self, arrival: Arrival) -> bool:
        """Follow another process's fetch until it has left; False if nobody cares any more."""
        watched = await self._disk.acquire(
            partial(self._spool.watch, arrival.key),
            lambda seen: seen.file.close() if seen else None,
        )
        if watched is None:
            return True
        try:
            return await self._follow(arrival, watched)
        finally:
            watched.file.close()

    async def _follow(self, arrival: Arrival, watched: Watched) -> bool:
        while arrival.waiting:
            seen = await self._disk.run(watched.look)
            if seen.headers is not None:
                arrival.announce(watched.file, seen.headers)
                arrival.grow(seen.size)
                if seen.size == seen.headers.size:
                    arrival.complete()  # all is here; storing it is not worth waiting for
            if seen.left or seen.replaced:
                return True
            await self._clock.sleep(_LOOK_EVERY_S)
        return False

    async def _check_watched(self, arrival: Arrival, stored: StoredFile) -> None:
        """See to it that what readers hold of another process's fetch is what was stored."""
        if arrival.file is None:
            return
        if await self._disk.run(_are_same, arrival.file, stored):
            arrival.grow(stored.size)
        else:
            arrival.begin_again()


def _are_same(file: OpenFile, stored: StoredFile) -> bool:
    """Return whether an open file has the stored bytes; blocks."""
    found = os.fstat(file.fd)
    if found.st_size != stored.size:
        return False
    # A part that was begun again has lost its name; so has one whose bytes went to a distant store,
    # or were deleted: then the bytes themselves decide.
    return found.st_nlink > 0 or sha256_of(file.fd) == stored.sha256


def _disk_verdict(key: str, fault: OSError) -> Unstored:
    _log.error("mirrored file %s cannot be kept: %s", key[:12], fault.strerror)
    return Unstored(NotKept.NO_ROOM if means_full(fault) else NotKept.DISK_FAILED, None)


def _name(outcome: Outcome) -> str:
    match outcome:
        case StoredFile():
            return "stored"
        case Unstored(reason=reason):
            return reason.value
        case OutputGone():
            return "gone"
        case OutputUnreachable():
            return "unreachable"
        case _:
            return "broken"
