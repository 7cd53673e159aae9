import pytest

from gateway.cli.amounts import dollars, seconds, size


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (None, ""),
        (0, "0 s"),
        (500_000, "0.5 s"),
        (1_234, "0.00123 s"),
        (2_000_000, "2 s"),
        (12_345_678, "12.3 s"),
        (99_960_000, "100 s"),
        (1_234_567_890, "1,235 s"),
    ],
)
def test_times_have_three_digits_that_count(micros: int | None, text: str) -> None:
    assert seconds(micros) == text


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (0, "≈ $0.00"),
        (500, "≈ $0.0000005"),
        (3_000_000, "≈ $0.003"),
        (12_345_678, "≈ $0.0123"),
        (500_000_000, "≈ $0.50"),
        (999_999_999, "≈ $1.00"),
        (1_204_999_999_999, "≈ $1,205.00"),
        (12_345_678_900, "≈ $12.35"),
    ],
)
def test_costs_have_cents_and_below_a_dollar_three_digits_that_count(nanos: int, text: str) -> None:
    assert dollars(nanos) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (512, "512 bytes"),
        (1_190, "1.19 kB"),
        (999_999, "1 MB"),
        (200_000_000, "200 MB"),
        (5 * 2**30, "5.37 GB"),
        (12_345 * 10**12, "12,345 TB"),
    ],
)
def test_sizes_have_three_digits_that_count(count: int, text: str) -> None:
    assert size(count) == text
