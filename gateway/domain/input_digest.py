"""Names for a create's input, by which a lost one is recognised in the account's list."""

import hashlib
import json
from typing import Final

from gateway.domain.foreign_json import load_foreign

_ADDRESSES: Final = ("data:", "http:", "https:")


def input_digest(document: bytes) -> str:
    """Return a digest of the document's `input` by value: spelling, order and spaces do not count.

    Numbers are compared as written values, so 1 and 1.0 are the same; "" for a document without an
    input.
    """
    return _digest(document, addresses=True)


def input_outline(document: bytes) -> str:
    """Return a digest of the document's `input` in which it does not count what addresses say.

    Upstream keeps large ``data:`` URIs as files, and shows their addresses instead. So inputs of
    one outline and two digests may be equal, or may not: nobody can tell.
    """
    return _digest(document, addresses=False)


def _digest(document: bytes, *, addresses: bool) -> str:
    body = load_foreign(document)
    given = body.get("input") if isinstance(body, dict) else None
    if given is None:
        return ""
    plain = _plain(given, addresses=addresses)
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: object, *, addresses: bool) -> object:
    if isinstance(value, dict):
        return {str(key): _plain(item, addresses=addresses) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, addresses=addresses) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and not addresses and value[:6].lower().startswith(_ADDRESSES):
        return "an address"
    return value
