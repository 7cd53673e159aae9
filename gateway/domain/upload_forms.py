"""The form that an upload comes in, looked through on its way for a key that would be given away.

The file itself is the caller's own affair and is not looked at. What stands around it is: names of
files, and the other fields, as ``metadata``. Upstream keeps them with the file, and so does the
ledger.
"""

from typing import Final
from urllib.parse import unquote

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from gateway.domain.json_text import InvalidJson, parse_object
from gateway.domain.keys import field_with_key, holds_key

__all__ = ["FormKeys"]

_FILE: Final = "content"
"""The field with the file in it, as Replicate's ``files.create`` names it."""

_LONGEST: Final = 65_536
"""Bytes of a field that are held at a time. Longer ones are looked through piece by piece."""

_OVERLAP: Final = 256
"""Bytes that are looked at again with the next piece, more than a percent-encoded key has."""


class FormKeys:
    """Tells where in a multipart form a key stands, as soon as it is seen.

    A form that cannot be read, by its ``content_type`` or by itself, is not looked through any
    further: upstream refuses those.
    """

    def __init__(self, content_type: str) -> None:
        self.found: str | None = None
        """The field with a key in its value, its file's name or its head; None if there is none."""
        self._name = ""
        self._head = bytearray()
        self._field = bytearray()
        self._parser: MultipartParser | None = None
        kind, options = parse_options_header(content_type.encode("latin-1", "replace"))
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            return
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._add_to_head,
                    "on_header_value": self._header_value,
                    "on_header_end": self._end_header,
                    "on_part_data": self._data,
                    "on_part_end": self._end,
                    "on_end": self._stop,
                },
            )
        except FormParserError:
            return

    def write(self, chunk: bytes) -> str | None:
        """Look through the next bytes and return :attr:`found`."""
        if self._parser is not None:
            try:
                self._parser.write(chunk)
            except FormParserError:
                self._parser = None
        return self.found

    def _begin(self) -> None:
        self._name = ""
        self._field.clear()

    def _add_to_head(self, data: bytes, start: int, end: int) -> None:
        self._head += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        if b"\n" not in self._head:
            self._head += b"\n"
        self._head += data[start:end]

    def _end_header(self) -> None:
        name, _, value = bytes(self._head).partition(b"\n")
        self._head.clear()
        if name.lower() == b"content-disposition":
            _, options = parse_options_header(value)
            self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._look(name + b":" + value)

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._name == _FILE:
            return
        self._field += data[start:end]
        if len(self._field) > _LONGEST:
            self._look(bytes(self._field))
            del self._field[:-_OVERLAP]

    def _end(self) -> None:
        if self._field:
            self._look(bytes(self._field))
            self._field.clear()

    def _stop(self) -> None:
        self._parser = None

    def _look(self, value: bytes) -> None:
        if self.found is not None:
            return
        text = value.decode("latin-1")
        field = self._name if holds_key(text) or holds_key(unquote(text)) else None
        if field is None and b"\\u" in value:
            try:
                field = field_with_key(parse_object(value), self._name)
            except InvalidJson:
                return
        if field is not None:
            # The field's own name may be what the key stands in.
            self.found = "body" if not field or holds_key(unquote(field)) else field
