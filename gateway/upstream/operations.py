"""The official operations of the API, one row each, and which of them a request means.

Source: the API's own OpenAPI description. Nothing that is not in this table is ever forwarded.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import unquote


class Access(StrEnum):
    """What a caller must be, or must own."""

    READ = "read"
    """Everybody: catalogues that all users of the account see alike."""
    CREATE = "create"
    """Creates a prediction: plans and quotas decide."""
    TRAIN = "train"
    """Creates a training: the plan's `trainings` or the manage role."""
    UPLOAD = "upload"
    """Makes a file that belongs to the caller."""
    OWN = "own"
    """One thing, named by its id: its owner, or a member of a team that shares."""
    OWN_LIST = "own_list"
    """A list, answered with the caller's own things."""
    OWN_SECRET = "own_secret"  # noqa: S105 - a name, not a secret
    """The caller's own webhook signing secret, never the account's."""
    MANAGE = "manage"
    """Changes what all users of the account share: the manage role."""


class BodyKind(StrEnum):
    """What the request carries."""

    NONE = "none"
    JSON = "json"
    TEXT = "text"
    STREAM = "stream"
    """Large (multipart): passed on as it arrives."""


class AnswerKind(StrEnum):
    """What a successful answer is, and so what is rewritten in it."""

    PREDICTION = "prediction"
    PREDICTION_LIST = "prediction_list"
    TRAINING = "training"
    TRAINING_LIST = "training_list"
    FILE = "file"
    FILE_LIST = "file_list"
    LIST = "list"
    """A page of somebody else's things: only `next` and `previous` are ours."""
    PLAIN = "plain"
    """JSON that is passed on untouched."""
    TEXT = "text"
    BINARY = "binary"
    NOTHING = "nothing"

    @property
    def is_json(self) -> bool:
        """Return whether a successful answer must be JSON."""
        return self not in (AnswerKind.TEXT, AnswerKind.BINARY, AnswerKind.NOTHING)


@dataclass(frozen=True, slots=True)
class Operation:
    """One row. `name` is the official operationId, `template` begins with ``/v1/``."""

    name: str
    method: str
    template: str
    access: Access
    body: BodyKind
    answer: AnswerKind

    @property
    def creates(self) -> bool:
        """Return whether it starts paid work: then it is never sent twice."""
        return self.access in (Access.CREATE, Access.TRAIN)


def _rows() -> Iterable[Operation]:
    a, b, k = Access, BodyKind, AnswerKind
    model = "/v1/models/{model_owner}/{model_name}"
    version = model + "/versions/{version_id}"
    deployment = "/v1/deployments/{deployment_owner}/{deployment_name}"
    prediction, training = "/v1/predictions/{prediction_id}", "/v1/trainings/{training_id}"
    file = "/v1/files/{file_id}"
    row = Operation
    return (
        row("account.get", "GET", "/v1/account", a.READ, b.NONE, k.PLAIN),
        row("collections.list", "GET", "/v1/collections", a.READ, b.NONE, k.LIST),
        row("collections.get", "GET", "/v1/collections/{collection_slug}", a.READ, b.NONE, k.PLAIN),
        row("deployments.list", "GET", "/v1/deployments", a.READ, b.NONE, k.LIST),
        row("deployments.create", "POST", "/v1/deployments", a.MANAGE, b.JSON, k.PLAIN),
        row("deployments.get", "GET", deployment, a.READ, b.NONE, k.PLAIN),
        row("deployments.update", "PATCH", deployment, a.MANAGE, b.JSON, k.PLAIN),
        row("deployments.delete", "DELETE", deployment, a.MANAGE, b.NONE, k.NOTHING),
        row(
            "deployments.predictions.create",
            "POST",
            deployment + "/predictions",
            a.CREATE,
            b.JSON,
            k.PREDICTION,
        ),
        row("files.list", "GET", "/v1/files", a.OWN_LIST, b.NONE, k.FILE_LIST),
        row("files.create", "POST", "/v1/files", a.UPLOAD, b.STREAM, k.FILE),
        row("files.get", "GET", file, a.OWN, b.NONE, k.FILE),
        row("files.delete", "DELETE", file, a.OWN, b.NONE, k.NOTHING),
        row("files.download", "GET", file + "/download", a.OWN, b.NONE, k.BINARY),
        row("hardware.list", "GET", "/v1/hardware", a.READ, b.NONE, k.PLAIN),
        row("models.list", "GET", "/v1/models", a.READ, b.NONE, k.LIST),
        row("models.create", "POST", "/v1/models", a.MANAGE, b.JSON, k.PLAIN),
        row("models.search", "QUERY", "/v1/models", a.READ, b.TEXT, k.LIST),
        row("models.get", "GET", model, a.READ, b.NONE, k.PLAIN),
        row("models.update", "PATCH", model, a.MANAGE, b.JSON, k.PLAIN),
        row("models.delete", "DELETE", model, a.MANAGE, b.NONE, k.NOTHING),
        row("models.examples.list", "GET", model + "/examples", a.READ, b.NONE, k.LIST),
        row(
            "models.predictions.create",
            "POST",
            model + "/predictions",
            a.CREATE,
            b.JSON,
            k.PREDICTION,
        ),
        row("models.readme.get", "GET", model + "/readme", a.READ, b.NONE, k.TEXT),
        row("models.versions.list", "GET", model + "/versions", a.READ, b.NONE, k.LIST),
        row("models.versions.get", "GET", version, a.READ, b.NONE, k.PLAIN),
        row("models.versions.delete", "DELETE", version, a.MANAGE, b.NONE, k.NOTHING),
        row("trainings.create", "POST", version + "/trainings", a.TRAIN, b.JSON, k.TRAINING),
        row("predictions.list", "GET", "/v1/predictions", a.OWN_LIST, b.NONE, k.PREDICTION_LIST),
        row("predictions.create", "POST", "/v1/predictions", a.CREATE, b.JSON, k.PREDICTION),
        row("predictions.get", "GET", prediction, a.OWN, b.NONE, k.PREDICTION),
        row("predictions.cancel", "POST", prediction + "/cancel", a.OWN, b.NONE, k.PREDICTION),
        row("search", "GET", "/v1/search", a.READ, b.NONE, k.PLAIN),
        row("trainings.list", "GET", "/v1/trainings", a.OWN_LIST, b.NONE, k.TRAINING_LIST),
        row("trainings.get", "GET", training, a.OWN, b.NONE, k.TRAINING),
        row("trainings.cancel", "POST", training + "/cancel", a.OWN, b.NONE, k.TRAINING),
        row(
            "webhooks.default.secret.get",
            "GET",
            "/v1/webhooks/default/secret",
            a.OWN_SECRET,
            b.NONE,
            k.PLAIN,
        ),
    )


OPERATIONS: Final[Mapping[str, Operation]] = {one.name: one for one in _rows()}


@dataclass(frozen=True, slots=True)
class Match:
    """A request's operation. `path` is what upstream is asked for: ``/v1/…``, plainly spelt."""

    operation: Operation
    params: Mapping[str, str]
    path: str


@dataclass(frozen=True, slots=True)
class MethodNotAllowed:
    """A known path, asked with a method that it does not have."""

    allow: tuple[str, ...]


# What owners, names, ids and slugs are made of; a segment of dots alone is a way up.
_PARAM: Final = re.compile(r"(?!\.+\Z)[A-Za-z0-9._~=-]{1,200}", re.ASCII)
_PREFIXES: Final = 2


@dataclass(frozen=True, slots=True)
class _Path:
    parts: tuple[str, ...]
    methods: dict[str, Operation]

    def params(self, segments: tuple[str, ...]) -> dict[str, str] | None:
        found: dict[str, str] = {}
        for part, segment in zip(self.parts, segments, strict=True):
            if part[0] == "{":
                value = unquote(segment) if "%" in segment else segment
                if _PARAM.fullmatch(value) is None:
                    return None
                found[part[1:-1]] = value
            elif part != segment:
                return None
        return found


def _index() -> dict[tuple[str, int], list[_Path]]:
    paths: dict[str, _Path] = {}
    index: dict[tuple[str, int], list[_Path]] = {}
    for one in OPERATIONS.values():
        parts = tuple(one.template.split("/")[2:])
        if one.template not in paths:
            paths[one.template] = _Path(parts, {})
            index.setdefault((parts[0], len(parts)), []).append(paths[one.template])
        paths[one.template].methods[one.method] = one
    return index


_INDEX: Final = _index()


def match(method: str, raw_path: str) -> Match | MethodNotAllowed | None:
    """Tell what a request means, from its path after ``/replicate`` as it came, still encoded.

    Base URLs come with and without ``/v1`` and with a slash too many: ``/v1/v1/…``, ``//v1/…``, a
    missing ``/v1`` and a trailing slash are understood. HEAD means GET. None: no such path.
    """
    segments = _segments(raw_path)
    if not segments:
        return None
    for path in _INDEX.get((segments[0], len(segments)), ()):
        params = path.params(segments)
        if params is None:
            continue
        operation = path.methods.get("GET" if method == "HEAD" else method)
        if operation is None:
            return MethodNotAllowed(_allow(path.methods))
        plain = "/v1/" + "/".join(
            params[part[1:-1]] if part[0] == "{" else part for part in path.parts
        )
        return Match(operation, params, plain)
    return None


def _segments(raw_path: str) -> tuple[str, ...]:
    parts = raw_path.split("/")
    while parts and not parts[-1]:
        parts.pop()
    start = prefixes = 0
    while start < len(parts):
        if parts[start] == "v1" and prefixes < _PREFIXES:
            prefixes += 1
        elif parts[start]:
            break
        start += 1
    return tuple(parts[start:])


def _allow(methods: Mapping[str, Operation]) -> tuple[str, ...]:
    allowed = set(methods) | {"OPTIONS"}
    if "GET" in allowed:
        allowed.add("HEAD")
    return tuple(sorted(allowed))


def docs_table() -> str:
    """Return the table as Markdown, for the documentation that is generated from it."""
    lines = [
        "| operation | request | who | body | answer |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| `{one.name}` | `{one.method} {one.template}` | {one.access} | {one.body} |"
        f" {one.answer} |"
        for one in OPERATIONS.values()
    ]
    return "\n".join(lines) + "\n"
