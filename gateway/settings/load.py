"""Loading: the file, then the environment over it, then every check; all faults at once."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from gateway.settings import environment
from gateway.settings.checks import cross_faults, mistyped
from gateway.settings.environment import Overrides, Raw
from gateway.settings.faults import Fault, SettingsError, from_validation, key_path, unknown
from gateway.settings.fields import named_tables, table
from gateway.settings.model import Settings
from gateway.settings.values import check_glob, check_name

DEFAULT_FILE = Path("config/gateway.toml")

# What the names in [section.NAME] must be.
_CHECK_NAME = {"plans": check_name, "teams": check_name, "prices": check_glob}

_T = TypeVar("_T", bound=BaseModel)
_ONCE = "each table and key stands once; add to the one that is there"


def _is_twice(error: tomllib.TOMLDecodeError) -> bool:
    """Return whether something stands there twice: an example pasted below the shipped file."""
    return any(words in str(error) for words in ("twice", "overwrite a value", "mutate immutable"))


def load(
    config_file: Path | None, env: Mapping[str, str] | None = None, *, for_upstream: bool = True
) -> Settings:
    """Return the settings of this file and environment.

    Without a file the one that GATEWAY_CONFIG names is taken, else ``config/gateway.toml`` where
    the process was started, else the built-in defaults. ``env`` is the process's environment unless
    given. Whoever sends nothing upstream can let a client's key in REPLICATE_API_TOKEN count as no
    token. Raises :class:`SettingsError` with every fault that was found.
    """
    env = environment.process_environment() if env is None else env
    if not for_upstream and environment.holds_clients_key(env):
        env = {name: text for name, text in env.items() if name != environment.TOKEN_VARIABLE}
    overrides = environment.read(env)
    loading = _Loading(overrides)
    loading.read_file(find_file(config_file, env))
    return loading.settings()


def find_file(config_file: Path | None, env: Mapping[str, str] | None = None) -> Path | None:
    """Return the file that :func:`load` would read, or None when the defaults alone would count."""
    env = environment.process_environment() if env is None else env
    if config_file is not None:
        return config_file
    if named := env.get(environment.CONFIG_VARIABLE):
        return Path(named)
    return DEFAULT_FILE if DEFAULT_FILE.is_file() else None


class _Loading:
    """One load: what was read so far and the faults found on the way."""

    def __init__(self, overrides: Overrides) -> None:
        self._tree: dict[str, Raw] = {}
        self._overrides = overrides
        self._faults = overrides.faults

    def read_file(self, path: Path | None) -> None:
        if path is None:
            return
        try:
            self._tree = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        except UnicodeDecodeError:
            self._faults.append(Fault(str(path), "", "must be a text file in UTF-8"))
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            self._faults.append(Fault(str(path), "", f"cannot be read: {reason}"))
        except tomllib.TOMLDecodeError as error:
            cure = f": {_ONCE}" if _is_twice(error) else ""
            self._faults.append(Fault(str(path), "", f"is not valid TOML: {error}{cure}"))

    def settings(self) -> Settings:
        tree = _merged(self._tree, self._overrides.tree)
        self._refuse_unknown_sections(tree)
        sections: dict[str, BaseModel | dict[str, BaseModel]] = {}
        for name, info in Settings.model_fields.items():
            raw = tree.get(name, {})
            single = table(info.annotation)
            each = named_tables(info.annotation)
            if single is not None:
                validated = self._table(name, (), single, raw)
                if validated is not None:
                    sections[name] = validated
            elif each is not None:
                sections[name] = self._named(name, each, raw)
        self._faults += self._mistyped()
        self._faults += cross_faults(sections, _names(tree.get("plans")))
        if self._faults:
            raise SettingsError(self._faults)
        return Settings.model_validate(sections)

    def _mistyped(self) -> list[Fault]:
        known = {fault.key for fault in self._faults}
        sources = self._overrides.sources
        return [
            fault
            for path, fault in mistyped(self._tree)
            if fault.key not in known
            and not any(path[:end] in sources for end in range(1, len(path) + 1))
        ]

    def _refuse_unknown_sections(self, tree: Mapping[str, Raw]) -> None:
        known = list(Settings.model_fields)
        for name in tree:
            if name not in known:
                problem = unknown("section", name, known, _homes())
                self._faults.append(Fault(key_path(name), "", problem))

    def _named(self, section: str, model: type[BaseModel], raw: Raw) -> dict[str, BaseModel]:
        if not isinstance(raw, dict):
            self._faults.append(Fault(section, "", f"must be tables, such as [{section}.NAME]"))
            return {}
        found = {}
        for name, inner in raw.items():
            try:
                _CHECK_NAME[section](name)
            except ValueError as error:
                self._faults.append(Fault(key_path(section, name), "", str(error)))
            validated = self._table(section, (name,), model, inner)
            if validated is not None:
                found[name] = validated
        return found

    def _table(self, section: str, prefix: tuple[str, ...], model: type[_T], raw: Raw) -> _T | None:
        try:
            return _validated(model, raw)
        except ValidationError as error:
            self._faults += from_validation(
                section,
                model,
                error,
                prefix=prefix,
                elsewhere=_homes(),
                sources=self._overrides.sources,
            )
            faulty = {detail["loc"][0] for detail in error.errors() if detail["loc"]}
        # What is sound goes on, so that faults between keys are found in the same run.
        sound = raw if isinstance(raw, dict) else {}
        rest = {key: value for key, value in sound.items() if key not in faulty}
        try:
            return _validated(model, rest)
        except ValidationError:
            return None  # the faults of this table are already noted


def _validated(model: type[_T], raw: Raw) -> _T:
    # JSON's strictness is the right one: 8080 is no text and "8080" no number, but a list may
    # become a tuple and a text a path.
    return model.model_validate_json(json.dumps(raw, default=str), strict=True)


def _names(raw: Raw) -> frozenset[str]:
    return frozenset(raw) if isinstance(raw, dict) else frozenset()


def _merged(base: Mapping[str, Raw], over: Mapping[str, Raw]) -> dict[str, Raw]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            merged[key] = _merged(below, value)
        else:
            merged[key] = value
    return merged


def _homes() -> dict[str, str]:
    """Return the section of each key that only one section has, for keys that went astray."""
    homes: dict[str, str] = {}
    twice = set()
    for name, info in Settings.model_fields.items():
        model = table(info.annotation) or named_tables(info.annotation)
        for key in model.model_fields if model is not None else ():
            twice |= {key} & homes.keys()
            homes[key] = name if table(info.annotation) else f"{name}.NAME"
    return {key: home for key, home in homes.items() if key not in twice}
