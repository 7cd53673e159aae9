"""The prices that hold until the configuration says something else: stated, dated, estimates."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path

from gateway.domain.models import matches
from gateway.settings.model import Price, Settings

_FILE = Path(__file__).with_name("prices.toml")


@dataclass(frozen=True, slots=True)
class StartingPrice:
    """A price, the public statement that it was taken from, and when that was read."""

    price: Price
    source: str
    read: str


def shipped_in_force(settings: Settings) -> Mapping[str, StartingPrice]:
    """Return the shipped prices of the models that the configuration says nothing about."""
    return {
        model: starting
        for model, starting in starting_prices().items()
        if not matches(settings.prices, model)
    }


@cache
def starting_prices() -> Mapping[str, StartingPrice]:
    """Return the shipped table by model."""
    tables = tomllib.loads(_FILE.read_text(encoding="utf-8"), parse_float=Decimal)
    return {
        model: StartingPrice(
            Price.model_validate(
                {key: value for key, value in table.items() if key.startswith("per_")}
            ),
            str(table["source"]),
            str(table["read"]),
        )
        for model, table in tables.items()
    }
