"""What the mirror says about a file: its key, its headers, what became of fetching it."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum

_UNTOLD_TYPE = "application/octet-stream"


def key_of(url: str) -> str:
    """Return the name under which the file of this upstream URL is kept (64 hex digits).

    A digest, because a URL can be longer than a file name and must never be able to name a path.
    """
    return hashlib.sha256(url.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class FileHeaders:
    """What upstream said about a file before its first byte; ``size`` in bytes, None if untold.

    ``ranges`` says whether its rest can be asked for alone, with the promise of equal bytes.
    """

    content_type: str
    size: int | None
    etag: str | None
    last_modified: str | None
    ranges: bool

    @classmethod
    def of(
        cls,
        content_type: str | None,
        size: int | None,
        etag: str | None,
        last_modified: str | None,
        *,
        ranges: bool,
    ) -> "FileHeaders":
        """Return the headers, with the type that HTTP assumes where upstream named none.

        Only a strong ETag promises equal bytes (RFC 9110, 8.8.1).
        """
        strong = etag is not None and etag.startswith('"')
        return cls(
            content_type=content_type or _UNTOLD_TYPE,
            size=size,
            etag=etag or None,
            last_modified=last_modified or None,
            ranges=ranges and strong,
        )

    def contradict(self, later: "FileHeaders") -> bool:
        """Return whether a later answer cannot be about the same bytes."""
        sizes_differ = None not in (self.size, later.size) and self.size != later.size
        etags_differ = None not in (self.etag, later.etag) and self.etag != later.etag
        return sizes_differ or etags_differ


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that is here to its last byte. ``etag`` is upstream's; times are Unix seconds."""

    key: str
    size: int
    content_type: str
    etag: str | None
    sha256: str
    last_modified: str | None
    stored_at: float

    def to_json(self) -> bytes:
        """Return the text of the sidecar that is kept beside the bytes."""
        return json.dumps(asdict(self), sort_keys=True).encode()

    @classmethod
    def from_json(cls, text: bytes) -> "StoredFile":
        """Read a sidecar; raises ValueError when it is not one."""
        found = json.loads(text)
        try:
            return cls(
                key=str(found["key"]),
                size=int(found["size"]),
                content_type=str(found["content_type"]),
                etag=_text(found["etag"]),
                sha256=str(found["sha256"]),
                last_modified=_text(found["last_modified"]),
                stored_at=float(found["stored_at"]),
            )
        except (KeyError, TypeError) as fault:
            raise ValueError("not the sidecar of a stored file") from fault


class NotKept(StrEnum):
    """Why a file that upstream has is not kept here."""

    TOO_LARGE = "too_large"
    NO_ROOM = "no_room"
    DISK_FAILED = "disk_failed"


@dataclass(frozen=True, slots=True)
class Unstored:
    """A file that is passed through without being kept; ``size`` in bytes, None if unknown."""

    reason: NotKept
    size: int | None


@dataclass(frozen=True, slots=True)
class Usage:
    """How much is stored: whole files and their bytes."""

    files: int
    bytes: int


class Problem(StrEnum):
    """What `verify` can find wrong with a file."""

    BYTES_MISSING = "bytes_missing"
    SIDECAR_MISSING = "sidecar_missing"
    SIZE_DIFFERS = "size_differs"
    DIGEST_DIFFERS = "digest_differs"


@dataclass(frozen=True, slots=True)
class Finding:
    """One file that `verify` looked at; ``problem`` is None when it is as it should be."""

    key: str
    problem: Problem | None
    file: StoredFile | None


@dataclass(frozen=True, slots=True)
class MirrorEvents:
    """What the mirror tells whoever counts.

    ``on_result``: how a fetch of this process ended: ``stored``, ``gone``, ``unreachable``,
    ``broken``, or a value of `NotKept`. ``on_bytes``: bytes that came from upstream to be kept.
    ``on_open``: whether the store had a file that a reader asked for.
    """

    on_result: Callable[[str], None] = lambda result: None
    on_bytes: Callable[[int], None] = lambda count: None
    on_open: Callable[[bool], None] = lambda held: None


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise TypeError(f"a text was expected, not {type(value).__name__}")
