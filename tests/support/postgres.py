"""A throw-away PostgreSQL server on a Unix socket, for as long as the tests run."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

_USER = "gateway"


def _programs() -> Path | None:
    """Where initdb and postgres are: Debian keeps them beside the path."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_version)
    if versions:
        return versions[-1].parent
    found = shutil.which("initdb")
    return None if found is None else Path(found).resolve().parent


def _version(path: Path) -> float:
    try:
        return float(path.parts[-3])
    except ValueError:
        return 0.0


def _as_other_user() -> list[str]:
    """PostgreSQL refuses to run as root, so root hands it to the account made for it."""
    return ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []


@contextmanager
def running_server() -> Iterator[str]:
    """Start a server without any care for its data; yields a URL that ends in the socket's query.

    Skips the test if PostgreSQL is not installed, except in continuous integration, where that is
    a failure: a suite that is quietly left out protects nobody.
    """
    programs = _programs()
    if programs is None:
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL is not installed: apt-get install postgresql")
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    # Short: a Unix socket's path may have about a hundred characters.
    folder = Path(tempfile.mkdtemp(prefix="gwpg"))
    as_user = _as_other_user()
    if as_user:
        shutil.chown(folder, "postgres")
    data = folder / "data"
    # The cluster lives for minutes: nothing of it has to survive anything.
    careless = (
        "-c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=200"
    )
    try:
        subprocess.run(
            [
                *as_user,
                str(programs / "initdb"),
                *("-D", str(data), "-U", _USER, "-A", "trust", "-E", "UTF8", "--locale=C", "-N"),
            ],
            check=True,
            capture_output=True,
            cwd=folder,
        )
        # No TCP port at all; the socket's name still carries a number.
        subprocess.run(
            [
                *as_user,
                str(programs / "pg_ctl"),
                *("-D", str(data), "-w", "-t", "60", "-l", str(folder / "log")),
                *("-o", f"-k {folder} -c listen_addresses='' {careless}", "start"),
            ],
            check=True,
            capture_output=True,
            cwd=folder,
        )
        try:
            yield f"postgresql://{_USER}@/postgres?host={quote(str(folder), safe='')}"
        finally:
            subprocess.run(
                [*as_user, str(programs / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop"],
                check=False,
                capture_output=True,
                cwd=folder,
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def fresh_database(server: str, name: str) -> str:
    """Make an empty database on the server and return its URL."""
    import psycopg  # only those who have it get here

    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
    return server.replace("/postgres?", f"/{name}?")


def drop_database(server: str, name: str) -> None:
    """Drop it again, whoever is still connected."""
    import psycopg

    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
