"""Labels whose values other people choose, kept from growing without bound.

Every combination of labels is a time series that lives as long as the process, so only the first
so many names keep a label of their own. With several workers a file makes that "first" common to
all of them: the bound holds for their sum, a name means the same in each, and no name that once was
counted ever moves to `other` (a counter that went backwards would look like a restart).
"""

import fcntl
import json
import logging
from pathlib import Path
from threading import Lock

OTHER = "other"

_log = logging.getLogger(__name__)


class BoundedLabel:
    """The values of one label: the first `most` names, then :data:`OTHER`.

    `shared` is a file in the folder that the workers of one machine share. A look into it happens
    once per new name and never again when the bound is reached. Any thread may ask.
    """

    def __init__(self, most: int, shared: Path | None = None) -> None:
        self._most = most
        self._shared = shared
        self._read_up_to = 0
        # Held while a name is added; names are never taken away, so looking needs no lock.
        self._adding = Lock()
        # Nobody, no team, an unknown model: an absent label, and none of the bounded ones.
        self._names = {""}

    def of(self, name: str) -> str:
        """Return the name itself, or :data:`OTHER`."""
        if name in self._names:
            return name
        if self._is_full():
            return OTHER
        with self._adding:
            try:
                self._admit(name)
            except OSError as error:
                _log.warning("metrics: names cannot be shared between workers: %s", error)
        return name if name in self._names else OTHER

    def _is_full(self) -> bool:
        return len(self._names) > self._most

    def _admit(self, name: str) -> None:
        if self._shared is None:
            if not self._is_full():
                self._names.add(name)
            return
        with self._shared.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # given back when the file is closed
            file.seek(self._read_up_to)
            for line in file.read().splitlines():
                self._names.add(json.loads(line))
            if name not in self._names and not self._is_full():
                file.write(json.dumps(name).encode() + b"\n")
                self._names.add(name)
            self._read_up_to = file.tell()
