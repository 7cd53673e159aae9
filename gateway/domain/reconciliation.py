"""Which of upstream's predictions a create whose answer was lost has become.

A guess is worse than a doubt: nobody gets what may be somebody else's, and nothing is given back
that may have been made after all.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

AFTER_BREAK_S: Final = 120.0
"""How long after a connection broke its create may still have been carried out."""

SKEW_S: Final = 30.0
"""How far upstream's clock and ours may differ."""

RELEASE_AFTER_S: Final = 300.0
"""How much later than the break a list must be read to show that a create never happened."""

_PUBLIC_VERSION: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Doubt:
    """A create whose fate is unknown: sent after `sent_at`, broken off by `broken_at`."""

    id: str
    user_id: str
    kind: str
    input_digest: str
    model: str | None
    deployment: str | None
    sent_at: float
    broken_at: float
    input_outline: str | None = None
    """Equal in both although the digests differ: upstream may have written the input anew."""

    @property
    def window(self) -> tuple[float, float]:
        """When what it became was made, on upstream's clock."""
        return self.sent_at - SKEW_S, self.broken_at + AFTER_BREAK_S + SKEW_S


@dataclass(frozen=True, slots=True)
class Candidate:
    """A prediction of the account that the ledger does not know.

    `input_digest` is None if upstream no longer shows the input: nothing can be said then.
    """

    id: str
    kind: str
    created_at: float
    input_digest: str | None
    model: str | None
    version: str | None
    deployment: str | None = None
    input_outline: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was decided. Doubts that are in neither stay in doubt."""

    adopted: Mapping[str, str] = field(default_factory=dict)
    """Prediction by create."""
    released: tuple[str, ...] = ()
    possible: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Of those that stay in doubt: the predictions that they may have become."""


def in_window(doubt: Doubt, kind: str, created_at: float) -> bool:
    """Return whether something of this kind, made then, may be what the create became."""
    start, end = doubt.window
    return doubt.kind == kind and start <= created_at <= end


def judge(
    doubts: Sequence[Doubt],
    candidates: Sequence[Candidate],
    *,
    list_read_at: float,
    complete_since: Mapping[str, float],
    under_way: Sequence[Doubt] = (),
) -> Verdict:
    """Decide about creates in doubt.

    What creates that are still `under_way` may have made is not given away yet. What is alike in
    outline only is never given away, and nothing is given back because of it. `complete_since`
    tells by kind from which creation time on the list was read without a gap.
    """
    possible = {doubt.id: [one for one in candidates if _may_be(doubt, one)] for doubt in doubts}
    awaited = {one.id for one in candidates if any(_may_be(live, one) for live in under_way)}
    adopted: dict[str, str] = {}
    for group in _groups(doubts, possible):
        if not any(one.id in awaited for doubt in group for one in possible[doubt.id]):
            adopted |= _assigned(group, possible)
    released, left = [], {}
    for doubt in doubts:
        if doubt.id in adopted:
            continue
        alike = [one for one in candidates if _is_alike(doubt, one)]
        free = [one.id for one in possible[doubt.id] + alike if one.id not in adopted.values()]
        if free:
            left[doubt.id] = tuple(free)
        elif (
            list_read_at >= doubt.broken_at + RELEASE_AFTER_S
            and complete_since.get(doubt.kind, list_read_at) <= doubt.window[0]
        ):
            released.append(doubt.id)
        else:
            left[doubt.id] = ()
    return Verdict(adopted, tuple(released), left)


def _may_be(doubt: Doubt, candidate: Candidate) -> bool:
    return candidate.input_digest in (None, doubt.input_digest) and _fits(doubt, candidate)


def _is_alike(doubt: Doubt, candidate: Candidate) -> bool:
    return (
        candidate.input_digest not in (None, doubt.input_digest)
        and candidate.input_outline is not None
        and candidate.input_outline == doubt.input_outline
        and _fits(doubt, candidate)
    )


def _fits(doubt: Doubt, candidate: Candidate) -> bool:
    if not in_window(doubt, candidate.kind, candidate.created_at):
        return False
    if doubt.deployment is not None:
        return candidate.deployment in (None, doubt.deployment)
    if doubt.model is None or candidate.model is None:
        return True
    # Official models answer under names and versions of their own; only a public version's model
    # is the one that was asked for.
    if candidate.version is None or _PUBLIC_VERSION.fullmatch(candidate.version) is None:
        return True
    return candidate.model.lower() == doubt.model


def _groups(
    doubts: Sequence[Doubt], possible: Mapping[str, Sequence[Candidate]]
) -> list[list[Doubt]]:
    """Put together the doubts that share candidates, directly or through others."""
    groups: list[tuple[list[Doubt], set[str]]] = []
    for doubt in doubts:
        mine = {one.id for one in possible[doubt.id]}
        if not mine:
            continue
        members = [doubt]
        apart = []
        for others, theirs in groups:
            if theirs & mine:
                members += others
                mine |= theirs
            else:
                apart.append((others, theirs))
        groups = [*apart, (members, mine)]
    return [members for members, _ in groups]


def _assigned(
    group: Sequence[Doubt], possible: Mapping[str, Sequence[Candidate]]
) -> dict[str, str]:
    """Give each doubt of a group a candidate: all of them, or none if they are several users'."""
    if any(one.input_digest is None for doubt in group for one in possible[doubt.id]):
        # Something stands in the list that cannot be told apart any more.
        return {}
    pairs = _paired(group, possible)
    if len({doubt.user_id for doubt in group}) > 1 and len(pairs) < len(group):
        return {}
    return pairs


def _paired(group: Sequence[Doubt], possible: Mapping[str, Sequence[Candidate]]) -> dict[str, str]:
    """Find as many pairs as there can be, the earliest creates with the earliest predictions."""
    taken: dict[str, str] = {}

    def find(doubt_id: str, tried: set[str]) -> bool:
        for one in sorted(possible[doubt_id], key=lambda one: (one.created_at, one.id)):
            if one.id in tried:
                continue
            tried.add(one.id)
            if one.id not in taken or find(taken[one.id], tried):
                taken[one.id] = doubt_id
                return True
        return False

    for doubt in sorted(group, key=lambda doubt: (doubt.sent_at, doubt.id)):
        find(doubt.id, set())
    return {doubt_id: candidate_id for candidate_id, doubt_id in taken.items()}
