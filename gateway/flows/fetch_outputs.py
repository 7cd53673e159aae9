"""Fetch output files into the mirror when they are first seen, not when somebody opens them."""

import logging
from collections.abc import Callable
from functools import partial

from gateway.clock import Clock
from gateway.flows.spawn import Spawn
from gateway.ledger import Ledger, files
from gateway.mirror import (
    Mirror,
    MirrorClosed,
    NotKept,
    OutputBroken,
    OutputGone,
    OutputUnreachable,
    StoredFile,
)

_log = logging.getLogger(__name__)

CLAIM_S = 120.0
AT_ONCE = 16
IDLE_S = 2.0
FIRST_RETRY_S = 2.0
LONGEST_RETRY_S = 300.0

REFUSALS = 5
"""A 403 may be a passing mood of upstream's; this many of them mean that the file is gone."""

GIVE_UP_S = 2 * 86_400.0
"""Upstream keeps files for an hour: what could not be had for two days will not be had."""


class FetchOutputs:
    """Takes registered files that nobody has, claims them, and has the mirror fetch them."""

    def __init__(
        self,
        ledger: Ledger,
        mirror: Mirror,
        clock: Clock,
        spawn: Spawn,
        kick: Callable[[], None],
        worker_id: str,
    ) -> None:
        self._ledger = ledger
        self._mirror = mirror
        self._clock = clock
        self._spawn = spawn
        self._kick = kick
        self._worker_id = worker_id
        self._under_way = 0

    async def __call__(self) -> float:
        """Start fetching what is due; returns seconds until the next look. A step of a loop."""
        room = AT_ONCE - self._under_way
        if room <= 0:
            return IDLE_S
        now = self._clock.now()
        wanted = await self._ledger.read(partial(files.wanted, now=now, limit=room))
        for file in wanted:
            claim = partial(
                files.claim, url=file.url, now=now, until=now + CLAIM_S, by=self._worker_id
            )
            if not await self._ledger.write(claim):
                continue
            self._under_way += 1
            self._spawn(self._hold(file), "fetch output")
        return IDLE_S

    async def _hold(self, file: files.FileRow) -> None:
        try:
            await self._fetch(file)
        finally:
            self._under_way -= 1
            if self._under_way == AT_ONCE - 1:
                self._kick()

    async def _fetch(self, file: files.FileRow) -> None:
        try:
            outcome = await self._mirror.ensure(file.url)
        except OutputGone:
            await self._ledger.write(
                partial(files.gone, url=file.url, reason="upstream no longer has it")
            )
            _log.warning("an output file was gone before it could be fetched")
            return
        except (OutputUnreachable, OutputBroken) as error:
            await self._failed(file, error)
            return
        except MirrorClosed:
            return
        now = self._clock.now()
        if isinstance(outcome, StoredFile):
            kept = await self._ledger.write(
                partial(
                    files.stored,
                    url=file.url,
                    size=outcome.size,
                    content_type=outcome.content_type,
                    etag=outcome.etag,
                    sha256=outcome.sha256,
                    now=now,
                ),
                durable=True,
            )
            if not kept:
                # Its prediction was erased while the bytes arrived.
                await self._mirror.delete(file.url)
        elif outcome.reason is NotKept.TOO_LARGE:
            await self._ledger.write(
                partial(files.passed, url=file.url, reason=outcome.reason.value)
            )
        else:
            # There may be room in a while, and upstream has it for an hour.
            await self._again(file, LONGEST_RETRY_S, outcome.reason.value)

    async def _failed(self, file: files.FileRow, error: OutputUnreachable | OutputBroken) -> None:
        refused = isinstance(error, OutputUnreachable) and error.status == 403
        hopeless = refused and file.attempts + 1 >= REFUSALS
        if hopeless or self._clock.now() - file.registered_at >= GIVE_UP_S:
            await self._ledger.write(partial(files.gone, url=file.url, reason=str(error)))
            _log.warning("an output file is given up after %d attempts", file.attempts + 1)
            return
        wait = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2 ** min(file.attempts, 10))
        await self._again(file, wait, str(error))
        _log.warning("an output file could not be fetched; next attempt in %.0f s", wait)

    async def _again(self, file: files.FileRow, wait: float, error: str) -> None:
        at = self._clock.now() + wait * (0.75 + 0.5 * self._clock.random())
        await self._ledger.write(
            partial(files.failed, url=file.url, next_attempt_at=at, error=error)
        )
