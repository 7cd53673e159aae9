"""A name for a create's input, by which a lost one is recognised in the account's list."""

import hashlib
import json

from gateway.domain.json_text import load


def input_digest(document: bytes) -> str:
    """Return a digest of the document's `input` by value: spelling, order and spaces do not count.

    Numbers are compared as written values, so 1 and 1.0 are the same; "" for a document without an
    input.
    """
    body = load(document)
    given = body.get("input") if isinstance(body, dict) else None
    if given is None:
        return ""
    text = json.dumps(_plain(given), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
