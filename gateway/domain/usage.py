"""What a prediction took, as its document says, and what the next one will probably take."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from statistics import median_high

# Beyond this (285 years in microseconds, 9e15 tokens) a number is a fault of whoever wrote it.
_MOST = 9 * 10**15
_MOST_OUTPUTS = 1000
_IMAGE = re.compile(
    r"\.(?:png|jpe?g|jfif|webp|gif|avif|heic|heif|bmp|tiff?|svg|ico|apng|jxl)$", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Usage:
    """What was used: microseconds of prediction time (None: not said), images, tokens."""

    predict_us: int | None = None
    images: int = 0
    tokens_in: int = 0
    tokens_out: int = 0

    @property
    def tokens(self) -> int:
        """Input and output tokens together."""
        return self.tokens_in + self.tokens_out


def usage_from(metrics: Mapping[str, object], output_urls: Iterable[str]) -> Usage:
    """Read a document's ``metrics``, and where they do not count images, its output URLs.

    A URL counts as an image by its path's extension. Numbers that make no sense count as absent.
    """
    seconds = _amount(metrics.get("predict_time"))
    images = _whole(metrics.get("image_count"))
    if images is None:
        images = sum(1 for url in output_urls if is_image(url))
    return Usage(
        predict_us=None if seconds is None else _micros(seconds),
        images=images,
        tokens_in=_whole(metrics.get("input_token_count")) or 0,
        tokens_out=_whole(metrics.get("output_token_count")) or 0,
    )


def is_image(url: str) -> bool:
    """Return whether a URL's path ends in an image's extension."""
    path = re.split(r"[?#]", url, maxsplit=1)[0]
    return _IMAGE.search(path) is not None


def _micros(seconds: Decimal) -> int:
    return min(int(seconds * 10**6 + Decimal("0.5")), _MOST)


def _amount(value: object) -> Decimal | None:
    """Return a number from 0 up, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    return min(number, Decimal(_MOST)) if number.is_finite() and number >= 0 else None


def _whole(value: object) -> int | None:
    number = _amount(value)
    return None if number is None else int(number)


def typical(history: Sequence[Usage]) -> Usage | None:
    """Return the median of each amount, None for an empty history."""
    if not history:
        return None
    seconds = [usage.predict_us for usage in history if usage.predict_us is not None]

    def middle(amount: Callable[[Usage], int]) -> int:
        return median_high([amount(usage) for usage in history])

    return Usage(
        predict_us=median_high(seconds) if seconds else None,
        images=middle(lambda usage: usage.images),
        tokens_in=middle(lambda usage: usage.tokens_in),
        tokens_out=middle(lambda usage: usage.tokens_out),
    )


def outputs_asked_for(document_input: Mapping[str, object] | None) -> int:
    """Return ``num_outputs`` of a create's input if it is a sane whole number, else 1."""
    asked = (document_input or {}).get("num_outputs")
    if isinstance(asked, int) and not isinstance(asked, bool) and 1 <= asked <= _MOST_OUTPUTS:
        return asked
    return 1
