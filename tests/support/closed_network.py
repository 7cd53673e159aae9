"""A network in which nothing but the gateway can be reached, and every other attempt is seen.

    with closed_network(port) as network:
        with network.entered():              # what this thread opens now, it opens in there
            Client(base_url=f"http://{network.gateway}:{port}/replicate")
        subprocess.run(network.inside("node", "job.mjs"))
        assert network.attempts() == []

A Linux network namespace with one cable to this machine; it ends with the process that watches it.
Making one takes root.
"""

import contextlib
import ctypes
import itertools
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.tools import must_be_there

_ROOT = Path(__file__).resolve().parents[2]
_PATIENCE_S = 20.0
_MARKER = "198.51.100.77"
"""An address that RFC 5737 keeps for documentation: what is sent there marks a moment."""


def why_not() -> str | None:
    """Return why no closed network can be made here; None where it can."""
    if sys.platform != "linux":
        return "network namespaces are Linux's"
    for name, package in (("ip", "iproute2"), ("nsenter", "util-linux"), ("unshare", "util-linux")):
        if shutil.which(name) is None:
            return f"{name} is not installed (Debian: {package})"
    tried = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    return None if tried.returncode == 0 else "making a network namespace is not permitted here"


class ClosedNetwork:
    """Such a network; `gateway` is the address that this machine has in it."""

    def __init__(self, watcher: subprocess.Popen[str], gateway: str) -> None:
        self.gateway = gateway
        self.namespace = f"/proc/{watcher.pid}/ns/net"
        self._seen: list[str] = []
        self._arrived = threading.Condition()
        self._marks = itertools.count(1024)
        self._lines = watcher.stdout
        self._reader = threading.Thread(target=self._read, name="closed network", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._lines or ():
            with self._arrived:
                self._seen.append(line.strip())
                self._arrived.notify_all()

    def inside(self, *command: str) -> list[str]:
        """Return a command that runs this one in there."""
        return ["nsenter", f"--net={self.namespace}", "--", *command]

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Move this thread into the network: sockets that it and its children open are in there."""
        with Path("/proc/thread-self/ns/net").open() as outside:
            with Path(self.namespace).open() as inside:
                _enter(inside.fileno())
            try:
                yield
            finally:
                _enter(outside.fileno())

    def attempts(self) -> list[str]:
        """Return, and forget, what was tried beside reaching the gateway: addresses and names.

        An attempt of our own is made last and waited for: the watcher is awake, and everything
        that came before has been seen. Fails otherwise.
        """
        mark = next(self._marks)
        with self.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"now", (_MARKER, mark))
        expected = f"udp {_MARKER} {mark}"
        with self._arrived:
            if not self._arrived.wait_for(lambda: expected in self._seen, _PATIENCE_S):
                raise AssertionError("nobody watches the closed network")
            at = self._seen.index(expected)
            found, self._seen = self._seen[:at], self._seen[at + 1 :]
        return found


def _enter(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, 0x40000000) != 0:  # CLONE_NEWNET
        raise OSError(ctypes.get_errno(), "setns")


def _ip(*arguments: str, inside: int | None = None, must: bool = True) -> bool:
    enter = ["nsenter", f"--net=/proc/{inside}/ns/net", "--"] if inside else []
    done = subprocess.run([*enter, "ip", *arguments], capture_output=True, text=True, check=False)
    if must and done.returncode != 0:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.returncode == 0


def addresses(place: int = 0) -> tuple[str, str]:
    """Return the gateway's address in a network of this process and the client's.

    Of those that RFC 2544 keeps for such tests. A process has two places.
    """
    high, low = divmod((os.getpid() * 2 + place) % 16384 * 4, 256)
    return f"198.18.{high}.{low + 1}", f"198.18.{high}.{low + 2}"


@contextlib.contextmanager
def closed_network(port: int, place: int = 0) -> Iterator[ClosedNetwork]:
    """Make a network from which only this port of this machine can be reached."""
    gateway, client = addresses(place)
    cable = f"rg{os.getpid()}{'ab'[place]}"
    watcher = subprocess.Popen(
        [
            *("unshare", "--net", sys.executable, "-m", "tests.support.network_watcher"),
            *(gateway, str(port)),
        ],
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert watcher.stdout is not None
        assert watcher.stdout.readline() == "ready\n", "the watcher did not start"
        inside = watcher.pid
        end = f"{cable}in"
        _ip("link", "add", cable, "type", "veth", "peer", "name", end, "netns", str(inside))
        _ip("addr", "add", f"{gateway}/30", "dev", cable)
        _ip("link", "set", cable, "up")
        _ip("link", "set", "lo", "up", inside=inside)
        _ip("addr", "add", f"{client}/30", "dev", end, inside=inside)
        _ip("link", "set", end, "up", inside=inside)
        everything = ("route", "add", "local", "default", "dev", "lo", "table", "main")
        _ip(*everything, inside=inside)
        # A machine without IPv6 has no such way out that would have to be closed.
        _ip("-6", *everything, inside=inside, must=False)
        yield ClosedNetwork(watcher, gateway)
    finally:
        watcher.kill()
        watcher.wait(_PATIENCE_S)
        if watcher.stdout is not None:
            _drain(watcher)


def _drain(watcher: subprocess.Popen[str]) -> None:
    # The reading thread ends with the pipe; only then may the pipe be closed.
    until = time.monotonic() + _PATIENCE_S
    for thread in threading.enumerate():
        if thread.name == "closed network":
            thread.join(max(0.0, until - time.monotonic()))
    if watcher.stdout is not None:
        watcher.stdout.close()


@contextlib.contextmanager
def closed_network_or_none(port: int, place: int = 0) -> Iterator[ClosedNetwork | None]:
    """Make such a network; None where none can be made, which in CI is a failure."""
    reason = why_not()
    if reason is None:
        with closed_network(port, place) as made:
            yield made
        return
    if must_be_there():
        raise RuntimeError(not_closed(reason))
    yield None


def not_closed(reason: str) -> str:
    """Return what is said of tests that run without a closed network."""
    return f"THE CLIENT'S NETWORK WAS NOT CLOSED, nobody saw what it reached beside: {reason}"
