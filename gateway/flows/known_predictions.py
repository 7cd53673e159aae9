"""What the ledger knows of predictions, read for all who ask at the same time at once.

A crowd of pollers asks for the same few hundred rows; one statement for all that wait costs little
more than one for each. Everybody still gets what was committed before they asked.
"""

import asyncio
from functools import partial

from gateway.flows.spawn import Spawn
from gateway.ledger import Ledger, predictions
from gateway.ledger.predictions import Row

MOST = 200
"""Rows that are read with one statement."""

Known = tuple[Row, bytes] | None


class KnownPredictions:
    """Finds predictions with their documents; one statement is under way at a time."""

    def __init__(self, ledger: Ledger, spawn: Spawn) -> None:
        self._ledger = ledger
        self._spawn = spawn
        self._asked: dict[str, asyncio.Future[Known]] = {}
        self._reading = False

    async def __call__(self, prediction_id: str) -> Known:
        """Return a prediction's row and document; None if there is none.

        Raises:
            LedgerUnavailable: it cannot be read now.
        """
        future = self._asked.get(prediction_id)
        if future is None:
            future = self._asked[prediction_id] = asyncio.get_running_loop().create_future()
            if not self._reading:
                self._reading = True
                self._spawn(self._read(), "read predictions")
        return await asyncio.shield(future)

    async def _read(self) -> None:
        try:
            while self._asked:
                # Whoever asks from here on is in the next round: this one may have begun already.
                names = list(self._asked)[:MOST]
                asked = {name: self._asked.pop(name) for name in names}
                try:
                    found = await self._ledger.read(
                        partial(predictions.get_many_with_documents, prediction_ids=names)
                    )
                except BaseException as error:
                    for future in asked.values():
                        _fail(future, error)
                    if not isinstance(error, Exception):
                        raise
                else:
                    for name, future in asked.items():
                        if not future.done():
                            future.set_result(found.get(name))
        finally:
            self._reading = False
            for future in self._asked.values():
                future.cancel()
            self._asked.clear()


def _fail(future: "asyncio.Future[Known]", error: BaseException) -> None:
    if future.done():
        return
    if isinstance(error, Exception):
        future.set_exception(error)
        # Nobody may be left to hear it.
        future.exception()
    else:
        future.cancel()
