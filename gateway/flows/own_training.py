"""Whether an id under ``/v1/trainings/`` is a training's.

A training can be read and cancelled as a prediction too, but not the other way round.
"""

from functools import partial

from gateway.domain import problems
from gateway.flows.answer import Refused
from gateway.ledger import Ledger, predictions


class OwnTraining:
    """Tells trainings from predictions, which share the ledger's table."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def __call__(self, training_id: str) -> None:
        """Return if this is a training; whose it is, the reader checks.

        Raises:
            Refused: 404.
        """
        row = await self._ledger.read(partial(predictions.get, prediction_id=training_id))
        if row is None or row.kind != "training":
            raise Refused(problems.not_found("training"))
