"""A throw-away PostgreSQL server on a Unix socket, for as long as the tests run."""

import atexit
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from urllib.parse import quote

import psycopg

from tests.support.tools import program

_USER = "gateway"
# The cluster lives for minutes: nothing of it has to survive anything.
_CARELESS = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=200"


@cache
def server() -> str:
    """Start the server, once in each test process, and return the URL of its first database."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(running_server())


@contextmanager
def running_server() -> Iterator[str]:
    """Run a server in a folder of its own, without any care for its data."""
    found = program("postgres")
    if found is None:
        raise FileNotFoundError("PostgreSQL is not installed: apt-get install postgresql")
    programs = found.resolve().parent
    # Short: a Unix socket's path may have about a hundred characters.
    folder = Path(tempfile.mkdtemp(prefix="gwpg"))
    # PostgreSQL refuses to run as root, so root hands it to the account made for it.
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if as_user:
        shutil.chown(folder, "postgres")
    data = ["-D", str(folder / "data")]

    def run(name: str, *arguments: str, check: bool = True) -> None:
        subprocess.run(
            [*as_user, str(programs / name), *arguments],
            check=check,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # a pipe would be held open by the server
            stderr=subprocess.DEVNULL,
            cwd=folder,
        )

    try:
        run("initdb", *data, "-U", _USER, "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        # No TCP port at all.
        options = f"-k {folder} -c listen_addresses='' {_CARELESS}"
        run("pg_ctl", *data, "-w", "-t", "60", "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield f"postgresql://{_USER}@/postgres?host={quote(str(folder), safe='')}"
        finally:
            run("pg_ctl", *data, "-m", "immediate", "stop", check=False)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def create_database(name: str, template: str = "template0") -> str:
    """Make a database and return its URL."""
    with psycopg.connect(server(), autocommit=True) as conn:
        conn.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'.encode())
    return server().replace("/postgres?", f"/{name}?")


def drop_database(name: str) -> None:
    """Drop it again, whoever is still connected."""
    with psycopg.connect(server(), autocommit=True) as conn:
        conn.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())
