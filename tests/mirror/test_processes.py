"""Several processes of one machine, started, killed and told apart."""

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.mirror.conftest import remains
from tests.mirror.process import SIZE
from tests.mirror.sources import made_bytes

PROJECT = Path(__file__).parents[2]
DIGEST = hashlib.sha256(made_bytes(SIZE)).hexdigest()


class Worker:
    """A running process of `tests.mirror.process`."""

    def __init__(self, home: Path, what: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.mirror.process", str(home), what],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            text=True,
        )

    def says(self, word: str, at_least: int = 0) -> str:
        """Return the next line that begins so, skipping what comes before."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            head, _, rest = line.strip().partition(" ")
            if head == word and (not at_least or int(rest) >= at_least):
                return rest
        raise AssertionError(f"the process ended without saying {word!r}")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> int:
        return self.process.wait(timeout=30)


Start = Callable[[str], Worker]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    workers: list[Worker] = []

    def start(what: str) -> Worker:
        workers.append(Worker(tmp_path, what))
        return workers[-1]

    yield start
    for worker in workers:
        worker.kill()
        assert worker.process.stdout is not None
        worker.process.stdout.close()


def let_pass(home: Path, count: int) -> None:
    fresh = home / "gate.new"
    fresh.write_text(str(count))
    fresh.rename(home / "gate")


def asked(home: Path) -> list[tuple[int, str | None]]:
    lines = (home / "asked").read_text().splitlines()
    return [(start, etag) for start, etag in map(json.loads, lines)]


def test_two_processes_fetch_a_file_once_and_read_it_as_it_grows(
    tmp_path: Path, start: Start
) -> None:
    let_pass(tmp_path, 500_000)
    first, second = start("read"), start("read")
    first.says("got", 500_000)
    second.says("got", 500_000)

    let_pass(tmp_path, SIZE)

    assert first.says("sha") == second.says("sha") == DIGEST
    assert first.end() == second.end() == 0
    assert asked(tmp_path) == [(0, None)]
    assert remains(tmp_path) == ["", ".json"]


def test_a_killed_fetch_is_taken_over_by_a_process_that_reads_along(
    tmp_path: Path, start: Start
) -> None:
    let_pass(tmp_path, 700_000)
    fetcher = start("ensure")
    fetcher.says("open")
    wait_for_part(tmp_path, 700_000)
    reader = start("read")
    reader.says("got", 700_000)

    fetcher.kill()
    let_pass(tmp_path, SIZE)

    assert reader.says("sha") == DIGEST
    assert reader.end() == 0
    assert asked(tmp_path) == [(0, None), (700_000, '"v1"')]
    assert remains(tmp_path) == ["", ".json"]


def test_a_killed_fetch_is_taken_over_by_a_process_that_comes_later(
    tmp_path: Path, start: Start
) -> None:
    let_pass(tmp_path, 1_300_000)
    fetcher = start("read")
    fetcher.says("got", 1_300_000)
    fetcher.kill()
    let_pass(tmp_path, SIZE)

    later = start("read")

    assert later.says("sha") == DIGEST
    assert asked(tmp_path) == [(0, None), (1_300_000, '"v1"')]


def test_a_file_deleted_by_another_process_does_not_come_into_being(
    tmp_path: Path, start: Start
) -> None:
    let_pass(tmp_path, 100_000)
    fetcher = start("ensure")
    fetcher.says("open")
    wait_for_part(tmp_path, 100_000)
    deleter = start("delete")
    wait_for(lambda: ".part.gone" in remains(tmp_path))

    let_pass(tmp_path, SIZE)

    assert fetcher.says("failed") == "OutputGone"
    assert deleter.says("deleted") == "False"
    assert remains(tmp_path) == []


def wait_for_part(home: Path, size: int) -> None:
    wait_for(lambda: any(p.stat().st_size >= size for p in home.rglob("*.part")))


def wait_for(holds: Callable[[], bool]) -> None:
    for _ in range(2_000):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("it never came to hold")
