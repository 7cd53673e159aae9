"""What a command works with: the settings, the ledger and the time."""

import asyncio
import difflib
import getpass
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import cached_property, wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Concatenate, ParamSpec, TypeVar

import click

from gateway.cli.commands import Failed, Invocation, say
from gateway.cli.demo_data import demo_folder, demo_runs
from gateway.clock import Clock
from gateway.flows.administer import Actor
from gateway.ledger import Connection, Ledger, LedgerError, LedgerUnavailable, audit, usage, users
from gateway.ledger.users import UserRow
from gateway.settings import (
    Settings,
    SettingsError,
    find_file,
    holds_clients_key,
    load,
    process_environment,
)

T = TypeVar("T")
P = ParamSpec("P")


class Session:
    """One run of a command. Faults come out as :class:`Failed`: a line for people, no traceback."""

    def __init__(self, invocation: Invocation) -> None:
        self.config_file = invocation.config_file
        self.clock: Clock = invocation.clock
        self._for_upstream = False

    def use_upstream(self) -> None:
        """Say, before the settings are read, that Replicate is to be asked with the token."""
        self._for_upstream = True

    @cached_property
    def settings(self) -> Settings:
        """The configuration. Raises Failed with all that is wrong with it."""
        if not self._for_upstream and holds_clients_key(process_environment()):
            say(
                "Note: REPLICATE_API_TOKEN holds a key of this gateway (hk-…), which is for"
                " clients; this command needs no token and leaves it aside. serve wants it unset."
            )
        return self.load()

    def load(self) -> Settings:
        """Read the configuration anew. Raises Failed."""
        try:
            return load(self.config_file, for_upstream=self._for_upstream)
        except SettingsError as error:
            raise Failed(f"the configuration cannot be used:\n{error}") from error

    @property
    def source(self) -> str:
        """Where the configuration comes from, for people."""
        found = find_file(self.config_file)
        return "the built-in defaults" if found is None else str(found)

    def run(
        self,
        work: Callable[[Ledger], Awaitable[T]],
        settings: Settings | None = None,
        *,
        begins: bool = True,
    ) -> T:
        """Do something with the open ledger, by default that of the configuration.

        Whoever only looks does not begin one: where there is none, they see an empty one.
        """
        settings = settings or self.settings
        if settings is self.settings:
            _mention_demo(settings)
        ledger = Ledger(settings.storage.database_url, self.clock, folder=settings.storage.data_dir)
        fresh = ledger.path is not None and not ledger.path.exists()
        if fresh and not begins and ledger.path is not None:
            say(f"Note: there is no ledger yet: {ledger.path.absolute()}")
            with TemporaryDirectory() as folder:
                empty = Ledger("", self.clock, folder=Path(folder))
                return self._opened(empty, work, fresh=False)
        return self._opened(ledger, work, fresh=fresh)

    def _opened(self, ledger: Ledger, work: Callable[[Ledger], Awaitable[T]], *, fresh: bool) -> T:
        async def opened() -> T:
            async with ledger:
                if fresh and ledger.path is not None:
                    say(f"Began a new ledger: {ledger.path.absolute()}")
                return await work(ledger)

        try:
            return asyncio.run(opened())
        except LedgerUnavailable as error:
            raise Failed(f"{error}; {_cure(error, ledger.path)}") from error
        except LedgerError as error:
            raise Failed(str(error)) from error

    def read(self, fn: Callable[[Connection], T]) -> T:
        """Run a function that reads the ledger."""
        return self.run(lambda ledger: ledger.read(fn), begins=False)

    def write(self, fn: Callable[[Connection], T]) -> T:
        """Run a function that changes the ledger, all or nothing."""
        return self.run(lambda ledger: ledger.write(fn, durable=True))

    def note(
        self,
        conn: Connection,
        action: str,
        subject: str,
        detail: Mapping[str, object] | None = None,
    ) -> None:
        """Write into the audit what this command does, in its own transaction."""
        actor = self.actor
        now = self.clock.now()
        audit.add(conn, now, actor.name, action, subject, detail, source=actor.source)

    @property
    def actor(self) -> Actor:
        """Who gives this command, and on which machine, for the audit."""
        return Actor(_actor(), socket.gethostname())


def with_session(
    command: Callable[Concatenate[Session, P], None],
) -> Callable[P, None]:
    """Give a command its session as the first argument."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        invocation = click.get_current_context().ensure_object(Invocation)
        command(Session(invocation), *args, **kwargs)

    return run


def find_user(conn: Connection, name: str) -> UserRow:
    """Find a user by name or id. Raises Failed, with the name that was probably meant."""
    user = users.get_user(conn, name)
    if user is None:
        known = [row.name for row in users.list_users(conn)]
        raise Failed(f'there is no user "{name}"; {meant(name, known, "users list shows all")}')
    return user


def find_owner(conn: Connection, name: str) -> str:
    """Find the id of a user by name or id, removed ones that used something among them.

    Raises Failed.
    """
    user = users.get_user(conn, name)
    former = usage.former_user(conn, name) if user is None else user.id
    return find_user(conn, name).id if former is None else former


def meant(word: str, known: Iterable[str], otherwise: str) -> str:
    """Ask whether a known word was meant; without a similar one say something else."""
    by_folded = {name.casefold(): name for name in known}
    close = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.6)
    return f'did you mean "{by_folded[close[0]]}"?' if close else otherwise


def _actor() -> str:
    try:
        return f"command line: {getpass.getuser()}"
    except (KeyError, OSError):  # a container's user without a name
        return "command line"


def _cure(error: LedgerUnavailable, path: Path | None) -> str:
    if path is None:
        return "is the database of storage.database_url up, and may this machine reach it?"
    if "not a database" in str(error) or "malformed" in str(error):
        return f"{path.absolute()} is damaged: restore a backup of it"
    return f"may you write to {path.absolute()}, and is there room on its disk?"


def _mention_demo(settings: Settings) -> None:
    """A demo keeps its users apart from the real ones: whoever looks for them here is told."""
    folder = demo_folder(settings)
    if demo_runs(folder):
        say(
            f"Note: a demo is running on {folder}; this command works on"
            f" {settings.storage.data_dir}. For the demo's data put"
            f" GATEWAY_STORAGE__DATA_DIR={folder} before the command."
        )
