"""Input schemas of models, in the shape that model versions publish, and the check against them.

The words of the complaints are those of the real service's validator.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from gateway.simulator.wire import Json, JsonObject

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong with an input."""

    kind: str
    field: str
    description: str

    @property
    def line(self) -> str:
        """Return the line that goes into an error's `detail`."""
        where = self.field
        if self.kind == "required":
            where = self.field.rpartition(".")[0] or "(root)"
        return f"- {where}: {self.description}\n"

    def as_json(self) -> JsonObject:
        """Return the member of `invalid_fields`."""
        return {"type": self.kind, "field": self.field, "description": self.description}


@dataclass(frozen=True, slots=True)
class InputSchema:
    """What a model takes: a JSON schema per name, and which names must be there."""

    properties: Mapping[str, JsonObject]
    required: tuple[str, ...] = ()

    def as_json(self) -> JsonObject:
        """Return the `Input` schema of the version's OpenAPI document."""
        properties: JsonObject = {
            name: {**schema, "title": name.replace("_", " ").title(), "x-order": order}
            for order, (name, schema) in enumerate(self.properties.items())
        }
        value: JsonObject = {"type": "object", "title": "Input", "properties": properties}
        if self.required:
            value["required"] = list(self.required)
        return value

    def violations(self, value: Mapping[str, Json]) -> list[Violation]:
        """Return all that is wrong with an input; names unknown to the model are let pass."""
        found = [
            Violation("required", f"input.{name}", f"{name} is required")
            for name in self.required
            if name not in value
        ]
        for name, schema in self.properties.items():
            if name in value:
                found.extend(_check(f"input.{name}", schema, value[name]))
        return found


def string(description: str, default: str | None = None, **more: Json) -> JsonObject:
    """Return the schema of a text."""
    return _schema("string", description, default, more)


def integer(description: str, default: int | None = None, **more: Json) -> JsonObject:
    """Return the schema of a whole number."""
    return _schema("integer", description, default, more)


def number(description: str, default: float | None = None, **more: Json) -> JsonObject:
    """Return the schema of a number."""
    return _schema("number", description, default, more)


def boolean(description: str, default: bool | None = None) -> JsonObject:
    """Return the schema of a truth value."""
    return _schema("boolean", description, default, {})


def uri(description: str) -> JsonObject:
    """Return the schema of a file's address."""
    return _schema("string", description, None, {"format": "uri"})


def choice(description: str, default: str, options: Sequence[str]) -> JsonObject:
    """Return the schema of one out of several texts."""
    return _schema("string", description, default, {"enum": list(options)})


def _schema(kind: str, description: str, default: Json, more: Mapping[str, Json]) -> JsonObject:
    schema: JsonObject = {"type": kind, "description": description, **more}
    if default is not None:
        schema["default"] = default
    return schema


def type_name(value: Json) -> str:
    """Return what JSON schema calls the type of a value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "object" if isinstance(value, Mapping) else "array"


def _is(kind: str, value: Json) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[kind])


def _check(where: str, schema: Mapping[str, Json], value: Json) -> list[Violation]:
    kind = str(schema.get("type", "object"))
    if "type" in schema and not _is(kind, value):
        description = f"Invalid type. Expected: {kind}, given: {type_name(value)}"
        return [Violation("invalid_type", where, description)]
    found: list[Violation] = []
    options = schema.get("enum")
    if isinstance(options, list) and value not in options:
        words = ", ".join(f'"{option}"' for option in options)
        name = where.removeprefix("input.")
        found.append(Violation("enum", where, f"{name} must be one of the following: {words}"))
    if isinstance(value, int | float) and not isinstance(value, bool):
        found.extend(_check_bounds(where, schema, value))
    if schema.get("format") == "uri" and isinstance(value, str) and not urlsplit(value).scheme:
        found.append(Violation("format", where, "Does not match format 'uri'"))
    items = schema.get("items")
    if isinstance(items, Mapping) and isinstance(value, list):
        for index, item in enumerate(value):
            found.extend(_check(f"{where}.{index}", items, item))
    return found


def _check_bounds(where: str, schema: Mapping[str, Json], value: float) -> list[Violation]:
    low, high = schema.get("minimum"), schema.get("maximum")
    if isinstance(low, int | float) and value < low:
        description = f"Must be greater than or equal to {low}"
        return [Violation("number_gte", where, description)]
    if isinstance(high, int | float) and value > high:
        description = f"Must be less than or equal to {high}"
        return [Violation("number_lte", where, description)]
    return []
