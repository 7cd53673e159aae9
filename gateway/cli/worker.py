"""`python -m gateway.cli.worker`: one of several processes that serve, started by a parent.

The parent says on standard input what to serve, then one word at a time what to do; when that ends,
so does the worker: nobody would end it otherwise. The worker says on standard output when it is
ready. It has a session of its own, so that a terminal's Ctrl-C reaches the parent alone.
"""

import asyncio
import json
import logging
import os
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from gateway.cli.commands import Failed
from gateway.cli.listening import Sockets, inherited, of_worker
from gateway.cli.logs import configure_log
from gateway.cli.serving import Serving
from gateway.clock import SystemClock
from gateway.settings import Settings, handed_over, taken_over

_log = logging.getLogger(__name__)

DRAIN = "drain"
FORCE = "force"
CERTIFICATES = "certificates"
READY = b"ready\n"

COULD_NOT_START = 3

_IN, _OUT = 0, 1


@dataclass(frozen=True, slots=True)
class Orders:
    """What a worker is told first: the descriptors of its sockets, and its settings."""

    main: int
    metrics: int | None
    multiprocess_dir: str
    settings: str

    @classmethod
    def of(cls, sockets: Sockets, multiprocess_dir: Path, settings: Settings) -> "Orders":
        """Write down what the worker needs."""
        metrics = None if sockets.metrics is None else sockets.metrics.fileno()
        return cls(sockets.main.fileno(), metrics, str(multiprocess_dir), handed_over(settings))

    def line(self) -> bytes:
        """Return the orders as one line."""
        return json.dumps(asdict(self)).encode() + b"\n"


def main() -> None:
    """Serve as the parent says; ends the process with a status that the parent understands."""
    orders, rest = _orders()
    settings = taken_over(orders.settings)
    configure_log(settings)
    sockets = Sockets(
        of_worker(inherited(orders.main)),
        None if orders.metrics is None else inherited(orders.metrics),
    )
    serving = Serving(
        settings,
        sockets,
        SystemClock(),
        multiprocess_dir=Path(orders.multiprocess_dir),
        publishes=False,
    )
    ears = _Ears(serving, rest)
    try:
        serving.run(ears.listen, lambda: _say(READY))
    except Failed as error:
        _log.critical("%s", error.message)
        sys.exit(COULD_NOT_START)


def _orders() -> tuple[Orders, bytes]:
    text = b""
    while b"\n" not in text:
        piece = os.read(_IN, 65536)
        if not piece:
            sys.exit("this is started by a gateway with several workers, not by hand")
        text += piece
    line, _, rest = text.partition(b"\n")
    return Orders(**json.loads(line)), rest


def _say(word: bytes) -> None:
    os.write(_OUT, word)


class _Ears:
    """Hears the parent, and the signals that a supervisor sends to all processes of a group."""

    def __init__(self, serving: Serving, heard: bytes) -> None:
        self._serving = serving
        self._heard = heard

    def listen(self, loop: asyncio.AbstractEventLoop) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._serving.drain)
        loop.add_signal_handler(signal.SIGHUP, self._serving.look_at_certificates)
        loop.add_reader(_IN, self._hear, loop)
        self._obey()

    def _hear(self, loop: asyncio.AbstractEventLoop) -> None:
        piece = os.read(_IN, 4096)
        if not piece:
            loop.remove_reader(_IN)
            self._serving.drain()
        self._heard += piece
        self._obey()

    def _obey(self) -> None:
        *words, self._heard = self._heard.split(b"\n")
        for word in words:
            match word.decode(errors="replace"):
                case "drain":
                    self._serving.drain()
                case "force":
                    self._serving.force()
                case "certificates":
                    self._serving.look_at_certificates()


if __name__ == "__main__":
    main()
