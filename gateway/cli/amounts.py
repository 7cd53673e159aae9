"""Amounts for people, who compare them: three digits that count. Programs are told exact ones."""

from typing import Final

_DIGITS: Final = 3
_SIZES: Final = ("bytes", "kB", "MB", "GB", "TB")


def seconds(micros: int | None) -> str:
    """Write a time of so many microseconds: "0.5 s", "12.3 s", "1,235 s"; nothing for None."""
    return "" if micros is None else f"{_short(micros / 10**6)} s"


def dollars(nanos: int) -> str:
    """Write an estimated cost of so many billionths of a US dollar: "≈ $1.20", "≈ $0.0123"."""
    value = nanos / 10**9
    text = f"{value:,.2f}" if abs(value) >= 1 else _short(value)
    whole, _, cents = text.partition(".")
    return f"≈ ${whole}.{cents.ljust(2, '0')}"


def size(count: int) -> str:
    """Write so many bytes: "512 bytes", "1.19 kB", "200 MB"."""
    value, unit = float(count), 0
    while value >= 999.5 and unit < len(_SIZES) - 1:
        value, unit = value / 1000, unit + 1
    return f"{_short(value)} {_SIZES[unit]}"


def _short(value: float) -> str:
    """Round to three digits, never among the whole ones."""
    if abs(value) >= 10 ** (_DIGITS - 1):
        return f"{value:,.0f}"
    places = 0
    while value and abs(value) * 10**places < 10 ** (_DIGITS - 1):
        places += 1
    return f"{value:,.{places}f}".rstrip("0").rstrip(".") if places else f"{value:,.0f}"
