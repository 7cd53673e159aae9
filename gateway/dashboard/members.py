"""The list of users as admins see it: filtered, in an order, a page at a time."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from gateway.flows.report_usage import cost_of
from gateway.ledger.keys import KeyInfo
from gateway.ledger.usage import UsageLine
from gateway.ledger.users import UserRow

PAGE = 25
_PAGE_NUMBER = re.compile(r"[0-9]{1,9}")
ORDERS = {"": "name", "spend": "spend", "made": "predictions", "seen": "last seen"}
STATES = ("active", "disabled")
FILTERS = ("q", "team", "state", "order")
NO_TEAM = "-"
"""What the filter says for those who are in none; no team can be called so."""


@dataclass(frozen=True, slots=True)
class Member:
    """A user in the list: what they used in thirty days, when a key of theirs was last used."""

    user: UserRow
    predictions: int
    cost: int | None
    keys: int
    last_used_at: float | None


@dataclass(frozen=True, slots=True)
class MemberList:
    """One page of those who fit the filters, and the addresses of its neighbours."""

    shown: tuple[Member, ...]
    found: int
    first: int
    """The place of the first one shown, counted from 1; 0 if there is none."""
    previous: str | None
    next: str | None

    @property
    def last(self) -> int:
        """The place of the last one shown."""
        return self.first + len(self.shown) - 1 if self.shown else 0


def members_of(
    people: Iterable[UserRow],
    used: Mapping[str, UsageLine],
    all_keys: Iterable[KeyInfo],
    now: float,
) -> list[Member]:
    """Put users, what they used (by their ids) and their keys together."""
    own: defaultdict[str, list[KeyInfo]] = defaultdict(list)
    for key in all_keys:
        own[key.user_id].append(key)
    return [_member(user, used.get(user.id), own[user.id], now) for user in people]


def listed(members: Sequence[Member], query: Mapping[str, str]) -> MemberList:
    """Return the page of the list that a query asks for; what it cannot mean counts as not said."""
    wanted = {name: query[name] for name in FILTERS if query.get(name)}
    part = wanted.get("q", "").casefold()
    team, state = wanted.get("team"), wanted.get("state")
    fitting = [
        member
        for member in members
        if part in member.user.name.casefold()
        and (team is None or (member.user.team or NO_TEAM) == team)
        and (state not in STATES or member.user.disabled == (state == "disabled"))
    ]
    match wanted.get("order"):
        case "spend":
            fitting.sort(key=lambda member: -(member.cost or 0))
        case "made":
            fitting.sort(key=lambda member: -member.predictions)
        case "seen":
            fitting.sort(key=lambda member: -(member.last_used_at or 0))
        case _:
            fitting.sort(key=lambda member: member.user.name.casefold())
    pages = max(1, -(-len(fitting) // PAGE))
    asked = query.get("page", "")
    page = min(pages, max(1, int(asked))) if _PAGE_NUMBER.fullmatch(asked) else 1
    start = (page - 1) * PAGE
    return MemberList(
        shown=tuple(fitting[start : start + PAGE]),
        found=len(fitting),
        first=start + 1 if fitting else 0,
        previous=_address(wanted, page - 1) if page > 1 else None,
        next=_address(wanted, page + 1) if page < pages else None,
    )


def _address(wanted: Mapping[str, str], page: int) -> str:
    pairs = dict(wanted) if page == 1 else {**wanted, "page": str(page)}
    return f"/dashboard/team?{urlencode(pairs)}" if pairs else "/dashboard/team"


def _member(user: UserRow, line: UsageLine | None, own: Sequence[KeyInfo], now: float) -> Member:
    used = [key.last_used_at for key in own if key.last_used_at is not None]
    good = [
        key
        for key in own
        if key.revoked_at is None and (key.expires_at is None or key.expires_at > now)
    ]
    return Member(
        user,
        0 if line is None else line.predictions,
        0 if line is None else cost_of(line),
        len(good),
        max(used, default=None),
    )
