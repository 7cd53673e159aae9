"""What is wrong with a configuration, said so that it can be put right without the manual."""

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from gateway.settings.fields import field_at, table_of
from gateway.settings.values import Secret, SecretUrl

MASK = "********"
_LONGEST = 60


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: the key, its value as it may be shown, what would be right, where it was set."""

    key: str
    value: str
    problem: str
    source: str = ""

    def __str__(self) -> str:
        value = f" = {self.value}" if self.value else ""
        source = f" (from {self.source})" if self.source else ""
        return f"{self.key}{value}{source}: {self.problem}"


class SettingsError(Exception):
    """The configuration cannot be used. Its text is every fault, one line each."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


_USER_OF_URL = re.compile(r'://[^"\s]*@')


def key_path(section: str, *parts: str | int) -> str:
    """Write a place in the file as the file would: ``plans.pro.quotas[0].per``."""
    text = section
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        elif re.fullmatch(r"[A-Za-z0-9_-]+", part):
            text += f".{part}"
        else:
            text += f".{json.dumps(part, ensure_ascii=False)}"
    return text


def mask_url(url: str) -> str:
    """Return a URL with nothing left but its scheme, its host and its port."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return MASK
    if not parts.scheme or not parts.netloc:
        return MASK if url else ""
    hidden = f"/{MASK}" if parts.path.strip("/") or parts.query else ""
    user = f"{MASK}@" if "@" in parts.netloc else ""
    return f"{parts.scheme}://{user}{host}{port}{hidden}"


def shown_value(value: object, field: FieldInfo | None) -> str:
    """Return a value for a fault's line: short, on one line, and without a secret."""
    # What stands where a table belongs, or where nobody knows the key, may be anything.
    if field is None or value is None or isinstance(value, Mapping | BaseModel):
        return ""
    if any(isinstance(mark, Secret) for mark in field.metadata):
        return MASK
    if any(isinstance(mark, SecretUrl) for mark in field.metadata):
        value = mask_url(value) if isinstance(value, str) else MASK
    if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        return ""
    text = json.dumps(value, ensure_ascii=False, default=str)
    # A password has no place in these either, but that is where people put them.
    text = _USER_OF_URL.sub(f"://{MASK}@", text)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Return the known word that was probably meant, or nothing."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return close[0] if close else ""


def unknown(
    noun: str, name: str, known: Sequence[str], elsewhere: Mapping[str, str] = MappingProxyType({})
) -> str:
    """Say what an unknown name should have been: a neighbour's, or another section's key."""
    # A section in the singular is a section mistyped, though a key elsewhere may be named so.
    if f"{name}s" in known:
        return f'unknown {noun}; did you mean "{name}s"?'
    if name in elsewhere:
        return f"unknown {noun}; this key belongs to [{elsewhere[name]}]"
    close = did_you_mean(name, known)
    if close:
        return f'unknown {noun}; did you mean "{close}"?'
    return f"unknown {noun}; known here: {', '.join(known)}"


# What would be right, by the kind of error that pydantic names.
_RIGHT = {
    "missing": "is missing",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a number",
    "decimal_type": "must be a number",
    "decimal_parsing": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be a text in quotes",
    "path_type": "must be a text in quotes",
    "tuple_type": 'must be a list, such as ["…", "…"]',
    "model_type": "must be a table",
}


def _problem(error: ErrorDetails) -> str:
    context = error.get("ctx", {})
    match error["type"]:
        case "value_error":
            return str(context["error"])
        case "literal_error":
            return "must be " + str(context["expected"]).replace("'", '"')
        case "greater_than":
            return f"must be greater than {_number(context['gt'])}"
        case "greater_than_equal":
            return f"must be at least {_number(context['ge'])}"
        case "less_than_equal":
            return f"must be at most {_number(context['le'])}"
        case kind:
            return _RIGHT.get(kind) or error["msg"].replace("Input should be", "must be")


def _number(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def from_validation(
    section: str,
    model: type[BaseModel],
    error: ValidationError,
    *,
    prefix: tuple[str, ...],
    elsewhere: Mapping[str, str],
    sources: Mapping[tuple[str, ...], str],
) -> list[Fault]:
    """Turn what the validation of one table found into faults, one for each value."""
    faults = []
    for detail in error.errors(include_url=False):
        location = detail["loc"]
        key = key_path(section, *prefix, *location)
        source = _source((section, *prefix), location, sources)
        if detail["type"] == "extra_forbidden":
            name = str(location[-1])
            table = table_of(model, location[:-1])
            known = list(table.model_fields) if table is not None else []
            faults.append(Fault(key, "", unknown("key", name, known, elsewhere), source))
            continue
        field = field_at(model, location)
        value = shown_value(detail["input"], field)
        faults.append(Fault(key, value, _problem(detail), source))
    return faults


def _source(
    prefix: tuple[str, ...],
    location: tuple[str | int, ...],
    sources: Mapping[tuple[str, ...], str],
) -> str:
    path = prefix + tuple(part for part in location if isinstance(part, str))
    return next(
        (sources[path[:end]] for end in range(len(path), 0, -1) if path[:end] in sources), ""
    )
