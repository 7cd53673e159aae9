"""Logging: configured once, in two formats, with every secret masked.

Records of the gateway and of the libraries under it leave through one handler, whose formatters
mask what must not be read in a log: in messages, in exceptions with their tracebacks and in extra
fields alike. Whoever logs need not remember it.

A record carries the request and the user it belongs to, taken from the context that
:func:`bind_request` and :func:`bind_user` set. More facts are given as `extra={...}`: fields of
their own in the json format, `name=value` at the end of the line in the console one.
"""

import asyncio
import json
import logging
import math
import re
import sys
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TextIO

import orjson

LogFormat = Literal["console", "json"]

_request_id: ContextVar[str] = ContextVar("request_id", default="")
_user: ContextVar[str] = ContextVar("user", default="")

_MASK = "***"
# Of an access line these stand in its message, where people look; programs get them as fields too.
_SAID = frozenset({"method", "status"})
_SHORTEST_SECRET = 6  # anything shorter would blank out ordinary words

_QUERY_NAMES = (
    "x-amz-credential", "x-goog-credential", "signature", "sig", "token", "secret", "password",
    "api_key", "apikey", "awsaccesskeyid", "googleaccessid", "key-pair-id", "policy",
)  # fmt: skip
"""Parameters by which signed addresses are signed (S3's, Google's, Azure's), and passwords."""


_MOST_WAITING = 256

SAID_AGAIN_AFTER_S = 60.0
"""How long a line that any stranger can bring about is not repeated."""

_OWN_API = "/replicate"
"""What stands before the paths of our own API, whose ids are no secrets."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """One shape of secrets. Text without any of the lower-case `hints` cannot hold it.

    Nearly all lines hold no secret, and looking for words costs a twentieth of running expressions.
    """

    hints: tuple[str, ...]
    pattern: re.Pattern[str]
    replacement: str


_RULES = (
    # Whatever stands before them: people paste keys in the middle of words.
    _Rule(("hk-",), re.compile(r"hk-[A-Za-z0-9_-]{4,}"), "hk-" + _MASK),
    _Rule(("r8_",), re.compile(r"r8_[A-Za-z0-9_-]{4,}"), "r8_" + _MASK),
    _Rule(("whsec_",), re.compile(r"whsec_[A-Za-z0-9+/=_-]{4,}"), "whsec_" + _MASK),
    _Rule(
        ("authorization",),
        re.compile(r"(?i)\b(authorization[\"']?\s*[:=,]\s*b?[\"']?)(?:(\w+)\s+)?[^\s\"',;]+"),
        r"\1" + _MASK,
    ),
    _Rule(("bearer",), re.compile(r"(?i)\b(bearer)[\s:]+[^\s\"',;]+"), r"\1 " + _MASK),
    # A stream's address is the right to read it. Upstream's own API has paths of the same shape in
    # which the last part is no secret; they can be told by what stands before them.
    _Rule(
        ("/v1/streams/", "/v1/files/", "/v1/predictions/"),
        re.compile(
            rf"(?<!{_OWN_API})(?<!//api\.replicate\.com)"
            r"/v1/(streams|files|predictions)/[^\s/?#\"'<>]+"
        ),
        r"/v1/\1/" + _MASK,
    ),
    _Rule(
        ("=", "%3d"),  # few lines have one of them, and to look for every name is dear
        re.compile(rf"(?i)({'|'.join(_QUERY_NAMES)})(=|%3d)[^\s&\"'<>#,;)\]}}]+"),
        r"\1\2" + _MASK,
    ),
    # The password of a database address.
    _Rule(("@",), re.compile(r"(://[^/\s:@]*:)[^/\s@]+@"), r"\1" + _MASK + "@"),
)

_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {
    "message", "asctime", "request_id", "user", "color_message", "taskName", "fields",
}  # fmt: skip

_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(0x7F, 0xA0))} | {0x09: "\t"}
_CONTROL_IN_TRACEBACK = {code: text for code, text in _CONTROL.items() if code != 0x0A}


class Masker:
    """Takes secrets out of text.

    `secrets` are exact values to hide wherever they stand (the configured upstream token, webhook
    secrets); what can be told from its shape is hidden without being named.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        named = {secret for secret in secrets if len(secret) >= _SHORTEST_SECRET}
        # The longest first: one may be a part of another.
        self._secrets = tuple(sorted(named, key=len, reverse=True))

    def mask(self, text: str) -> str:
        """Return `text` with every secret replaced."""
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, _MASK)
        lower = text.lower()
        for rule in _RULES:
            for hint in rule.hints:
                if hint in lower and lower.count(hint) != lower.count(_OWN_API + hint):
                    text = rule.pattern.sub(rule.replacement, text)
                    break
        return text


def bind_request(request_id: str) -> None:
    """Let every record of the current context, and of tasks started in it, name this request.

    The name must be sane, since it is written as it is: one line, no secret.
    """
    _request_id.set(request_id)
    _user.set("")


def bind_user(user: str) -> None:
    """Let every record of the current context, and of tasks started in it, name this user."""
    _user.set(user)


def emit_fields(
    logger: logging.Logger, level: int, message: str, fields: Mapping[str, object]
) -> None:
    """Log one line with fields that need no masking, because the program itself chose them.

    For the line that every request writes: a third of the usual price. The message, in which the
    path stands, is masked like any other. Fields that are None or "" are left out.
    """
    if logger.isEnabledFor(level):
        record = logging.LogRecord(logger.name, level, "", 0, message, None, None)
        record.fields = fields
        logger.handle(record)


def configure(
    log_format: LogFormat,
    *,
    secrets: Iterable[str] = (),
    level: int = logging.INFO,
    stream: TextIO | None = None,
) -> None:
    """Send all logging of the process through one masking handler; can be called again.

    Writes to `stream`, by default the standard error output. The server's own access log is turned
    off, since the gateway writes one that knows routes and users.
    """
    target = stream or sys.stderr
    masker = Masker(secrets)
    formatter: logging.Formatter = (
        JsonFormatter(masker)
        if log_format == "json"
        else ConsoleFormatter(masker, colour=target.isatty())
    )
    handler = _Together(target)
    handler.setFormatter(formatter)
    handler.addFilter(_add_context)
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(True)
    # Not written by either formatter, and found out anew for every record.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    # A handler of their own would let their lines out unmasked.
    for name in ("uvicorn", "uvicorn.error", "uvicorn.asgi", "uvicorn.access"):
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
        library.setLevel(logging.NOTSET)
    logging.getLogger("uvicorn.access").disabled = True
    server = logging.getLogger("uvicorn.error")
    for old_filter in server.filters[:]:
        server.removeFilter(old_filter)
    server.addFilter(_ServerNoise())
    # Clients that narrate each request, with its address, at the level of ordinary news.
    for name in ("httpx", "httpcore", "alembic", "asyncio", "aiohttp.access"):
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


class _Together(logging.StreamHandler[TextIO]):
    """Writes what requests of one turn of the loop have to say with one call of the system.

    Only the line that every request writes waits, and no longer than until the loop is back; all
    else is written at once, after what waits, so that the order stays.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._waiting: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, or let it wait for the others of this turn."""
        try:
            line = self.format(record) + self.terminator
            first = not self._waiting
            self._waiting.append(line)
            loop = asyncio._get_running_loop() if hasattr(record, "fields") else None
            if loop is None or len(self._waiting) >= _MOST_WAITING:
                self.flush()
            elif first:
                loop.call_soon(self.flush)
        except Exception:  # noqa: BLE001 - what logging itself does: a log must not stop anybody
            self.handleError(record)

    def flush(self) -> None:
        """Write what waits; also called at the end of the process."""
        with self._held():
            if self._waiting:
                lines, self._waiting = "".join(self._waiting), []
                self.stream.write(lines)
            super().flush()

    def _held(self) -> AbstractContextManager[object]:
        return nullcontext() if self.lock is None else self.lock


class _ServerNoise(logging.Filter):
    """Keeps what anybody can make the server say from filling the log."""

    _NO_HTTP = "Invalid HTTP request received."
    _FAILED = "Exception in ASGI application"

    def __init__(self) -> None:
        super().__init__()
        self._said_at = -math.inf
        self._unsaid = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Say at most once a minute that something was no HTTP; one line of who was cut off."""
        if record.msg == self._NO_HTTP:
            if 0 <= record.created - self._said_at < SAID_AGAIN_AFTER_S:
                self._unsaid += 1
                return False
            if self._unsaid:
                record.msg += f" So were {self._unsaid} more since this was last said."
            self._said_at, self._unsaid = record.created, 0
        elif str(record.msg).startswith(self._FAILED) and record.exc_info:
            kind = record.exc_info[0]
            if kind is not None and issubclass(kind, asyncio.CancelledError):
                # The server gives up on requests that outlast its shutdown: no fault of theirs.
                record.msg = "a request was cut off: it outlasted the end of the gateway"
                record.levelno, record.levelname = logging.WARNING, "WARNING"
                record.exc_info = record.exc_text = None
        return True


class ConsoleFormatter(logging.Formatter):
    """One readable line a record; the traceback below it."""

    _COLOURS: Mapping[int, str] = {
        logging.DEBUG: "\x1b[2m",
        logging.WARNING: "\x1b[33m",
        logging.ERROR: "\x1b[31m",
        logging.CRITICAL: "\x1b[31;1m",
    }

    def __init__(self, masker: Masker, *, colour: bool) -> None:
        super().__init__()
        self._masker = masker
        self._colour = colour
        self._second = -1
        self._second_text = ""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text, masked; control characters cannot forge a second line."""
        if (second := int(record.created)) != self._second:
            self._second = second
            self._second_text = f"{datetime.fromtimestamp(second).astimezone():%H:%M:%S}"
        head = f"{self._second_text}.{int(record.msecs):03d} {record.levelname:<7} "
        head += f"{record.name.removeprefix('gateway.')} "
        trusted: Mapping[str, object] | None = getattr(record, "fields", None)
        said = record.getMessage()
        if trusted is None:
            fields = _extra(record)
            said = " ".join((said, *(f"{name}={value}" for name, value in fields.items())))
        said = self._masker.mask(said)
        line = head + (said if said.isprintable() else said.translate(_CONTROL))
        if trusted is not None:
            for name, value in trusted.items():
                if value is None or value == "" or name in _SAID:
                    continue
                if name == "route" and f" {value} " in said:
                    continue  # an address without parts that vary is its own route
                line += f" {name}={value}"
        for name in ("user", "request_id"):
            if value := getattr(record, name, ""):
                line += f" {name}={value}"
        if self._colour and (colour := self._COLOURS.get(record.levelno)):
            line = f"{colour}{line}\x1b[0m"
        for block in _tracebacks(self, record):
            line += "\n" + self._masker.mask(block).translate(_CONTROL_IN_TRACEBACK)
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object a line, for collectors."""

    def __init__(self, masker: Masker) -> None:
        super().__init__()
        self._masker = masker
        self._second = -1
        self._second_text = ""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one JSON object, each text in it masked."""
        mask = self._masker.mask
        if (second := int(record.created)) != self._second:
            self._second = second
            self._second_text = f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}"
        fields: dict[str, object] = {
            "time": f"{self._second_text}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": mask(record.getMessage()),
        }
        for name in ("request_id", "user"):
            if value := getattr(record, name, ""):
                fields[name] = value
        trusted: Mapping[str, object] | None = getattr(record, "fields", None)
        if trusted is not None:
            fields |= {name: v for name, v in trusted.items() if v is not None and v != ""}
        else:
            for name, value in _extra(record).items():
                plain = isinstance(value, bool | int | float)
                fields.setdefault(name, value if plain else mask(str(value)))
        if blocks := _tracebacks(self, record):
            fields["exception"] = mask("\n".join(blocks))
        try:
            return orjson.dumps(fields).decode()
        except TypeError:  # half a surrogate pair, or a number beyond 64 bits
            return json.dumps(fields)


def _add_context(record: logging.LogRecord) -> bool:
    """Put the context's request and user on the record, unless its author named them."""
    if not hasattr(record, "request_id"):
        record.request_id = _request_id.get()
    if not hasattr(record, "user"):
        record.user = _user.get()
    return True


def _extra(record: logging.LogRecord) -> dict[str, object]:
    return {
        name: value
        for name, value in vars(record).items()
        if name not in _STANDARD_FIELDS and value is not None and value != ""
    }


def _tracebacks(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    blocks = []
    if record.exc_info:
        blocks.append(formatter.formatException(record.exc_info))
    elif record.exc_text:
        blocks.append(record.exc_text)
    if record.stack_info:
        blocks.append(record.stack_info)
    return blocks
