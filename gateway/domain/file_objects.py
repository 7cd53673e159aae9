"""What the gateway reads in a file object of the API."""

from dataclasses import dataclass

from gateway.domain.documents import parse_time
from gateway.domain.foreign_json import load_foreign

UPLOAD_LIVES_S = 86_400.0
"""How long upstream keeps an upload when its file object does not say."""


class NotAFile(ValueError):
    """The document is not a file object."""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """A file object's facts; times are seconds since 1970, `size` is in bytes."""

    id: str
    name: str | None
    content_type: str | None
    size: int | None
    created_at: float | None
    expires_at: float | None
    url: str | None
    """Its `urls.get`, as upstream wrote it."""


def file_facts(body: bytes) -> FileFacts:
    """Read a file object. Raises NotAFile, and InvalidJson for what is not JSON."""
    document = load_foreign(body)
    if not isinstance(document, dict):
        raise NotAFile("not a JSON object")
    file_id = document.get("id")
    if not isinstance(file_id, str) or not file_id:
        raise NotAFile("it has no id")
    size = document.get("size")
    urls = document.get("urls")
    return FileFacts(
        id=file_id,
        name=_text(document.get("name")),
        content_type=_text(document.get("content_type")),
        size=size if isinstance(size, int) and not isinstance(size, bool) else None,
        created_at=_time(document.get("created_at")),
        expires_at=_time(document.get("expires_at")),
        url=_text(urls.get("get")) if isinstance(urls, dict) else None,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _time(value: object) -> float | None:
    return parse_time(value) if isinstance(value, str) else None
