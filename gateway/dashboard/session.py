"""Sessions of the usage page: a signed cookie that names the key which opened it.

The cookie says which key it belongs to, and the key is looked up again on every request: so a
session ends with its key, on every worker, at once. Only sessions that were signed out of are
stored, so that no copy of a cookie outlives that.
"""

import hmac
import re
from dataclasses import dataclass
from functools import partial

from starlette.types import Scope

from gateway.clock import Clock
from gateway.ledger import Ledger
from gateway.ledger.sessions import end, ended
from gateway.web.request_facts import header

COOKIE = "gateway_session"

LIFETIME_S = 12 * 3600.0
"""How long a session lasts without a visit."""

RENEW_AFTER_S = 3600.0

_TOKEN = re.compile(r"([0-9a-z]{1,64})\.([0-9a-z]{1,64})\.([0-9]{1,12})\.([0-9a-f]{64})")
_MOST_ADDRESSES = 10_000


@dataclass(frozen=True, slots=True)
class Session:
    """One session: the key that opened it, a name of its own, when its cookie was made."""

    key_id: str
    name: str
    issued_at: float


class Sessions:
    """Makes and checks cookies and form tokens with a secret that all workers share."""

    def __init__(self, secret: bytes, ledger: Ledger, clock: Clock) -> None:
        self._secret = secret
        self._ledger = ledger
        self._clock = clock

    def begin(self, key_id: str) -> Session:
        """Begin a session for a key."""
        return Session(key_id, self._clock.new_id(), self._clock.now())

    def renewed(self, session: Session) -> Session | None:
        """Return the session with a younger cookie, None while the one it has is young."""
        now = self._clock.now()
        if now - session.issued_at < RENEW_AFTER_S:
            return None
        return Session(session.key_id, session.name, now)

    async def current(self, scope: Scope) -> Session | None:
        """Return the session of a request's cookie, unless it was ended.

        Raises LedgerUnavailable.
        """
        session = self.read(scope)
        if session is None or await self._ledger.read(partial(ended, name=session.name)):
            return None
        return session

    async def end(self, session: Session) -> None:
        """End a session: no copy of its cookie opens anything from now on."""
        now = self._clock.now()
        work = partial(end, name=session.name, now=now, forget_before=now - LIFETIME_S)
        await self._ledger.write(work)

    def seal(self, session: Session) -> str:
        """Return the cookie's value."""
        text = f"{session.key_id}.{session.name}.{int(session.issued_at)}"
        return f"{text}.{self._mac('session', text)}"

    def read(self, scope: Scope) -> Session | None:
        """Return the session that a request's cookie names, None if it has none that is good."""
        for value in _cookies(scope):
            found = _TOKEN.fullmatch(value)
            if found is None:
                continue
            text = value.rpartition(".")[0]
            if not hmac.compare_digest(found[4], self._mac("session", text)):
                continue
            issued_at = float(found[3])
            if self._clock.now() - issued_at < LIFETIME_S:
                return Session(found[1], found[2], issued_at)
        return None

    def form_token(self, session: Session) -> str:
        """Return what every form of this session must send."""
        return self._mac("form", f"{session.key_id}.{session.name}")[:40]

    def form_is_ours(self, session: Session, token: str) -> bool:
        """Whether a form came from a page of this session."""
        return hmac.compare_digest(token.encode(), self.form_token(session).encode())

    def _mac(self, purpose: str, text: str) -> str:
        return hmac.digest(self._secret, f"{purpose}\n{text}".encode(), "sha256").hex()


def set_cookie(value: str, *, secure: bool) -> tuple[str, str]:
    """Return the header that keeps a session; it goes with every request of this origin only."""
    return _cookie(value, int(LIFETIME_S), secure=secure)


def drop_cookie(*, secure: bool) -> tuple[str, str]:
    """Return the header that ends a session."""
    return _cookie("", 0, secure=secure)


def _cookie(value: str, max_age: int, *, secure: bool) -> tuple[str, str]:
    # On "/", because mirrored files may need the session too.
    text = f"{COOKIE}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Strict"
    return "set-cookie", f"{text}; Secure" if secure else text


def has_cookie(scope: Scope) -> bool:
    """Whether a request carries a session's cookie, good or not."""
    return bool(_cookies(scope))


def _cookies(scope: Scope) -> list[str]:
    text = header(scope, b"cookie") or ""
    pairs = (pair.strip().partition("=") for pair in text.split(";"))
    return [value for name, _, value in pairs if name == COOKIE]


class Attempts:
    """How often an address may try keys that are none."""

    def __init__(self, clock: Clock, most: int = 10, window_s: float = 60.0) -> None:
        self._clock = clock
        self._most = most
        self._window_s = window_s
        self._failed: dict[str, list[float]] = {}

    def wait_s(self, address: str) -> int:
        """Return for how many seconds this address must not try again, 0 if it may."""
        recent = self._recent(address)
        if len(recent) < self._most:
            return 0
        return max(1, int(recent[-self._most] + self._window_s - self._clock.monotonic()) + 1)

    def failed(self, address: str) -> None:
        """Count a failure."""
        recent = [*self._recent(address), self._clock.monotonic()]
        if len(self._failed) >= _MOST_ADDRESSES:
            self._failed.pop(next(iter(self._failed)))
        self._failed[address] = recent[-self._most :]

    def _recent(self, address: str) -> list[float]:
        since = self._clock.monotonic() - self._window_s
        recent = [at for at in self._failed.pop(address, []) if at > since]
        if recent:
            self._failed[address] = recent
        return recent
