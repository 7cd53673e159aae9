"""What a create will probably take, before anybody knows."""

from collections.abc import Mapping, Sequence

from gateway.domain.admission import Demand
from gateway.domain.plans import Metric, Price
from gateway.domain.price import cost_nano
from gateway.domain.quota import to_units
from gateway.domain.usage import Usage, outputs_asked_for, typical

_UNPRICED = Price("*")


def estimate(
    history: Sequence[Usage], price: Price | None, document_input: Mapping[str, object] | None
) -> Demand:
    """Return what a create will probably take: the median of the model's last predictions.

    Without history it is what the price table expects (10 seconds and 1,000 tokens if it is silent)
    and as many images as `document_input` asks for. The cost is that of a success; None without a
    price.
    """
    expected = price or _UNPRICED
    expected_us = to_units(Metric.PREDICT_SECONDS, expected.expected_seconds)
    usual = typical(history) or _at_first(expected, outputs_asked_for(document_input))
    predict_us = expected_us if usual.predict_us is None else usual.predict_us
    assumed = Usage(predict_us, usual.images, usual.tokens_in, usual.tokens_out)
    return Demand(
        predictions=1,
        predict_us=predict_us,
        images=assumed.images,
        tokens=assumed.tokens,
        cost_nano=cost_nano(price, assumed, "succeeded"),
    )


def _at_first(price: Price, images: int) -> Usage:
    # Nobody knows yet which tokens will be input and which output: assume the dearer.
    dearer_in = (price.per_input_token or 0) > (price.per_output_token or 0)
    return Usage(
        predict_us=None,
        images=images,
        tokens_in=price.expected_tokens if dearer_in else 0,
        tokens_out=0 if dearer_in else price.expected_tokens,
    )
