"""Looks for the account's token and the users' keys in all that a gateway of a test leaves behind.

Every gateway that the tests start has a :class:`Canary`. It knows the account's token, which is
unlike anything else, and the keys that were made; keys that it was not told of it recognises by
their checksum. When the gateway ends, all that it answered, logged, counted, stored or sent has
been looked through, and its test fails if a secret is found where it does not belong.
"""

import base64
import logging
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import httpx
from sqlalchemy import MetaData, create_engine, select

from gateway.domain.keys import well_formed

TOKEN = "r8_CanaryOfTheAccount7Zq9Xw3Vt5Rs1Pn"
"""What the simulated account opens with, unless a test says otherwise."""

MAKES_KEYS = re.compile(r"POST (/admin/v1|/dashboard|/dashboard/team/[^/]+)/keys")
"""Whose answers show a key, once: the one that was made."""

_KEY = re.compile(rb"hk-[0-9A-Za-z]{43}")
_OVERLAP = 64
"""Bytes of a piece that are looked at again with the next: a secret may be cut in two."""
_MOST_IN_ALL_FORMS = 8
"""So many keys of a gateway are looked for in every form; the rest of a crowd as they are."""
_PIECE = 1 << 24


def forms(secret: str) -> list[bytes]:
    """Return what would give a secret away: a good part of it, plain or as base64."""
    core = secret.removeprefix("hk-").removeprefix("r8_")
    if len(core) < 24:
        raise ValueError(f"a secret that is looked for everywhere must be longer than {core!r}")
    plain = [part.encode() for part in (core[:16], core[-16:], core[8:24])]
    # Whatever stands before it, one of three shifts of the base64 text occurs.
    coded = [base64.b64encode(b" " * shift + core.encode())[4:24] for shift in range(3)]
    return plain + coded


def given_away(content: bytes, secrets: Mapping[str, str]) -> list[str]:
    """Return the names of the secrets that stand in some bytes."""
    return [
        name for name, secret in secrets.items() if any(form in content for form in forms(secret))
    ]


def keys_in(content: bytes) -> list[str]:
    """Return the keys in some bytes, known or not: no other text has their checksum."""
    if b"hk-" not in content:
        return []
    found = (match[0].decode() for match in _KEY.finditer(content))
    return [key for key in found if well_formed(key)]


class UpstreamRequest(Protocol):
    """What the simulated Replicate remembers of a request."""

    @property
    def origin(self) -> str: ...
    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def query(self) -> str: ...
    @property
    def headers(self) -> tuple[tuple[str, str], ...]: ...
    @property
    def body(self) -> bytes: ...


class Canary:
    """What one gateway must not show, and where it was found all the same."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.leaks: list[str] = []
        self.looked = 0
        """Bytes that were looked through."""
        self._forms: list[tuple[str, bytes]] = [("the token", form) for form in forms(token)]
        self._known: set[str] = set()

    def know(self, key: str) -> None:
        """Look for this key from now on."""
        if key in self._known:
            return
        self._known.add(key)
        told = forms(key) if len(self._known) <= _MOST_IN_ALL_FORMS else [key[3:].encode()]
        self._forms += [(f"key {len(self._known)}", form) for form in told]

    def look(self, where: str, content: bytes) -> None:
        """Note which secrets stand in some bytes."""
        self.looked += len(content)
        found = {name for name, form in self._forms if form in content}
        if not found and keys_in(content):
            found = {"a key"}
        self.leaks += [f"{name} in {where}" for name in sorted(found)]

    def look_at_folder(self, folder: Path) -> None:
        """Look at the names and the bytes of everything below a folder."""
        names = []
        for path in folder.rglob("*"):
            names.append(str(path.relative_to(folder)))
            try:
                with path.open("rb") as file:
                    tail = b""
                    while piece := file.read(_PIECE):
                        self.look(f"the file {names[-1]}", tail + piece)
                        tail = piece[-_OVERLAP:]
            except (FileNotFoundError, IsADirectoryError, OSError):
                continue  # a folder, a socket, or it was only there for a moment
        self.look("the name of a file", "\n".join(names).encode())

    def look_at_database(self, url: str) -> None:
        """Look at every value of a database that is not in the gateway's folder."""
        engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1))
        with engine.connect() as connection:
            tables = MetaData()
            tables.reflect(connection)
            for table in tables.sorted_tables:
                for row in connection.execute(select(table)):
                    values = [v if isinstance(v, bytes) else str(v).encode() for v in row]
                    self.look(f"a row of {table.name}", b"\0".join(values))
        engine.dispose()

    def look_at_upstream(self, requests: Iterable[UpstreamRequest]) -> None:
        """Look at what arrived upstream: no keys at all, and the token where it opens the API."""
        pieces: dict[str, list[bytes]] = {}
        for one in requests:
            headers = [
                f"{name}: {value}"
                for name, value in one.headers
                if (one.origin, name, value) != ("api", "authorization", f"Bearer {self.token}")
            ]
            text = "\n".join([f"{one.method} {one.path}?{one.query}", *headers])
            pieces.setdefault(one.origin, []).extend((text.encode(), one.body))
        for origin, contents in pieces.items():
            self.look(f"a request to upstream's {origin}", b"\0".join(contents))

    def allow_answer(self, method: str, path: str, content: bytes) -> bool:
        """Return whether this answer shows a new key to its maker; it is a secret from then on."""
        if MAKES_KEYS.fullmatch(f"{method} {path}") is None:
            return False
        for key in keys_in(content):
            self.know(key)
        return True

    def check(self) -> None:
        """Fail if anything was found."""
        assert not self.leaks, f"secrets were given away: {'; '.join(self.leaks[:20])}"


class AnswerLooker:
    """Looks through one answer as it passes."""

    def __init__(self, canary: Canary, method: str, path: str) -> None:
        self._canary = canary
        self._request = (method, path)
        self._tail = b""
        self._unpack: Any = None  # zlib's own type has no name

    def head(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Look at the headers."""
        told = list(headers)
        if any(n.lower() == b"content-encoding" and v == b"gzip" for n, v in told):
            self._unpack = zlib.decompressobj(wbits=31)
        self._look(b"\n".join(b": ".join(pair) for pair in told))

    def body(self, piece: bytes) -> None:
        """Look at a part of the body."""
        if self._unpack is not None:
            piece = self._unpack.decompress(piece)
        if piece:
            self._look(self._tail + piece)
            self._tail = piece[-_OVERLAP:]

    def _look(self, content: bytes) -> None:
        if not self._canary.allow_answer(*self._request, content):
            method, path = self._request
            self._canary.look(f"the answer to {method} {path[:100]}", content)


class LookingTransport(httpx.BaseTransport):
    """A client's transport that looks through every answer, streams included, as it is read."""

    def __init__(self, inner: httpx.BaseTransport, canary: Canary) -> None:
        self._inner = inner
        self._canary = canary

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._inner.handle_request(request)
        looker = AnswerLooker(self._canary, request.method, request.url.path)
        looker.head(answer.headers.raw)
        assert isinstance(answer.stream, httpx.SyncByteStream)
        answer.stream = _Looked(answer.stream, looker)
        return answer

    def close(self) -> None:
        self._inner.close()


class _Looked(httpx.SyncByteStream):
    def __init__(self, inner: httpx.SyncByteStream, looker: AnswerLooker) -> None:
        self._inner = inner
        self._looker = looker

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._inner:
            self._looker.body(piece)
            yield piece

    def close(self) -> None:
        self._inner.close()


def looking(client: httpx.Client, canary: Canary) -> httpx.Client:
    """Let everything that a client is answered be looked through."""
    # Not given to the client's constructor: it would then ignore what it is told of TLS and limits.
    client._transport = LookingTransport(client._transport, canary)
    return client


class LoggedLines(logging.Handler):
    """Keeps what a gateway in this process logs, as its own log would have it: masked."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__(logging.INFO)
        self.setFormatter(formatter)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@contextmanager
def logged_lines(formatter: logging.Formatter) -> Iterator[LoggedLines]:
    """Keep the lines of this process's log until the block ends, ordinary news included."""
    kept = LoggedLines(formatter)
    ours, root = logging.getLogger("gateway"), logging.getLogger()
    level = ours.level
    ours.setLevel(logging.INFO)
    root.addHandler(kept)
    try:
        yield kept
    finally:
        root.removeHandler(kept)
        ours.setLevel(level)
