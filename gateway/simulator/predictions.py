"""All predictions and trainings that the simulated account has made, in memory."""

from bisect import bisect_left
from collections.abc import Sequence

from gateway.simulator.lifecycle import Prediction


class PredictionStore:
    """Predictions by id and by age. The oldest make room for new ones."""

    def __init__(self) -> None:
        self._by_id: dict[str, Prediction] = {}
        self._in_order: list[Prediction] = []
        self._count = 0

    def __len__(self) -> int:
        """Return how many are known."""
        return len(self._by_id)

    def next_number(self) -> int:
        """Return the number of the prediction to be made."""
        self._count += 1
        return self._count

    def add(self, prediction: Prediction, keep: int) -> None:
        """Remember a prediction, and forget the oldest beyond `keep`."""
        self._by_id[prediction.id] = prediction
        self._in_order.append(prediction)
        if len(self._in_order) > keep:
            surplus = max(1, keep // 10)
            for old in self._in_order[:surplus]:
                self._by_id.pop(old.id, None)
            del self._in_order[:surplus]

    def get(self, wanted: str) -> Prediction | None:
        """Return a prediction unless it is unknown or was made to be forgotten."""
        prediction = self._by_id.get(wanted)
        return None if prediction is None or prediction.forgotten else prediction

    def in_order(self) -> Sequence[Prediction]:
        """Return all, oldest first."""
        return self._in_order

    def between(self, after: float | None, before: float | None) -> Sequence[Prediction]:
        """Return those created from `after` on and before `before`, oldest first."""
        if after is None and before is None:
            return self._in_order
        start = 0 if after is None else bisect_left(self._in_order, after, key=_age)
        stop = len(self._in_order)
        if before is not None:
            stop = bisect_left(self._in_order, before, key=_age)
        return self._in_order[start:stop]


def _age(prediction: Prediction) -> float:
    return prediction.created_at
