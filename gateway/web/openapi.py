"""A table of addresses as an OpenAPI document."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING

import gateway
from gateway.domain.problems import CONTENT_TYPE

if TYPE_CHECKING:
    from pydantic import BaseModel

    from gateway.web.endpoints import Endpoint

Json = Mapping[str, object]

NAME = r"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}$"
"""What stands for one thing in a path: an id, or the name of a user or team."""

_ALWAYS = (400, 401, 403, 500, 503)
_PROBLEM: Json = {
    "type": "object",
    "title": "Problem",
    "description": "An error: docs/errors.md lists them all.",
    "required": ["title", "detail", "status"],
    "properties": {
        "title": {"type": "string"},
        "detail": {"type": "string"},
        "status": {"type": "integer"},
        "type": {"type": "string"},
    },
}
_REFERENCE = "#/components/schemas/{model}"


def openapi(
    prefix: str, title: str, about: str, endpoints: "Iterable[Endpoint]"
) -> dict[str, object]:
    """Describe these endpoints (OpenAPI 3.1)."""
    schemas: dict[str, object] = {"Problem": _PROBLEM}
    paths: dict[str, dict[str, object]] = {}
    for endpoint in endpoints:
        path = paths.setdefault(prefix + endpoint.path, {})
        path[endpoint.method.lower()] = _operation(endpoint, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": gateway.__version__, "description": about},
        "paths": paths,
        "security": [{"key": []}],
        "components": {
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "A key: hk-…"}
            },
            "schemas": schemas,
        },
    }


def _operation(endpoint: "Endpoint", schemas: dict[str, object]) -> dict[str, object]:
    parameters: list[Json] = [
        {
            "name": part[1:-1],
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": NAME},
        }
        for part in endpoint.path.split("/")
        if part.startswith("{")
    ]
    shape = endpoint.query.model_json_schema(mode="validation")
    required = shape.get("required", [])
    parameters += [
        {
            "name": name,
            "in": "query",
            "required": name in required,
            "schema": _without_null(schema),
        }
        for name, schema in shape.get("properties", {}).items()
    ]
    responses: dict[str, object] = {
        str(endpoint.status): _success(endpoint, schemas),
        **{str(status): _failure(status) for status in sorted({*_ALWAYS, *endpoint.errors})},
    }
    found: dict[str, object] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "parameters": parameters,
        "responses": responses,
    }
    if endpoint.tag:
        found["tags"] = [endpoint.tag]
    if endpoint.body is not None:
        found["requestBody"] = {
            "required": True,
            "content": {
                "application/json": {"schema": _reference(endpoint.body, schemas, "validation")}
            },
        }
    return found


def _success(endpoint: "Endpoint", schemas: dict[str, object]) -> Json:
    phrase = HTTPStatus(endpoint.status).phrase
    if endpoint.answer is None:
        return {"description": phrase}
    schema = _reference(endpoint.answer, schemas, "serialization")
    return {"description": phrase, "content": {"application/json": {"schema": schema}}}


def _failure(status: int) -> Json:
    return {
        "description": HTTPStatus(status).phrase,
        "content": {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


def _reference(shape: "type[BaseModel]", schemas: dict[str, object], mode: str) -> Json:
    schema = shape.model_json_schema(
        ref_template=_REFERENCE,
        mode="validation" if mode == "validation" else "serialization",
    )
    schemas.update(schema.pop("$defs", {}))
    schemas[shape.__name__] = schema
    return {"$ref": _REFERENCE.format(model=shape.__name__)}


def _without_null(schema: Mapping[str, object]) -> Json:
    """A query parameter is there or not: it is never null."""
    options = schema.get("anyOf")
    if not isinstance(options, list):
        return {name: value for name, value in schema.items() if name != "title"}
    kept = [option for option in options if option != {"type": "null"}]
    rest = {name: value for name, value in schema.items() if name not in ("anyOf", "title")}
    if rest.get("default", "") is None:
        del rest["default"]
    return {**rest, **(kept[0] if len(kept) == 1 else {"anyOf": kept})}
