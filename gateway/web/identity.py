"""Who asks: keys turned into identities, from memory and never from stale memory.

A worker remembers each key that it has met, and which it has found unknown. One revision number in
the ledger covers keys, users and the published policy; it is compared every 250 ms, and all that is
remembered is dropped when it changed. Memory counts only while the last word from the ledger is
younger than one second: so a revoked key is dead within a second on every worker, also on one that
has lost the ledger.
"""

import asyncio
import logging
import math
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Final

from gateway.clock import Clock
from gateway.domain import keys
from gateway.domain.plans import Identity, Overrides, Policy, Role, effective_plan
from gateway.ledger import Connection, Ledger, LedgerUnavailable, read_revision
from gateway.ledger.keys import KeyRow, find_key, find_key_by_id, touch_keys
from gateway.ledger.published import published
from gateway.workers import Tasks

_log = logging.getLogger(__name__)

COMPARE_EVERY_S = 0.25
"""How often the ledger's revision is compared."""

BELIEVE_FOR_S = 1.0
"""How long memory counts after the last word from the ledger: the contract's second."""

RECORD_USE_EVERY_S = 5.0
"""How often "last used" is written; a crash loses what came after."""

_ANSWER_WITHIN_S = 5.0
_JOIN_WITHIN_S = 0.5
_MAX_REMEMBERED = 20_000
"""Keys, and as many unknown ones. Beyond, memory starts anew: it is only memory."""


class Unsure(Enum):
    """Says that memory cannot tell, and the ledger must be asked."""

    UNSURE = "unsure"


UNSURE: Final = Unsure.UNSURE


@dataclass(frozen=True, slots=True)
class _Entry:
    identity: Identity
    expires_at: float | None


@dataclass(frozen=True, slots=True)
class _Word:
    """What the ledger said: as of `revision`, or later."""

    revision: int
    policy: str | None
    has_policy: bool  # it was read too, because the revision differed from the one known
    key: KeyRow | None = None


@dataclass(frozen=True, slots=True)
class _Question:
    """A look-up on its way, for those who ask the same meanwhile."""

    asked_at: float
    answer: asyncio.Task[_Entry | LedgerUnavailable | None]


class KeyRing:
    """Remembers keys for one worker process, and holds the policy in force."""

    def __init__(self, ledger: Ledger, clock: Clock, tasks: Tasks) -> None:
        self._ledger = ledger
        self._clock = clock
        self._tasks = tasks
        self._policy = Policy()
        self._revision = -1
        self._last_word = -math.inf  # monotonic; when the last answered question was asked
        self._silent = False
        self._entries: dict[str, _Entry] = {}
        self._unknown: set[str] = set()
        self._questions: dict[str, _Question] = {}
        self._used: dict[str, float] = {}

    @property
    def policy(self) -> Policy:
        """The plans, teams and prices in force."""
        return self._policy

    @property
    def revision(self) -> int:
        """The ledger's revision that memory and policy belong to; -1 before the first word."""
        return self._revision

    def identify_now(self, authorization: str | None) -> Identity | Unsure | None:
        """Return who holds the key in this header, None for nobody, UNSURE if memory cannot tell.

        Never waits; for those who must answer at once.
        """
        key = keys.key_from_authorization(authorization)
        return None if key is None else self._recall(key, keys.digest(key))

    async def identify(self, authorization: str | None) -> Identity | None:
        """Return who holds the key in this `Authorization` header; None for nobody.

        Raises:
            LedgerUnavailable: memory is too old or has no answer, and the ledger does not give one.
        """
        key = keys.key_from_authorization(authorization)
        if key is None:
            return None
        digest = keys.digest(key)
        known = self._recall(key, digest)
        if known is not UNSURE:
            return known
        entry = await self._ask(digest)
        return None if entry is None else self._use(entry)

    async def identify_holder(self, key_id: str) -> Identity | None:
        """Return who holds the key of this id, None if it opens nothing any more.

        Asks the ledger each time: so a session ends at once with its key. Raises LedgerUnavailable.
        """
        asked_at = self._clock.monotonic()
        try:
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                word = await self._ledger.read(partial(_key_by_id, key_id, self._revision))
        except TimeoutError:
            reason = f"no answer about a key in {_ANSWER_WITHIN_S:g} s"
            raise LedgerUnavailable(reason) from None
        self._hear(word, asked_at)
        entry = None if word.key is None else self._entry(word.key)
        return None if entry is None else self._use(entry)

    async def refresh(self) -> float:
        """Compare the revision; returns the seconds until the next time. A step of a loop."""
        asked_at = self._clock.monotonic()
        try:
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                word = await self._ledger.read(partial(_revision_and_policy, self._revision))
        except (LedgerUnavailable, TimeoutError) as error:
            if not self._silent:
                _log.warning("the ledger is silent, keys are not believed from memory: %s", error)
            self._silent = True
        else:
            if self._silent:
                _log.info("the ledger answers again")
            self._silent = False
            self._hear(word, asked_at)
        return COMPARE_EVERY_S

    async def record_use(self) -> float:
        """Write which keys were used when; returns the seconds until the next time. A step."""
        used, self._used = self._used, {}
        if used:
            try:
                await self._ledger.write(partial(touch_keys, used=used))
            except LedgerUnavailable as error:
                _log.warning("when %d keys were last used was not recorded: %s", len(used), error)
        return RECORD_USE_EVERY_S

    def _recall(self, key: str, digest: str) -> Identity | Unsure | None:
        entry = self._entries.get(digest)
        if entry is None:
            if not keys.well_formed(key):
                return None
            if digest not in self._unknown:
                return UNSURE
        if self._clock.monotonic() - self._last_word > BELIEVE_FOR_S:
            return UNSURE
        return None if entry is None else self._use(entry)

    def _use(self, entry: _Entry) -> Identity | None:
        now = self._clock.now()
        if entry.expires_at is not None and now >= entry.expires_at:
            return None
        self._used[entry.identity.key_id] = now
        return entry.identity

    async def _ask(self, digest: str) -> _Entry | None:
        """Ask the ledger, or wait with whoever asked the same just now."""
        now = self._clock.monotonic()
        question = self._questions.get(digest)
        if question is None or now - question.asked_at > _JOIN_WITHIN_S:
            question = _Question(now, self._tasks.spawn(self._look_up(digest, now), "key look-up"))
            self._questions[digest] = question
            question.answer.add_done_callback(partial(self._answered, digest, question))
        # The look-up goes on for the others when one of those who wait is cancelled.
        answer = await asyncio.shield(question.answer)
        if isinstance(answer, LedgerUnavailable):
            raise LedgerUnavailable(str(answer)) from answer
        return answer

    def _answered(self, digest: str, question: _Question, _: object) -> None:
        if self._questions.get(digest) is question:
            del self._questions[digest]

    async def _look_up(self, digest: str, asked_at: float) -> _Entry | LedgerUnavailable | None:
        try:
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                word = await self._ledger.read(partial(_key, digest, self._revision))
        except LedgerUnavailable as error:
            return error
        except TimeoutError:
            return LedgerUnavailable(f"no answer about a key in {_ANSWER_WITHIN_S:g} s")
        self._hear(word, asked_at)
        entry = None if word.key is None else self._entry(word.key)
        # An answer that was overtaken by a change is good for those who asked, not for memory.
        if word.revision == self._revision:
            if len(self._entries) >= _MAX_REMEMBERED:
                self._entries.clear()
            if len(self._unknown) >= _MAX_REMEMBERED:
                self._unknown.clear()
            if entry is None:
                self._unknown.add(digest)
            else:
                self._entries[digest] = entry
        return entry

    def _hear(self, word: _Word, asked_at: float) -> None:
        """Take the ledger's word, unless a younger one was heard already."""
        if word.revision != self._revision:
            # Revisions grow; after a backup was restored, only the time tells.
            if not word.has_policy or (
                word.revision < self._revision and asked_at < self._last_word
            ):
                return
            self._entries.clear()
            self._unknown.clear()
            self._revision = word.revision
            self._policy = self._read_policy(word.policy)
        self._last_word = max(self._last_word, asked_at)

    def _read_policy(self, text: str | None) -> Policy:
        if text is None:
            return Policy()
        try:
            return Policy.from_json(text)
        except ValueError:
            # Published by another version of the gateway: better the old rules than none.
            _log.exception("the published policy cannot be read; the one before stays in force")
            return self._policy

    def _entry(self, row: KeyRow) -> _Entry | None:
        if row.disabled or row.revoked_at is not None:
            return None
        policy = self._policy
        team = None if row.team is None else policy.teams.get(row.team)
        plan = effective_plan(policy, row.plan, row.team, Overrides.from_json(row.overrides))
        identity = Identity(
            user_id=row.user_id,
            user_name=row.user_name,
            team=row.team,
            role=Role(row.role),
            key_id=row.key_id,
            plan=plan,
            team_rules=() if team is None else team.rules,
            share=team is not None and team.share,
        )
        return _Entry(identity, row.expires_at)


def _revision_and_policy(known: int, conn: Connection) -> _Word:
    # The revision first: what is read after it can only be younger, and then the next comparison
    # finds another number.
    revision = read_revision(conn)
    if revision == known:
        return _Word(revision, None, has_policy=False)
    return _Word(revision, published(conn)[1], has_policy=True)


def _key(digest: str, known: int, conn: Connection) -> _Word:
    word = _revision_and_policy(known, conn)
    return _Word(word.revision, word.policy, word.has_policy, find_key(conn, digest))


def _key_by_id(key_id: str, known: int, conn: Connection) -> _Word:
    word = _revision_and_policy(known, conn)
    return _Word(word.revision, word.policy, word.has_policy, find_key_by_id(conn, key_id))
