"""Uploaded files: whose they are; and mirrored bytes that were handed to upstream again."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from sqlalchemy import Connection, and_, bindparam, or_, select

from gateway.ledger.statements import insert_or_ignore, insert_or_replace
from gateway.ledger.tables import reupload_claims, reuploads, uploads


@dataclass(frozen=True, slots=True)
class UploadRow:
    """An API file and who uploaded it."""

    file_id: str
    account: str
    user_id: str
    user_name: str
    team: str | None
    name: str | None
    content_type: str | None
    size: int | None
    created_at: float
    expires_at: float | None
    document: bytes | None = field(default=None, repr=False)
    """The file object as upstream wrote it."""


@dataclass(frozen=True, slots=True)
class Reupload:
    """Where upstream has the bytes of a mirrored file again, until when."""

    url: str
    file_id: str
    upstream_url: str
    expires_at: float


_FIELDS = tuple(UploadRow.__dataclass_fields__)
_COLUMNS = tuple(uploads.c[name] for name in _FIELDS)
_PUT = insert_or_replace(uploads, *_FIELDS[1:])
_GET = select(*_COLUMNS).where(uploads.c.file_id == bindparam("key"))
_LIST = select(*_COLUMNS).order_by(uploads.c.created_at.desc(), uploads.c.file_id.desc())
_REUPLOADS = tuple(reuploads.c[name] for name in Reupload.__dataclass_fields__)
_REUSE = select(*_REUPLOADS).where(
    reuploads.c.url == bindparam("key"), reuploads.c.expires_at > bindparam("alive_at")
)
_UNCLAIMED = (
    reupload_claims.update()
    .where(
        reupload_claims.c.url == bindparam("key"),
        or_(
            reupload_claims.c.claimed_until <= bindparam("now"),
            reupload_claims.c.claimed_by == bindparam("claimant"),
        ),
    )
    .values(claimed_until=bindparam("until"), claimed_by=bindparam("claimant"))
)
_CLAIM = insert_or_ignore(reupload_claims)
_RELEASE = reupload_claims.delete().where(
    reupload_claims.c.url == bindparam("key"), reupload_claims.c.claimed_by == bindparam("claimant")
)
_REUPLOADED = insert_or_replace(reuploads, "file_id", "upstream_url", "expires_at")


def add(conn: Connection, upload: UploadRow) -> None:
    """Note whose a file is."""
    conn.execute(_PUT.on(conn), {name: getattr(upload, name) for name in _FIELDS})


def get(conn: Connection, file_id: str) -> UploadRow | None:
    """Find a file."""
    row = conn.execute(_GET, {"key": file_id}).one_or_none()
    return None if row is None else UploadRow(*row)


def list_uploads(
    conn: Connection, *, user_id: str | None = None, team: str | None = None, limit: int = 1000
) -> list[UploadRow]:
    """List a user's files, or a team's, or all, newest first."""
    statement = _LIST
    if user_id is not None:
        statement = statement.where(uploads.c.user_id == user_id)
    if team is not None:
        statement = statement.where(uploads.c.team == team)
    return [UploadRow(*row) for row in conn.execute(statement.limit(limit))]


def page(
    conn: Connection,
    user_id: str,
    *,
    alive_at: float,
    before: tuple[float, str] | None = None,
    after: tuple[float, str] | None = None,
    limit: int = 100,
) -> list[UploadRow]:
    """List a user's files that live then, newest first: those older than `before`, else all.

    With `after`, the ones newer than it that come next. Places are (created_at, file_id).
    """
    at, name = uploads.c.created_at, uploads.c.file_id
    statement = select(*_COLUMNS).where(
        uploads.c.user_id == user_id,
        or_(uploads.c.expires_at.is_(None), uploads.c.expires_at > alive_at),
    )
    if before is not None:
        older = or_(at < before[0], and_(at == before[0], name < before[1]))
        statement = statement.where(older)
    if after is not None:
        newer = or_(at > after[0], and_(at == after[0], name > after[1]))
        statement = statement.where(newer).order_by(at, name)
    else:
        statement = statement.order_by(at.desc(), name.desc())
    rows = [UploadRow(*row) for row in conn.execute(statement.limit(limit))]
    return rows if after is None else rows[::-1]


def known(conn: Connection, file_ids: Iterable[str]) -> dict[str, UploadRow]:
    """Return those of these files that the ledger has."""
    ids = sorted(set(file_ids))
    if not ids:
        return {}
    found = conn.execute(select(*_COLUMNS).where(uploads.c.file_id.in_(ids)))
    return {row.file_id: row for row in (UploadRow(*values) for values in found)}


def remove(conn: Connection, file_id: str) -> bool:
    """Forget a file."""
    return conn.execute(uploads.delete().where(uploads.c.file_id == file_id)).rowcount > 0


def reuploaded(conn: Connection, reupload: Reupload) -> None:
    """Note where a mirrored file's bytes are upstream again."""
    conn.execute(
        _REUPLOADED.on(conn),
        {name: getattr(reupload, name) for name in Reupload.__dataclass_fields__},
    )


def reusable(conn: Connection, url: str, alive_at: float) -> Reupload | None:
    """Find an upload of a mirrored file that will be alive then."""
    row = conn.execute(_REUSE, {"key": url, "alive_at": alive_at}).one_or_none()
    return None if row is None else Reupload(*row)


def claim_reupload(conn: Connection, url: str, *, now: float, until: float, by: str) -> bool:
    """Become the one who uploads a mirrored file again, until then; False if somebody else is."""
    values = {"key": url, "now": now, "until": until, "claimant": by}
    if conn.execute(_UNCLAIMED, values).rowcount > 0:
        return True
    new = {"url": url, "claimed_until": until, "claimed_by": by}
    return conn.execute(_CLAIM.on(conn), new).rowcount > 0


def release_reupload(conn: Connection, url: str, by: str) -> None:
    """Give that up, done or failed."""
    conn.execute(_RELEASE, {"key": url, "claimant": by})


def prune(conn: Connection, before: float) -> int:
    """Forget what upstream has deleted by then; return how much."""
    conn.execute(reupload_claims.delete().where(reupload_claims.c.claimed_until < before))
    gone = conn.execute(reuploads.delete().where(reuploads.c.expires_at < before)).rowcount
    return gone + conn.execute(uploads.delete().where(uploads.c.expires_at < before)).rowcount
