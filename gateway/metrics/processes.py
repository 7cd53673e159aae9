"""The folder in which the workers of one machine put their numbers together."""

from pathlib import Path

from prometheus_client.multiprocess import mark_process_dead


def prepare_workers_dir(folder: Path) -> None:
    """Make the folder, empty of what an earlier run left: counters begin at 0 with the parent.

    The parent calls this before the first worker starts, and puts the folder's name into
    :data:`gateway.metrics.MULTIPROCESS_VARIABLE` of the workers' environment. Raises OSError.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for pattern in ("*.db", "*.names"):
        for left in folder.glob(pattern):
            left.unlink()


def worker_ended(folder: Path, pid: int) -> None:
    """Forget the gauges of a worker that has ended; what it counted stays in the sum."""
    mark_process_dead(pid, path=str(folder))  # type: ignore[no-untyped-call]  # published without
