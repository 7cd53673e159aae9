"""The simulated Replicate beside a demo: started, found again at the same ports, ended."""

import json
import logging
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.cli.commands import Failed

_log = logging.getLogger(__name__)

_HOST = "127.0.0.1"
# Three ports in a row from one of these on: below those that systems lend to outgoing connections,
# so that they are free at the next start, too.
_FIRST_PORTS = range(18081, 19081, 10)
_ORIGINS = ("api", "delivery", "stream")
_START_WITHIN_S = 30
_END_WITHIN_S = 5
_PAST_KEPT = 8


@dataclass(frozen=True, slots=True)
class Simulated:
    """Where the simulation can be reached.

    The origins begin with the present one; those of earlier starts follow, whose URLs still stand
    in stored documents.
    """

    api_url: str
    token: str
    delivery_origins: tuple[str, ...]
    stream_origins: tuple[str, ...]


@contextmanager
def simulated_replicate(folder: Path) -> Iterator[Simulated]:
    """Run the simulation as a child process; what it says goes to a file in the folder.

    Its addresses are remembered there. Raises Failed.
    """
    memory = folder / "simulator.json"
    known = _recall(memory)
    child, origins = _start(known.ports or _usual_ports(), folder / "simulator.log")
    ending = threading.Event()
    threading.Thread(
        target=_watch, args=(child, ending), name="simulated Replicate", daemon=True
    ).start()
    try:
        found = Simulated(
            origins["api_url"],
            origins["token"],
            _with_past(origins["delivery_origin"], known.delivery_origins),
            _with_past(origins["stream_origin"], known.stream_origins),
        )
        _remember(memory, found)
        yield found
    finally:
        ending.set()
        _end(child)


@dataclass(frozen=True, slots=True)
class _Memory:
    ports: Mapping[str, int] | None = None
    delivery_origins: tuple[str, ...] = ()
    stream_origins: tuple[str, ...] = ()


def _recall(path: Path) -> _Memory:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        delivery, stream = (
            tuple(str(origin) for origin in data[name])
            for name in ("delivery_origins", "stream_origins")
        )
        ports = {
            name: int(origin.rpartition(":")[2])
            for name, origin in (
                ("api", str(data["api_url"])),
                ("delivery", delivery[0]),
                ("stream", stream[0]),
            )
        }
    except FileNotFoundError:
        return _Memory()
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        _log.warning("the simulation's earlier addresses cannot be read from %s: %s", path, error)
        return _Memory()
    return _Memory(ports, delivery, stream)


def _remember(path: Path, found: Simulated) -> None:
    data = {
        "api_url": found.api_url,
        "delivery_origins": found.delivery_origins,
        "stream_origins": found.stream_origins,
    }
    path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def _with_past(origin: str, past: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((origin, *past)))[:_PAST_KEPT]


def _start(
    ports: Mapping[str, int], log: Path
) -> tuple["subprocess.Popen[bytes]", Mapping[str, str]]:
    command = [sys.executable, "-m", "gateway.cli.simulated_process", "--host", _HOST]
    for name, port in ports.items():
        command += [f"--{name}-port", str(port if _is_free(port) else 0)]
    with log.open("wb") as said:
        child = subprocess.Popen(  # noqa: S603 - our own module, with arguments of our own
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            # Ctrl-C is for the gateway, which still needs the simulation while it finishes.
            start_new_session=True,
        )
    try:
        return child, _first_words(child)
    except (ValueError, TimeoutError):
        _end(child)
    except BaseException:
        _end(child)
        raise
    if any(ports.values()):  # somebody may have taken one meanwhile
        return _start(dict.fromkeys(_ORIGINS, 0), log)
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    reason = lines[-1] if lines else "it said nothing"
    raise Failed(f"the simulated Replicate did not start: {reason} (see {log})")


def _usual_ports() -> Mapping[str, int]:
    for first in _FIRST_PORTS:
        ports = dict(zip(_ORIGINS, range(first, first + 3), strict=True))
        if all(_is_free(port) for port in ports.values()):
            return ports
    return dict.fromkeys(_ORIGINS, 0)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            return False
    return True


def _first_words(child: "subprocess.Popen[bytes]") -> Mapping[str, str]:
    """Return the addresses that the child tells. Raises ValueError, TimeoutError."""
    if child.stdout is None:
        raise ValueError("the child has no output")
    ready, _, _ = select.select([child.stdout], [], [], _START_WITHIN_S)
    if not ready:
        raise TimeoutError
    told = json.loads(child.stdout.readline())
    return {str(name): str(value) for name, value in told.items()}


def _watch(child: "subprocess.Popen[bytes]", ending: threading.Event) -> None:
    status = child.wait()
    if not ending.is_set():
        _log.error(
            "the simulated Replicate has ended (status %d): predictions fail until the gateway"
            " is started again",
            status,
        )


def _end(child: "subprocess.Popen[bytes]") -> None:
    child.terminate()
    try:
        child.wait(_END_WITHIN_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            pipe.close()
