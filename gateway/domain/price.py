"""What a prediction costs by the price table: an estimate, because no answer names a price."""

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction

from gateway.domain.models import matches
from gateway.domain.plans import Price
from gateway.domain.quota import MAX_UNITS
from gateway.domain.usage import Usage

_NANOS = 10**9
_MICROS = 10**6


def find(prices: Iterable[Price], model: str | None) -> Price | None:
    """Return the price of a model: the most specific of the patterns that match its name.

    A pattern without wildcards beats all others; then the one with more characters before its
    first wildcard; then the longer one.
    """
    if model is None:
        return None
    return max(
        (price for price in prices if matches((price.pattern,), model)),
        key=_specificity,
        default=None,
    )


def _specificity(price: Price) -> tuple[bool, int, int, str]:
    pattern = price.pattern.casefold()
    prefix = len(pattern.replace("?", "*").partition("*")[0])
    return prefix == len(pattern), prefix, len(pattern), pattern


def cost_nano(price: Price | None, usage: Usage, status: str) -> int | None:
    """Return the cost in nanodollars (half of one rounds up), None where it cannot be known.

    Seconds are charged however a prediction ended; pieces, tokens and the prediction itself only
    if it succeeded. Unknown is: no price, a price without any amount, or a price per second for a
    success that does not say how long it took.
    """
    if price is None:
        return None
    succeeded = status == "succeeded"
    parts: list[tuple[Decimal | None, Fraction]] = [
        (price.per_second, Fraction(usage.predict_us or 0, _MICROS)),
        (price.per_image, Fraction(usage.images if succeeded else 0)),
        (price.per_input_token, Fraction(usage.tokens_in if succeeded else 0)),
        (price.per_output_token, Fraction(usage.tokens_out if succeeded else 0)),
        (price.per_prediction, Fraction(1 if succeeded else 0)),
    ]
    known = [(Fraction(amount), count) for amount, count in parts if amount is not None]
    if not known or (price.per_second is not None and usage.predict_us is None and succeeded):
        return None
    dollars = sum((amount * count for amount, count in known), Fraction(0))
    return min(int(dollars * _NANOS + Fraction(1, 2)), MAX_UNITS)
