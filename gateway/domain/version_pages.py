"""Which versions a page of upstream's shows, and whose they are.

Rules on models' names must hold for creates that name nothing but a version's id, so every page
that passes through is read for what it says about versions.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from gateway.domain.foreign_json import load_foreign
from gateway.domain.json_text import InvalidJson

# Ids such as "hidden" stand for many models' versions and tell nothing.
_VERSION_ID: Final = re.compile(r"[0-9a-f]{64}", re.IGNORECASE)

LEARNT_FROM: Final = frozenset(
    {
        "collections.get",
        "deployments.create",
        "deployments.get",
        "deployments.list",
        "deployments.update",
        "models.create",
        "models.get",
        "models.list",
        "models.search",
        "models.update",
        "models.versions.get",
        "models.versions.list",
        "search",
    }
)
"""The operations whose answers show versions."""


def versions_in(body: bytes, operation: str, model: str | None = None) -> Mapping[str, str]:
    """Return the version ids on an operation's page, each with its model's name in lower case.

    `model` is the ``owner/name`` that the request's own path names.
    """
    if operation not in LEARNT_FROM:
        return {}
    try:
        page = load_foreign(body)
    except InvalidJson:
        return {}
    found = {}
    for version, owner in _pairs(page, operation, model):
        if isinstance(version, str) and _VERSION_ID.fullmatch(version) and owner is not None:
            found[version.lower()] = owner.lower()
    return found


def _pairs(page: object, operation: str, model: str | None) -> Iterator[tuple[object, str | None]]:
    if operation == "models.versions.get":
        yield _member(page, "id"), model
    elif operation == "models.versions.list":
        for item in _items(page, "results"):
            yield _member(item, "id"), model
    elif operation.startswith("deployments."):
        for item in (page, *_items(page, "results")):
            release = _member(item, "current_release")
            name = _member(release, "model")
            yield _member(release, "version"), name if isinstance(name, str) else None
    else:
        shown = [page, *_items(page, "results"), *_items(page, "models")]
        for item in (*shown, *(_member(found, "model") for found in shown)):
            yield _member(_member(item, "latest_version"), "id"), _name(item)


def _member(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, dict) else None


def _items(page: object, name: str) -> Iterable[object]:
    items = _member(page, name)
    return items if isinstance(items, list) else ()


def _name(item: object) -> str | None:
    owner, name = _member(item, "owner"), _member(item, "name")
    return f"{owner}/{name}" if isinstance(owner, str) and isinstance(name, str) else None
