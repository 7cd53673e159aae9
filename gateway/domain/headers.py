"""Which headers pass between clients and upstream, and what a few of them say.

Both directions are lists of what is let through, never of what is held back: a header that nobody
thought of (a cookie, a key, the account's rate limits) stays on its side. Names are bytes in lower
case, as ASGI has them.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gateway.domain.keys import address_holds_key

Header = tuple[bytes, bytes]

TO_UPSTREAM: Final = frozenset({b"accept", b"cancel-after", b"content-type"})
"""Of a client's request. ``Prefer`` goes up too, less the time spent: ``remaining_wait``."""

READ_TO_UPSTREAM: Final = TO_UPSTREAM | {b"if-modified-since", b"if-none-match"}
"""Of a read whose answer is passed on unread: it may come back as 304."""

FILE_TO_UPSTREAM: Final = READ_TO_UPSTREAM | {b"range", b"if-range"}
"""Of a request for the bytes of an uploaded file."""

TO_CLIENT: Final = frozenset(
    {
        b"age",
        b"cache-control",
        b"content-language",
        b"content-type",
        b"etag",
        b"expires",
        b"last-modified",
        b"preference-applied",
        b"vary",
    }
)
"""Of upstream's answer. Length and coding are the server's to say: the body was decoded."""

VALIDATORS: Final = frozenset({b"etag", b"last-modified"})
"""What holds only for upstream's own bytes: left out when the body was rewritten."""

FILE_TO_CLIENT: Final = TO_CLIENT | {
    b"accept-ranges",
    b"content-disposition",
    b"content-length",
    b"content-range",
}
"""Of upstream's answer with the bytes of a file that pass through as they are."""

MAX_WAIT_S: Final = 60
_DELAY_FORGIVEN_S: Final = 0.1
"""So much may be spent here before a waiting time loses a second: official clients allow half a
second beyond it, and a ``wait=1`` that lost a second each time would never be honoured."""

_WAIT: Final = re.compile(r'\s*wait\s*(?:=\s*"?\s*([0-9]{1,9})\s*"?\s*)?(?:;.*)?', re.IGNORECASE)
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:+/=@-]{1,128}")
_VISIBLE: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")


@dataclass(frozen=True, slots=True)
class Wait:
    """``Prefer: wait=n``: the client wants the answer held back for up to so many seconds."""

    seconds: int


def pass_headers(headers: Iterable[Header], allowed: frozenset[bytes]) -> list[Header]:
    """Those of ``headers`` whose names are allowed, names in lower case, in order.

    One that a key of the gateway stands in stays on its side.
    """
    return [
        (name.lower(), value)
        for name, value in headers
        if name.lower() in allowed
        and _VISIBLE.fullmatch(value)
        and not (b"hk-" in value and address_holds_key(value.decode("latin-1")))
    ]


def as_text(headers: Iterable[Header]) -> list[tuple[str, str]]:
    """The same headers as text, byte for byte a character."""
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]


def request_headers(
    headers: Iterable[Header], wait: Wait | None = None, spent_s: float = 0.0
) -> list[Header]:
    """What upstream gets of a client's headers: the allowed ones, and what is left of its wait."""
    result = pass_headers(headers, TO_UPSTREAM)
    prefer = remaining_wait(wait, spent_s)
    if prefer is not None:
        result.append((b"prefer", prefer.encode()))
    return result


def response_headers(headers: Iterable[Header], *, rewritten: bool) -> list[Header]:
    """What the client gets of upstream's headers; ``rewritten`` if the body is not upstream's."""
    return pass_headers(headers, TO_CLIENT - VALIDATORS if rewritten else TO_CLIENT)


def parse_prefer(value: str | None) -> Wait | None:
    """The wait that a ``Prefer`` header asks for; ``None`` without one or if it makes no sense.

    ``wait`` alone is a minute, more than a minute is a minute. Several headers of that name may be
    given joined with commas. The first ``wait`` counts (RFC 7240).
    """
    for preference in (value or "").split(","):
        match = _WAIT.fullmatch(preference)
        if match is not None:
            seconds = MAX_WAIT_S if match[1] is None else min(int(match[1]), MAX_WAIT_S)
            return Wait(seconds) if seconds else None
    return None


def remaining_wait(wait: Wait | None, spent_s: float) -> str | None:
    """The ``Prefer`` value for upstream after ``spent_s`` here; ``None`` under a second.

    Upstream takes whole seconds from 1 to 60.
    """
    if wait is None:
        return None
    left = int(wait.seconds - spent_s + _DELAY_FORGIVEN_S)
    return f"wait={min(left, wait.seconds)}" if left >= 1 else None


def sane_request_id(value: str | None) -> str | None:
    """A client's ``X-Request-Id`` if it can be repeated in answers and logs, else ``None``."""
    return value if value is not None and _REQUEST_ID.fullmatch(value) else None
