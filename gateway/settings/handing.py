"""Handing settings to a process of ours, which must not read another file than its parent did."""

import json
from decimal import Decimal
from pathlib import Path

from pydantic import SecretStr

from gateway.settings.model import Settings


def handed_over(settings: Settings) -> str:
    """Return the settings as one line for :func:`taken_over`: secrets stand in it as they are."""
    return json.dumps(settings.model_dump(), default=_plain)


def taken_over(text: str) -> Settings:
    """Return the settings that were handed over; they are equal to what they were."""
    return Settings.model_validate_json(text)


def _plain(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Decimal | Path):
        return str(value)
    raise TypeError(f"a setting of an unexpected type: {type(value).__name__}")
