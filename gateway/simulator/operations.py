"""The operations of the official API, one line each, named as its description names them."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote


class Counted(StrEnum):
    """Against which allowance of the account an operation counts."""

    CREATE = "create"
    OTHER = "other"
    FREE = "free"


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: its name, its method, its path below the origin."""

    name: str
    method: str
    template: str
    counted: Counted = Counted.OTHER
    needs_token: bool = True
    streams_body: bool = False
    """The handler reads the request's body itself."""

    def match(self, parts: tuple[str, ...]) -> dict[str, str] | None:
        """Return the parameters in a path that was split at its slashes, or None."""
        wanted = self.template.split("/")[1:]
        if len(wanted) != len(parts):
            return None
        params: dict[str, str] = {}
        for pattern, part in zip(wanted, parts, strict=True):
            if pattern.startswith("{"):
                if not part:
                    return None
                params[pattern[1:-1]] = unquote(part)
            elif pattern != part:
                return None
        return params


_CREATE, _FREE = Counted.CREATE, Counted.FREE
_MODEL = "/v1/models/{owner}/{name}"
_DEPLOYMENT = "/v1/deployments/{owner}/{name}"

OPERATIONS: tuple[Operation, ...] = (
    Operation("account.get", "GET", "/v1/account"),
    Operation("collections.list", "GET", "/v1/collections"),
    Operation("collections.get", "GET", "/v1/collections/{slug}"),
    Operation("deployments.list", "GET", "/v1/deployments"),
    Operation("deployments.create", "POST", "/v1/deployments"),
    Operation("deployments.get", "GET", _DEPLOYMENT),
    Operation("deployments.update", "PATCH", _DEPLOYMENT),
    Operation("deployments.delete", "DELETE", _DEPLOYMENT),
    Operation("deployments.predictions.create", "POST", f"{_DEPLOYMENT}/predictions", _CREATE),
    Operation("files.list", "GET", "/v1/files"),
    Operation("files.create", "POST", "/v1/files", streams_body=True),
    Operation("files.get", "GET", "/v1/files/{id}"),
    Operation("files.delete", "DELETE", "/v1/files/{id}"),
    # The signature is the permission: no token, and no allowance is used.
    Operation("files.download", "GET", "/v1/files/{id}/download", _FREE, needs_token=False),
    Operation("hardware.list", "GET", "/v1/hardware"),
    Operation("models.list", "GET", "/v1/models"),
    Operation("models.create", "POST", "/v1/models"),
    Operation("models.search", "QUERY", "/v1/models"),
    Operation("models.get", "GET", _MODEL),
    Operation("models.update", "PATCH", _MODEL),
    Operation("models.delete", "DELETE", _MODEL),
    Operation("models.examples.list", "GET", f"{_MODEL}/examples"),
    Operation("models.predictions.create", "POST", f"{_MODEL}/predictions", _CREATE),
    Operation("models.readme.get", "GET", f"{_MODEL}/readme"),
    Operation("models.versions.list", "GET", f"{_MODEL}/versions"),
    Operation("models.versions.get", "GET", f"{_MODEL}/versions/{{version}}"),
    Operation("models.versions.delete", "DELETE", f"{_MODEL}/versions/{{version}}"),
    Operation("trainings.create", "POST", f"{_MODEL}/versions/{{version}}/trainings", _CREATE),
    Operation("predictions.list", "GET", "/v1/predictions"),
    Operation("predictions.create", "POST", "/v1/predictions", _CREATE),
    Operation("predictions.get", "GET", "/v1/predictions/{id}"),
    Operation("predictions.cancel", "POST", "/v1/predictions/{id}/cancel"),
    Operation("search", "GET", "/v1/search"),
    Operation("trainings.list", "GET", "/v1/trainings"),
    Operation("trainings.get", "GET", "/v1/trainings/{id}"),
    Operation("trainings.cancel", "POST", "/v1/trainings/{id}/cancel"),
    Operation("webhooks.default.secret.get", "GET", "/v1/webhooks/default/secret"),
)

BY_NAME: Mapping[str, Operation] = {operation.name: operation for operation in OPERATIONS}

_BY_SHAPE: Mapping[tuple[str, int], tuple[Operation, ...]] = {
    shape: tuple(
        operation
        for operation in OPERATIONS
        if (operation.method, operation.template.count("/")) == shape
    )
    for shape in {(operation.method, operation.template.count("/")) for operation in OPERATIONS}
}


def find_operation(method: str, path: str) -> tuple[Operation, dict[str, str]] | None:
    """Return the operation that a request is for, and the parameters in its path."""
    parts = tuple(path.split("/")[1:])
    for operation in _BY_SHAPE.get((method, len(parts)), ()):
        params = operation.match(parts)
        if params is not None:
            return operation, params
    return None
