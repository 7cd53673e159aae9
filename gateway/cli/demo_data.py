"""Where a demo keeps its data, and whether one is running there."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.cli.commands import Failed
from gateway.settings import Settings

_LOCK = "running.lock"


def demo_folder(settings: Settings) -> Path:
    """Return the folder that holds everything of a demo: its ledger, its mirror, its key."""
    return settings.storage.data_dir / "demo"


def demo_runs(folder: Path) -> bool:
    """Return whether a demo is running on this folder."""
    try:
        handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


@contextmanager
def the_only_demo(folder: Path) -> Iterator[None]:
    """Hold the folder: two simulations behind one ledger would contradict each other.

    The lock goes with the process, however it ends. Raises Failed.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise Failed(f"{folder} cannot be written: {reason}; set storage.data_dir") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise Failed(
            f"another demo is running on {folder}: stop it, or give this one a folder of its own"
            " (GATEWAY_STORAGE__DATA_DIR=…)"
        ) from None
    try:
        yield
    finally:
        os.close(handle)
