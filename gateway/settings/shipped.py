"""The prices that hold until the configuration says something else: stated, dated, estimates."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path

from gateway.settings.model import Price

_FILE = Path(__file__).with_name("prices.toml")


@dataclass(frozen=True, slots=True)
class StartingPrice:
    """A price, the public statement that it was taken from, and when that was read."""

    price: Price
    source: str
    read: str


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
