from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.plans import Price
from gateway.domain.price import cost_nano, find
from gateway.domain.usage import Usage

ENDS = ["failed", "canceled", "aborted"]
AMOUNTS = st.decimals(0, 100, places=12, allow_nan=False, allow_infinity=False)
USAGES = st.builds(
    Usage,
    predict_us=st.integers(0, 10**12),
    images=st.integers(0, 10**4),
    tokens_in=st.integers(0, 10**7),
    tokens_out=st.integers(0, 10**7),
)


def test_the_most_specific_pattern_wins() -> None:
    prices = [Price(pattern) for pattern in ("*", "meta/*", "*/llama-3", "meta/llama-*", "a?/x*")]
    prices.append(Price("Meta/Llama-3"))
    assert find(prices, "meta/llama-3") == Price("Meta/Llama-3")
    assert find(prices, "meta/llama-4") == Price("meta/llama-*")
    assert find(prices, "meta/other") == Price("meta/*")
    assert find(prices, "x/llama-3") == Price("*/llama-3")
    assert find(prices, "ab/xyz") == Price("a?/x*")
    assert find(prices, "q/r") == Price("*")
    assert find(prices[1:], "q/r") is None
    assert find(prices, None) is None


@given(st.permutations(["*", "meta/*", "meta/l*", "*llama*"]))
def test_the_order_of_the_table_does_not_matter(order: list[str]) -> None:
    found = find([Price(pattern) for pattern in order], "meta/llama")
    assert found == Price("meta/l*")


@given(AMOUNTS, AMOUNTS, AMOUNTS, USAGES)
def test_a_cost_is_exact_to_half_a_nanodollar(
    second: Decimal, image: Decimal, token: Decimal, usage: Usage
) -> None:
    price = Price("*", per_second=second, per_image=image, per_output_token=token)
    exact = 10**9 * (
        Fraction(second) * Fraction(usage.predict_us or 0, 10**6)
        + Fraction(image) * usage.images
        + Fraction(token) * usage.tokens_out
    )
    cost = cost_nano(price, usage, "succeeded")
    assert cost is not None
    assert cost == 2**62 or -Fraction(1, 2) < exact - cost <= Fraction(1, 2) or exact == cost - 1
    assert abs(exact - cost) <= Fraction(1, 2) or cost == 2**62


def test_half_a_nanodollar_rounds_up() -> None:
    price = Price("*", per_prediction=Decimal("0.0000000005"))
    assert cost_nano(price, Usage(), "succeeded") == 1
    price = Price("*", per_prediction=Decimal("0.00000000049"))
    assert cost_nano(price, Usage(), "succeeded") == 0


@pytest.mark.parametrize("status", ENDS)
def test_seconds_are_charged_always_and_the_rest_for_successes_only(status: str) -> None:
    price = Price(
        "*",
        per_second=Decimal("0.001"),
        per_image=Decimal(1),
        per_input_token=Decimal(1),
        per_output_token=Decimal(1),
        per_prediction=Decimal(1),
    )
    usage = Usage(2_000_000, 1, 1, 1)
    assert cost_nano(price, usage, status) == 2_000_000
    assert cost_nano(price, usage, "succeeded") == 4_002_000_000


def test_an_unknown_cost_is_never_zero() -> None:
    assert cost_nano(None, Usage(10**6), "succeeded") is None
    assert cost_nano(Price("*"), Usage(10**6), "succeeded") is None
    assert cost_nano(Price("*", per_second=Decimal(1)), Usage(None), "succeeded") is None


def test_one_that_never_ran_cost_no_seconds() -> None:
    assert cost_nano(Price("*", per_second=Decimal(1)), Usage(None), "canceled") == 0
