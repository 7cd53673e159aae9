"""Settings from the environment: ``GATEWAY_<SECTION>__<KEY>`` for any key of the file.

The only place that reads the process's environment.
"""

import contextlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from pydantic import BaseModel

from gateway.settings.faults import Fault, did_you_mean
from gateway.settings.fields import TypeForm, bare, element, named_tables, table
from gateway.settings.model import Settings

PREFIX = "GATEWAY_"
CONFIG_VARIABLE = "GATEWAY_CONFIG"
TOKEN_VARIABLE = "REPLICATE_API_TOKEN"  # noqa: S105 - a variable's name, not a token

Raw: TypeAlias = "dict[str, Raw] | list[Raw] | str | int | float | bool | None"

_TRUE = ("true", "1", "yes", "on")
_FALSE = ("false", "0", "no", "off")
# Kubernetes and Docker tell every container where a service named "gateway" is, in these variables.
_SERVICE_LINK = re.compile(
    r"GATEWAY(_[A-Z0-9_]+)?_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_\d+_(TCP|UDP)(_\w+)?)"
)


@dataclass(slots=True)
class Overrides:
    """What the environment says: a tree like the file's, and which variable each key came from."""

    tree: dict[str, Raw] = field(default_factory=dict)
    sources: dict[tuple[str, ...], str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def put(self, path: tuple[str, ...], value: Raw, source: str) -> None:
        """Set one key and remember who said so."""
        node = self.tree
        for part in path[:-1]:
            node = node.setdefault(part, {})  # type: ignore[assignment] # inner nodes are tables
        node[path[-1]] = value
        self.sources[path] = source


def process_environment() -> Mapping[str, str]:
    """Return the environment of this process."""
    return os.environ


def holds_clients_key(env: Mapping[str, str]) -> bool:
    """Return whether the token's variable holds a key of this gateway: clients export it so."""
    return env.get(TOKEN_VARIABLE, "").startswith("hk-")


def read(env: Mapping[str, str]) -> Overrides:
    """Read all variables that set something; those that look so but set nothing are faults."""
    overrides = Overrides()
    if token := env.get(TOKEN_VARIABLE):
        overrides.put(("upstream", "token"), token, TOKEN_VARIABLE)
    for name in sorted(env):
        if not name.startswith(PREFIX) or name == CONFIG_VARIABLE:
            continue
        if "__" not in name and _is_service_link(name, env[name]):
            continue
        path = tuple(part.lower() for part in name.removeprefix(PREFIX).split("__"))
        form = _form_at(path)
        if form is None:
            overrides.faults.append(Fault(name, "", _unknown_variable(name)))
            continue
        overrides.put(path, _parse(env[name], form), name)
    return overrides


def variable(path: tuple[str, ...]) -> str:
    """Return the name of the variable that sets the key at this place."""
    return PREFIX + "__".join(path).upper()


def _is_service_link(name: str, value: str) -> bool:
    if _SERVICE_LINK.fullmatch(name):
        return True
    return name.endswith("_PORT") and value.startswith(("tcp://", "udp://"))


def _form_at(path: tuple[str, ...]) -> TypeForm | None:
    """Return the type of the key at a place, or None when no key is there."""
    form: TypeForm = Settings
    for part in path:
        each = named_tables(form)
        if each is not None:
            form = each
            continue
        current = table(form)
        if current is None or part not in current.model_fields:
            return None
        form = current.model_fields[part].annotation
    return None if table(form) or named_tables(form) else form


def _unknown_variable(name: str) -> str:
    close = did_you_mean(name, [CONFIG_VARIABLE, *_variables(Settings, ())])
    cure = f"; did you mean {close}?" if close else ""
    return f"unknown variable: no setting has this name{cure}"


def _variables(model: type[BaseModel], path: tuple[str, ...]) -> list[str]:
    names = []
    for key, info in model.model_fields.items():
        inner = table(info.annotation)
        if inner is not None:
            names += _variables(inner, (*path, key))
        elif named_tables(info.annotation) is None:
            names.append(variable((*path, key)))
    return names


def _parse(text: str, form: TypeForm) -> Raw:
    """Read a variable's text as the kind of value that is due; leave what does not fit as it is.

    The text that stays is then refused, with its key, by the same check as a wrong value of the
    file.
    """
    if element(form) is not None:
        return _parse_list(text)
    kind = bare(form)
    with contextlib.suppress(ValueError):
        if kind is bool:
            return _parse_bool(text)
        if kind is int:
            return int(text)
        if kind is float:
            return float(text)
    return text


def _parse_bool(text: str) -> bool | str:
    lowered = text.strip().lower()
    if lowered in _TRUE:
        return True
    return False if lowered in _FALSE else text


def _parse_list(text: str) -> Raw:
    if text.lstrip().startswith("["):
        try:
            values: Raw = json.loads(text)
        except ValueError:
            return text
        return values
    return [part.strip() for part in text.split(",") if part.strip()]
