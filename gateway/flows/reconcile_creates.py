"""Settle creates whose answer was lost, from the account's own list of what was made.

workers that died → their creates are in doubt → the list since the oldest of them
→ what the ledger does not know and could be theirs → adopted, given back, or shown to an admin
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from gateway.clock import Clock
from gateway.domain.documents import (
    InvalidJson,
    NotAPrediction,
    PredictionFacts,
    facts,
    is_terminal,
    output_urls,
)
from gateway.domain.foreign_json import load_foreign
from gateway.domain.input_digest import input_digest, input_outline
from gateway.domain.reconciliation import SKEW_S, Candidate, Doubt, in_window, judge
from gateway.domain.urls import UrlMap
from gateway.flows.account import Account
from gateway.flows.announce import Announce
from gateway.flows.create_prediction import new_prediction
from gateway.flows.observe import Observe
from gateway.flows.upstream_lists import Kind, UpstreamLists
from gateway.ledger import Connection, Ledger, creates, predictions, workers
from gateway.ledger.creates import CreateRow
from gateway.upstream import OPERATIONS, Upstream, UpstreamError, Urgency

_log = logging.getLogger(__name__)

DEAD_AFTER_S = 10.0
"""A worker beats every second; one that has not for so long is dead."""

FORGOTTEN_AFTER_S = 86_400.0

STEP_S = 5.0
"""How often the dead are looked for, and the list is read while there are fresh doubts."""

FRESH_S = 120.0
PATIENT_STEP_S = 20.0
"""How often the list is read for doubts that are no longer fresh."""

MOST_PAGES = 200

_LEASE = "reconcile"
_LEASE_S = 60.0


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the account has, as far as it could be somebody's in doubt."""

    candidates: tuple[tuple[Kind, bytes, PredictionFacts], ...]
    read_at: float
    complete_since: Mapping[str, float]


class ReconcileCreates:
    """One worker at a time does this for all; a step of a loop."""

    def __init__(
        self,
        ledger: Ledger,
        upstream: Upstream,
        lists: UpstreamLists,
        observe: Observe,
        announce: Announce,
        urls: UrlMap,
        clock: Clock,
        *,
        account: Account,
        worker_id: str,
        longest_create_s: float,
        follow: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._upstream = upstream
        self._lists = lists
        self._observe = observe
        self._announce = announce
        self._urls = urls
        self._clock = clock
        self._account = account
        self._worker_id = worker_id
        self._longest_create_s = longest_create_s
        self._follow = follow
        self._next_read = 0.0

    async def __call__(self) -> float:
        """Look after the dead and after doubts; returns seconds until the next time."""
        now = self._clock.now()
        doubts = await self._ledger.write(partial(self._bury, now))
        if not doubts:
            self._next_read = 0.0
            return STEP_S
        young = any(now - (row.doubted_at or now) < FRESH_S for row in doubts)
        assigned = any(row.prediction_id is not None for row in doubts)
        if now < self._next_read and not young and not assigned:
            return STEP_S
        mine = await self._ledger.write(
            lambda conn: workers.take_lease(
                conn, _LEASE, self._worker_id, now=now, until=now + _LEASE_S
            )
        )
        if mine:
            try:
                await self._settle(doubts)
            except (UpstreamError, InvalidJson) as error:
                _log.warning("creates in doubt cannot be looked for now: %s", error)
            finally:
                await self._ledger.write(
                    lambda conn: workers.give_lease_back(conn, _LEASE, self._worker_id)
                )
            self._next_read = self._clock.now() + PATIENT_STEP_S
        return STEP_S

    def _bury(self, now: float, conn: Connection) -> list[CreateRow]:
        dead = now - DEAD_AFTER_S
        left = creates.doubt_of_dead(conn, dead, now - self._longest_create_s)
        if left:
            _log.warning("%d creates of workers that ended are in doubt", left)
        workers.free_claims_of_dead(conn, dead, now)
        workers.forget_old(conn, now - FORGOTTEN_AFTER_S)
        return creates.doubts(conn)

    async def _settle(self, rows: Sequence[CreateRow]) -> None:
        account = await self._account()
        # Another account's list cannot be read with this token.
        rows = [row for row in rows if row.account == account]
        for row in [row for row in rows if row.prediction_id is not None]:
            await self._adopt(row, row.prediction_id or "")
        rows = [row for row in rows if row.prediction_id is None]
        if not rows:
            return
        doubts = [_doubt(row) for row in rows]
        seen = await self._read(doubts)
        # After the list: what was recorded while it was being read is known now.
        known, live, still = await self._ledger.read(
            lambda conn: (
                creates.known_predictions(conn, [told.id for _, _, told in seen.candidates]),
                creates.under_way(conn),
                {row.id: row for row in creates.doubts(conn)},
            )
        )
        # What an admin has given to somebody is not to be had, even if it could not be fetched.
        taken = known | {row.prediction_id for row in still.values()}
        free = {row.id: row for row in still.values() if row.prediction_id is None}
        doubts = [doubt for doubt in doubts if doubt.id in free]
        # Under way when the list was asked for, and in doubt since: what they made stands in it.
        looked_for = {row.id for row in rows}
        live += [row for row in free.values() if row.id not in looked_for]
        unknown = [one for one in seen.candidates if one[2].id not in taken]
        verdict = judge(
            doubts,
            [await self._candidate(*one) for one in unknown],
            list_read_at=seen.read_at,
            complete_since=seen.complete_since,
            under_way=[_doubt(row) for row in live],
        )
        by_id = {row.id: row for row in rows}
        for create_id, prediction_id in verdict.adopted.items():
            await self._adopt(by_id[create_id], prediction_id)
        for create_id in verdict.released:
            released = await self._ledger.write(
                partial(creates.release, create_id=create_id, now=self._clock.now()), durable=True
            )
            if released:
                _log.warning("create %s never happened; it is given back", create_id)
        changed = {
            create_id: found
            for create_id, found in verdict.possible.items()
            if " ".join(found) != (by_id[create_id].candidates or "")
        }
        if changed:
            await self._ledger.write(partial(creates.note_candidates, found=changed))

    async def _read(self, doubts: Sequence[Doubt]) -> _Seen:
        found: dict[str, tuple[Kind, bytes, PredictionFacts]] = {}
        complete: dict[str, float] = {}
        read_at = self._clock.now()
        kinds: tuple[Kind, ...] = ("prediction", "training")
        for kind in kinds:
            concerned = [doubt for doubt in doubts if doubt.kind == kind]
            if not concerned:
                continue
            since = min(doubt.window[0] for doubt in concerned)
            until = max(doubt.window[1] for doubt in concerned)
            filters = {}
            if kind == "prediction":
                # Upstream filters by its own clock, hence the second tolerance. What was made
                # later is not read: what waits for an admin may wait for days.
                filters["created_after"] = _iso(since - SKEW_S)
                if until + SKEW_S < read_at:
                    filters["created_before"] = _iso(until + SKEW_S)
            pages = 0
            async for page in self._lists.pages(kind, Urgency.POLL, filters):
                pages += 1
                read_at = min(read_at, page.asked_at)
                told = list(_facts(page.items))
                for item, one in told:
                    made = one.created_at
                    if one.source == "web" or made is None:
                        continue
                    if any(in_window(doubt, kind, made) for doubt in concerned):
                        found[one.id] = (kind, item, one)
                oldest = min((one.created_at or since for _, one in told), default=since)
                if page.last or (told and oldest < since):
                    complete[kind] = since
                    break
                if pages >= MOST_PAGES:
                    complete[kind] = oldest
                    break
        return _Seen(tuple(found.values()), read_at, complete)

    async def _candidate(self, kind: Kind, item: bytes, told: PredictionFacts) -> Candidate:
        body = item
        document = load_foreign(item)
        if not isinstance(document, dict) or "input" not in document:
            answer = await self._get(kind, told.id)
            body = item if answer is None else answer
            document = load_foreign(body)
        members = document if isinstance(document, dict) else {}
        readable = "input" in members and members.get("data_removed") is not True
        deployment = members.get("deployment")
        return Candidate(
            id=told.id,
            kind=kind,
            created_at=told.created_at or 0.0,
            input_digest=input_digest(body) if readable else None,
            input_outline=input_outline(body) if readable else None,
            model=told.model,
            version=told.version,
            deployment=deployment if isinstance(deployment, str) else None,
        )

    async def _get(self, kind: str, prediction_id: str) -> bytes | None:
        answer = await self._upstream.call(
            OPERATIONS[f"{kind}s.get"], f"/v1/{kind}s/{prediction_id}", urgency=Urgency.POLL
        )
        return answer.body if answer.status == 200 else None

    async def _adopt(self, create: CreateRow, prediction_id: str) -> None:
        body = await self._get(create.kind, prediction_id)
        if body is None:
            _log.warning(
                "create %s: upstream does not show prediction %s now", create.id, prediction_id
            )
            return
        now = self._clock.now()
        told = facts(body)
        new = new_prediction(body, told, now)
        files = output_urls(body, self._urls)
        tell = self._announce.of_create(create, told.id, body)

        def change(conn: Connection) -> predictions.Row | None:
            adopted = creates.adopt(conn, create.id, new, files, now, tell=tell)
            return predictions.get(conn, told.id) if adopted else None

        row = await self._ledger.write(change, durable=True)
        if row is None:
            _log.warning("create %s: prediction %s is not free any more", create.id, told.id)
            return
        _log.warning("create %s became prediction %s of %s", create.id, row.id, row.user_name)
        if tell is not None:
            self._announce.queued()
        if is_terminal(told.status):
            await self._observe(row, body, final=True)
        elif files:
            self._observe.files_wanted()
        self._follow()


def _doubt(row: CreateRow) -> Doubt:
    return Doubt(
        id=row.id,
        user_id=row.user_id,
        kind=row.kind,
        input_digest=row.input_digest,
        input_outline=row.input_outline,
        model=row.model,
        deployment=row.deployment,
        sent_at=row.at,
        # One that is under way may yet make something.
        broken_at=float("inf") if row.doubted_at is None else row.doubted_at,
    )


def _facts(items: Iterable[bytes]) -> Iterable[tuple[bytes, PredictionFacts]]:
    for item in items:
        try:
            yield item, facts(item)
        except NotAPrediction as error:
            _log.warning("the account's list has an odd item: %s", error)


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
