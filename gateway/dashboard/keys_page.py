"""My keys: make one (it is shown once), see when each was used, revoke."""

import re
from dataclasses import dataclass

from gateway.dashboard.visit import Page, Place, Redirect, Reply, Visit
from gateway.domain import problems
from gateway.flows.administer import Actor, Administer
from gateway.flows.answer import Refused
from gateway.ledger import Ledger, keys
from gateway.ledger.keys import KeyInfo

_DAY_S = 86_400.0
EXPIRIES = {"": None, "7": 7 * _DAY_S, "30": 30 * _DAY_S, "90": 90 * _DAY_S, "365": 365 * _DAY_S}
LONGEST_LABEL = 100
PAGE = 25
_PAGE_NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class ShownKey:
    """A key in a list."""

    info: KeyInfo
    state: str
    current: bool


@dataclass(frozen=True, slots=True)
class KeyList:
    """One page of a user's keys; `page` counts from 1."""

    shown: list[ShownKey]
    page: int
    pages: int


class KeysPage:
    """Answers `/dashboard/keys`."""

    def __init__(self, ledger: Ledger, administer: Administer) -> None:
        self._ledger = ledger
        self._administer = administer

    def places(self) -> tuple[Place, ...]:
        """Return the addresses."""
        return (
            Place("GET", "/keys", self.show),
            Place("POST", "/keys", self.create),
            Place("POST", "/keys/{key}/revoke", self.revoke),
        )

    async def show(self, visit: Visit) -> Reply:
        """Show them."""
        return await self._page(visit, None)

    async def create(self, visit: Visit) -> Reply:
        """Make one and show it, this once."""
        label, expires = read_new_key(visit)
        made = await self._administer.add_key(
            actor_of(visit), visit.identity.user_id, label, expires
        )
        return await self._page(visit, made.key)

    async def revoke(self, visit: Visit) -> Reply:
        """Revoke one of the visitor's own."""
        key_id = visit.path["key"]
        known = await self._ledger.read(lambda conn: keys.get_key(conn, key_id))
        if known is None or known.user_id != visit.identity.user_id:
            raise Refused(problems.not_found("key"))
        await self._administer.revoke_key(actor_of(visit), key_id)
        return Redirect("/dashboard/keys")

    async def _page(self, visit: Visit, new_key: str | None) -> Reply:
        user_id = visit.identity.user_id
        found = await self._ledger.read(lambda conn: keys.list_keys(conn, user_id))
        return Page(
            "keys.html",
            {
                "keys": shown_keys(found, visit),
                "new_key": new_key,
                "here": "/dashboard/keys",
                "action": "/dashboard/keys",
            },
        )


def actor_of(visit: Visit) -> Actor:
    """Return the visitor as the audit names them."""
    return Actor(visit.identity.user_name, visit.client)


def read_new_key(visit: Visit) -> tuple[str, float | None]:
    """Return the label and the lifetime of a key that is asked for. Raises Refused: 422."""
    label = visit.form.get("label", "").strip()
    if len(label) > LONGEST_LABEL or not label.isprintable():
        fault = f"at most {LONGEST_LABEL} printable characters"
        raise Refused(problems.input_invalid("label", fault))
    expires = visit.form.get("expires", "")
    if expires not in EXPIRIES:
        raise Refused(problems.input_invalid("expires", "choose one of the list"))
    return label, EXPIRIES[expires]


def shown_keys(found: list[KeyInfo], visit: Visit) -> KeyList:
    """Return keys as they are listed: those that work first, the newest first."""
    current = visit.identity.key_id
    keys = [ShownKey(key, state_of(key, visit.now), key.id == current) for key in found]
    keys.sort(key=lambda key: (key.state != "active", -key.info.created_at))
    pages = max(1, -(-len(keys) // PAGE))
    asked = visit.query.get("page", "")
    page = min(pages, max(1, int(asked))) if _PAGE_NUMBER.fullmatch(asked) else 1
    return KeyList(keys[(page - 1) * PAGE : page * PAGE], page, pages)


def state_of(key: KeyInfo, now: float) -> str:
    """Say whether a key opens anything."""
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= now else "active"
