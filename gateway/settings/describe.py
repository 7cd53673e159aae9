"""The settings as people read them: what each is for, and what is in force, secrets masked."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Literal, TypeAlias, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from gateway.settings.environment import variable
from gateway.settings.faults import MASK, key_path, mask_url
from gateway.settings.fields import TypeForm, bare, element, named_tables, table
from gateway.settings.model import Settings
from gateway.settings.shipped import shipped_in_force
from gateway.settings.values import Example, SecretUrl, Unit

# What TOML can write.
Shown: TypeAlias = "str | int | float | bool | list[Shown] | dict[str, Shown]"

# The name that stands for any name in `[section.NAME]`.
_PLACEHOLDERS = {"prices": '"PATTERN"'}


@dataclass(frozen=True, slots=True)
class SettingDoc:
    """What is to be known about one key.

    ``default`` and ``example`` are written as in the file; ``default`` is None for a key that has
    none, and ``example`` is then what the shipped file shows. ``variable`` is empty for keys that
    the environment cannot set.
    """

    section: str
    key: str
    type: str
    default: str | None
    example: str
    unit: str
    help: str
    variable: str


@dataclass(frozen=True, slots=True)
class SectionDoc:
    """What is to be known about one table: its name as in the file, its purpose and its keys."""

    name: str
    help: str
    settings: tuple[SettingDoc, ...]


def describe() -> list[SettingDoc]:
    """Return every setting, in the order of the file."""
    return [setting for section in describe_sections() for setting in section.settings]


def describe_sections() -> list[SectionDoc]:
    """Return every table with its settings, in the order of the file."""
    sections = []
    for name, info in Settings.model_fields.items():
        single, each = table(info.annotation), named_tables(info.annotation)
        if single is not None:
            sections += _sections(name, single, (name,))
        elif each is not None:
            placeholder = _PLACEHOLDERS.get(name, "NAME")
            by_environment = (name, "<name>") if placeholder == "NAME" else ()
            sections += _sections(f"{name}.{placeholder}", each, by_environment)
    return sections


def _sections(name: str, model: type[BaseModel], path: tuple[str, ...]) -> list[SectionDoc]:
    own, below = [], []
    for key, info in model.model_fields.items():
        inner = table(info.annotation)
        if inner is not None:
            below += _sections(f"{name}.{key}", inner, (*path, key))
            continue
        own.append(_setting(name, key, info, path))
        rule = table(element(info.annotation))
        if rule is not None:
            below += _sections(f"{name}.{key}[]", rule, ())
    return [SectionDoc(name, _prose(model.__doc__), tuple(own)), *below]


def _setting(section: str, key: str, info: FieldInfo, path: tuple[str, ...]) -> SettingDoc:
    unit = next((mark.name for mark in info.metadata if isinstance(mark, Unit)), "")
    example = next((mark.value for mark in info.metadata if isinstance(mark, Example)), None)
    default = None
    if not info.is_required() and info.default is not None:
        default = to_toml(_plain(info.default))
    shown = default if default is not None else to_toml(_plain(example))
    return SettingDoc(
        section=section,
        key=key,
        type=_type_name(info.annotation),
        default=default,
        example=shown,
        unit=unit,
        help=_prose(info.description),
        variable=variable((*path, key)).replace("<NAME>", "<name>") if path else "",
    )


def _prose(text: str | None) -> str:
    return " ".join((text or "").split())


def _type_name(form: TypeForm) -> str:
    inner = element(form)
    if inner is not None:
        return "list of tables" if table(inner) else "list of texts"
    form = bare(form)
    if get_origin(form) is Literal:
        return " or ".join(to_toml(choice) for choice in get_args(form))
    if form is bool:
        return "true or false"
    if form is int:
        return "whole number"
    return "number" if form in (float, Decimal) else "text"


def shown(settings: Settings) -> dict[str, Shown]:
    """Return what is in force as plain values, each secret masked and unset keys left out."""
    return _shown_table(settings)


def shown_toml(settings: Settings) -> str:
    """Return what is in force as a TOML file, every secret masked.

    The shipped prices stand in comments: as a file of one's own it would otherwise keep them for
    good, whatever later versions ship.
    """
    lines: list[str] = []
    _write_table(shown(settings), (), lines)
    shipped = shown_shipped(settings)
    if shipped:
        estimates: list[str] = []
        _write_table({"prices": shipped}, (), estimates)
        lines += ["", "# Shipped with this version, and in force too; a price of one's own for the"]
        lines += ["# same model replaces them."]
        lines += [f"# {line}".rstrip() for line in estimates]
    return "\n".join(lines).strip() + "\n"


def shown_shipped(settings: Settings) -> dict[str, Shown]:
    """Return the shipped prices that are in force, each with its source, by model."""
    return {
        model: {
            **{
                key: value
                for key, value in _shown_table(starting.price).items()
                if key in starting.price.model_fields_set
            },
            "source": starting.source,
            "read": starting.read,
        }
        for model, starting in shipped_in_force(settings).items()
    }


def _shown_table(model: BaseModel) -> dict[str, Shown]:
    values: dict[str, Shown] = {}
    for key, info in type(model).model_fields.items():
        value = getattr(model, key)
        if value is None:
            continue
        if any(isinstance(mark, SecretUrl) for mark in info.metadata):
            values[key] = mask_url(value)
        else:
            values[key] = _plain(value)
    return values


def _plain(value: object) -> Shown:
    """Return a value as TOML can write it; an unset secret is empty, any other is masked."""
    match value:
        case BaseModel():
            return _shown_table(value)
        case SecretStr():
            return MASK if value.get_secret_value() else ""
        case bool() | int() | str():
            return value
        case float():
            return int(value) if value.is_integer() else value
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case Path():
            return str(value)
        case Mapping():
            return {str(key): _plain(inner) for key, inner in value.items()}
        case Sequence():
            return [_plain(inner) for inner in value]
        case _:
            raise TypeError(f"{type(value).__name__} has no form in TOML")


def to_toml(value: Shown) -> str:
    """Write one value as TOML, on one line."""
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return f"{value:_}" if abs(value) >= 1_000_000 else str(value)
        case float():
            # Prices are written out: 5e-08 is right and unreadable.
            return format(Decimal(repr(value)), "f")
        case str():
            return json.dumps(value, ensure_ascii=False)
        case list():
            return "[" + ", ".join(to_toml(inner) for inner in value) + "]"
        case dict():
            inner = ", ".join(f"{key} = {to_toml(item)}" for key, item in value.items())
            return "{ " + inner + " }" if inner else "{}"


def _write_table(values: Mapping[str, Shown], path: tuple[str, ...], lines: list[str]) -> None:
    tables = {key: value for key, value in values.items() if isinstance(value, dict)}
    if path and (len(tables) < len(values) or not values):
        lines += ["", f"[{key_path(path[0], *path[1:])}]"]
    lines += [f"{key} = {to_toml(value)}" for key, value in values.items() if key not in tables]
    for key, value in tables.items():
        _write_table(value, (*path, key), lines)
