"""`python -m gateway.cli.simulated_process`: the simulated Replicate as somebody's child.

It ends when its standard input does, so with whoever holds the other end: also with a parent that
was killed and could end nobody.
"""

import os
import signal
import threading

from gateway.simulator.__main__ import main


def _end_with_parent() -> None:
    # Not through sys.stdin: its lock would be held when the process ends otherwise.
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    main()
