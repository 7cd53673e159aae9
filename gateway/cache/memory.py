"""The hottest copies, in memory."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class MemoryLru(Generic[K, V]):
    """Keeps what was used last, within `max_bytes` and `max_items`.

    `size` says how many bytes a value weighs; what an entry weighs beside its value is added. For
    one event loop: no locks, and no method waits.
    """

    _ENTRY_BYTES = 400  # measured: a key of some words, its tuple, a place in the table

    def __init__(self, max_bytes: int, max_items: int, size: Callable[[V], int]) -> None:
        self._max_bytes = max_bytes
        self._max_items = max_items
        self._size = size
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._bytes = 0

    def get(self, key: K) -> V | None:
        """Return the value and make it the last to go; None if it is not here."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def set(self, key: K, value: V) -> None:
        """Keep the value; one that outweighs an eighth of the whole is not kept."""
        self.delete(key)
        weight = self._size(value) + self._ENTRY_BYTES
        if weight * 8 > self._max_bytes or self._max_items < 1:
            return
        self._entries[key] = (value, weight)
        self._bytes += weight
        while self._bytes > self._max_bytes or len(self._entries) > self._max_items:
            _, (_, gone) = self._entries.popitem(last=False)
            self._bytes -= gone

    def delete(self, key: K) -> None:
        """Drop the value, if it is here."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= entry[1]

    def delete_where(self, matches: Callable[[K], bool]) -> int:
        """Drop every value whose key matches, and return how many; looks at all of them."""
        keys = [key for key in self._entries if matches(key)]
        for key in keys:
            self.delete(key)
        return len(keys)

    def clear(self) -> None:
        """Drop everything."""
        self._entries.clear()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def bytes(self) -> int:
        """The weight of everything here."""
        return self._bytes
