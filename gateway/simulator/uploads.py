"""Files that the account uploads as inputs: kept on disk for a day, with their digests."""

import hashlib
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import orjson
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from gateway.simulator.documents import iso_micros
from gateway.simulator.wire import Json, JsonObject

_METADATA_BYTES = 64 * 1024


class UploadTooLarge(Exception):
    """The content exceeds what one file may have."""


class UploadRefused(Exception):
    """The form is not what the operation takes; the message says why."""


@dataclass(frozen=True, slots=True)
class Upload:
    """One uploaded file."""

    id: str
    number: int
    name: str
    content_type: str
    size: int
    md5: str
    sha256: str
    metadata: JsonObject
    created_at: float
    expires_at: float
    path: Path

    def as_json(self, url: str) -> JsonObject:
        """Return the file object of the API."""
        return {
            "id": self.id,
            "name": self.name,
            "content_type": self.content_type,
            "size": self.size,
            "etag": self.md5,
            "checksums": {"sha256": self.sha256, "md5": self.md5},
            "metadata": self.metadata,
            "created_at": iso_micros(self.created_at),
            "expires_at": iso_micros(self.expires_at),
            "urls": {"get": url},
        }


class _Part:
    """One part of the form while it arrives."""

    def __init__(self) -> None:
        self.field = b""
        self.value = b""
        self.headers: dict[str, bytes] = {}
        self.name = ""
        self.filename: str | None = None

    def end_header(self) -> None:
        self.headers[self.field.decode("latin-1").lower()] = self.value
        self.field = self.value = b""

    def end_headers(self) -> None:
        _, options = parse_options_header(self.headers.get("content-disposition", b""))
        self.name = options.get(b"name", b"").decode("utf-8", "replace")
        if b"filename" in options:
            self.filename = options[b"filename"].decode("utf-8", "replace")

    @property
    def content_type(self) -> str | None:
        value = self.headers.get("content-type")
        return value.decode("latin-1") if value is not None else None


@dataclass(slots=True)
class _Form:
    """Receives the parser's events: the content goes to disk, small fields stay in memory."""

    target: BinaryIO
    limit: int
    size: int = 0
    part: _Part = field(default_factory=_Part)
    content: _Part | None = None
    fields: dict[str, bytes] = field(default_factory=dict)
    # The service names files by MD5 too; it protects nothing here.
    md5: "hashlib._Hash" = field(default_factory=lambda: hashlib.md5(usedforsecurity=False))
    sha256: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def begin(self) -> None:
        self.part = _Part()

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self.part.field += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self.part.value += data[start:end]

    def headers_finished(self) -> None:
        self.part.end_headers()
        if self.part.name == "content":
            self.content = self.part

    def data(self, data: bytes, start: int, end: int) -> None:
        piece = data[start:end]
        if self.part.name == "content":
            self.size += len(piece)
            if self.size > self.limit:
                raise UploadTooLarge
            self.md5.update(piece)
            self.sha256.update(piece)
            self.target.write(piece)
            return
        value = self.fields.get(self.part.name, b"") + piece
        if len(value) > _METADATA_BYTES:
            raise UploadRefused(f"{self.part.name} is too long")
        self.fields[self.part.name] = value


class UploadStore:
    """The account's uploaded files, in a folder that is deleted with the simulation."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="simulated-uploads-")
        self._by_id: dict[str, Upload] = {}
        self._count = 0

    def close(self) -> None:
        """Delete everything."""
        self._by_id.clear()
        self._folder.cleanup()

    def remove(self, upload: Upload) -> None:
        """Delete one file."""
        self._by_id.pop(upload.id, None)
        upload.path.unlink(missing_ok=True)

    def get(self, wanted: str, now: float) -> Upload | None:
        """Return a file unless its day is over."""
        upload = self._by_id.get(wanted)
        if upload is not None and upload.expires_at <= now:
            self.remove(upload)
            return None
        return upload

    def in_order(self, now: float) -> list[Upload]:
        """Return the living files, oldest first."""
        return [upload for upload in list(self._by_id.values()) if self.get(upload.id, now)]

    async def receive(
        self,
        chunks: AsyncIterator[bytes],
        content_type: str,
        *,
        new_id: str,
        limit: int,
        now: float,
        ttl_s: float,
    ) -> Upload:
        """Store a multipart body as it arrives.

        Raises UploadTooLarge, UploadRefused, and what the chunks raise.
        """
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or boundary is None:
            raise UploadRefused("Content-Type must be multipart/form-data")
        path = Path(self._folder.name) / new_id
        try:
            with path.open("wb") as target:
                form = await _parse(chunks, boundary, _Form(target, limit))
            upload = self._accept(form, path, new_id, now, ttl_s)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        self._by_id[upload.id] = upload
        return upload

    def _accept(self, form: _Form, path: Path, new_id: str, now: float, ttl_s: float) -> Upload:
        if form.content is None:
            raise UploadRefused("Missing content")
        name = form.fields.get("filename", b"").decode("utf-8", "replace") or form.content.filename
        if not name or len(name.encode()) > 255:
            raise UploadRefused("Missing filename" if not name else "Filename is too long")
        given = form.fields.get("type", b"").decode("latin-1") or form.content.content_type
        self._count += 1
        return Upload(
            id=new_id,
            number=self._count,
            name=name,
            content_type=given or "application/octet-stream",
            size=form.size,
            md5=form.md5.hexdigest(),
            sha256=form.sha256.hexdigest(),
            metadata=_metadata(form.fields.get("metadata", b"{}")),
            created_at=now,
            expires_at=now + ttl_s,
            path=path,
        )


def _metadata(text: bytes) -> JsonObject:
    try:
        value: Json = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise UploadRefused("metadata must be valid JSON") from error
    if not isinstance(value, dict):
        raise UploadRefused("metadata must be a JSON object")
    return value


async def _parse(chunks: AsyncIterator[bytes], boundary: bytes, form: _Form) -> _Form:
    ended = False

    def end() -> None:
        nonlocal ended
        ended = True

    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": form.begin,
            "on_header_field": form.header_field,
            "on_header_value": form.header_value,
            "on_header_end": lambda: form.part.end_header(),
            "on_headers_finished": form.headers_finished,
            "on_part_data": form.data,
            "on_end": end,
        },
    )
    try:
        async for chunk in chunks:
            parser.write(chunk)
    except FormParserError as error:
        raise UploadRefused(f"malformed multipart body: {error}") from error
    if not ended:
        raise UploadRefused("the multipart body is not complete")
    return form
