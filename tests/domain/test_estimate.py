from decimal import Decimal

from gateway.domain.admission import Demand
from gateway.domain.estimate import estimate
from gateway.domain.plans import Price
from gateway.domain.usage import Usage


def test_a_model_without_history_or_price_is_expected_to_take_the_usual() -> None:
    assert estimate([], None, {"num_outputs": 3}) == Demand(1, 10_000_000, 3, 1000, None)
    assert estimate([], None, None).images == 1


def test_a_price_says_what_to_expect_of_a_model_without_history() -> None:
    price = Price(
        "*",
        per_second=Decimal("0.1"),
        per_output_token=Decimal("0.01"),
        per_input_token=Decimal("0.02"),
        expected_seconds=Decimal("2.5"),
        expected_tokens=10,
    )
    demand = estimate([], price, {})
    assert (demand.predict_us, demand.tokens) == (2_500_000, 10)
    assert demand.cost_nano == 450_000_000, "all tokens at the dearer rate"


def test_history_beats_every_expectation() -> None:
    price = Price("*", per_image=Decimal(2), expected_seconds=Decimal(99))
    history = [Usage(1, 1, 1, 1), Usage(3, 3, 3, 3), Usage(2, 2, 2, 2)]
    assert estimate(history, price, {"num_outputs": 50}) == Demand(1, 2, 2, 4, 4 * 10**9)


def test_history_that_does_not_say_how_long_leaves_the_expected_seconds() -> None:
    assert estimate([Usage(None, 1)], None, None).predict_us == 10_000_000
