"""`keys`: what users show to be let in."""

from collections.abc import Sequence

import click

from gateway.cli.commands import PROGRAM, Failed, Group, as_json, say
from gateway.cli.output import Column, print_list
from gateway.cli.session import Session, find_user, meant, with_session
from gateway.cli.times import duration, stamp
from gateway.domain import keys as domain
from gateway.flows.show_people import key_record, key_state
from gateway.ledger import Connection
from gateway.ledger import keys as rows
from gateway.ledger.keys import KeyInfo

_LONGEST_LABEL = 100


@click.group(cls=Group, example=f"{PROGRAM} keys create alice --label laptop --expires 30d")
def keys() -> None:
    """Make, list and revoke keys.

    A key is shown once, when it is made; only a digest of it is kept.
    """


@keys.command("create", example=f"KEY=$({PROGRAM} keys create alice --expires 30d)")
@click.argument("user")
@click.option("--label", default="", metavar="TEXT", help="What it is for, to tell keys apart.")
@click.option(
    "--expires",
    metavar="30d",
    callback=duration,
    help="How long it works (s, m, h or d). Without it: until it is revoked.",
)
@with_session
def create(session: Session, user: str, label: str, expires: float | None) -> None:
    """Make a key for a user and print it, alone, on stdout."""
    if len(label) > _LONGEST_LABEL or not label.isprintable():
        raise click.BadParameter(
            f"must be at most {_LONGEST_LABEL} printable characters", param_hint="--label"
        )
    clock = session.clock
    key, key_id, now = (
        domain.make_key(clock.secret(domain.KEY_SECRET_BYTES)),
        clock.new_id(),
        clock.now(),
    )
    expires_at = None if expires is None else now + expires

    def work(conn: Connection) -> str:
        row = find_user(conn, user)
        rows.add_key(
            conn,
            id=key_id,
            user_id=row.id,
            digest=domain.digest(key),
            hint=domain.hint(key),
            label=label,
            expires_at=expires_at,
            now=now,
        )
        session.note(conn, "keys.create", row.name, {"key_id": key_id, "label": label})
        if row.disabled:
            say(f"Note: {row.name} is disabled; the key works once they are enabled.")
        return row.name

    name = session.write(work)
    until = "until it is revoked" if expires_at is None else f"until {stamp(expires_at)} UTC"
    say(f"A key for {name}, good {until}. It is shown only this once (ID {key_id}):")
    click.echo(key)


@keys.command("list", example=f"{PROGRAM} keys list alice")
@click.argument("user", required=False)
@as_json
@with_session
def list_keys(session: Session, user: str | None, as_json: bool) -> None:
    """List a user's keys, or everybody's. The keys themselves are not kept."""
    now = session.clock.now()

    def work(conn: Connection) -> Sequence[KeyInfo]:
        return rows.list_keys(conn, None if user is None else find_user(conn, user).id)

    print_list(
        session.read(work),
        [
            Column("User", lambda key: key.user_name),
            Column("Key", lambda key: key.hint),
            Column("Label", lambda key: key.label),
            Column("State", lambda key: key_state(key, now)),
            Column("Created (UTC)", lambda key: stamp(key.created_at)),
            Column("Expires", lambda key: stamp(key.expires_at) or "never"),
            Column("Last used", lambda key: stamp(key.last_used_at) or "never"),
            Column("ID", lambda key: key.id),
        ],
        lambda key: key_record(key, now),
        as_json=as_json,
        empty=f"There are no keys: {PROGRAM} keys create {user or 'USER'}",
    )


@keys.command("revoke", example=f"{PROGRAM} keys revoke 3k9x…")
@click.argument("key_id")
@with_session
def revoke(session: Session, key_id: str) -> None:
    """Revoke a key for good, by its ID or, if it leaked, by the key itself."""

    def work(conn: Connection) -> tuple[KeyInfo, bool]:
        row = _find_key(conn, key_id)
        session.note(conn, "keys.revoke", row.user_name, {"key_id": row.id})
        return row, rows.revoke_key(conn, row.id, session.clock.now())

    row, news = session.write(work)
    if news:
        say(f"Revoked {row.hint} of {row.user_name}: it stops working within a second.")
    else:
        say(f"{row.hint} of {row.user_name} was revoked already.")


def _find_key(conn: Connection, key_id: str) -> KeyInfo:
    if domain.well_formed(key_id):
        found = rows.find_key(conn, domain.digest(key_id))
        key_id = "" if found is None else found.key_id
        row = rows.get_key(conn, key_id)
        if row is None:
            raise Failed("no user has this key")
        return row
    row = rows.get_key(conn, key_id)
    if row is None:
        known = [key.id for key in rows.list_keys(conn)]
        cure = meant(key_id, known, "keys list shows the IDs")
        raise Failed(f'there is no key with the ID "{domain.mask(key_id)}"; {cure}')
    return row
