"""Output files: which exist, of which predictions, and whether their bytes are here."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, func, or_, select

from gateway.ledger.statements import insert_or_ignore
from gateway.ledger.tables import files, prediction_files, predictions


@dataclass(frozen=True, slots=True)
class Owner:
    """A prediction that a file belongs to, and whose that is."""

    prediction_id: str
    user_id: str
    team: str | None
    removed_at: float | None
    completed_at: float | None = None


@dataclass(frozen=True, slots=True)
class FileRow:
    """A file by its upstream URL. `state`: wanted, stored, passed (too large to keep), gone."""

    url: str
    state: str
    registered_at: float
    stored_at: float | None
    size: int | None
    content_type: str | None
    etag: str | None
    sha256: str | None
    attempts: int
    next_attempt_at: float | None
    last_error: str | None
    owners: tuple[Owner, ...] = ()

    @property
    def prediction_ids(self) -> tuple[str, ...]:
        """The predictions that it belongs to."""
        return tuple(owner.prediction_id for owner in self.owners)

    @property
    def user_ids(self) -> frozenset[str]:
        """The users whose predictions these are."""
        return frozenset(owner.user_id for owner in self.owners)


@dataclass(frozen=True, slots=True)
class FileTotals:
    """How many files are in which state, and how many bytes are stored."""

    counts: dict[str, int]
    stored_bytes: int


_COLUMNS = (
    files.c.url,
    files.c.state,
    files.c.registered_at,
    files.c.stored_at,
    files.c.size,
    files.c.content_type,
    files.c.etag,
    files.c.sha256,
    files.c.attempts,
    files.c.next_attempt_at,
    files.c.last_error,
)
_NEW = insert_or_ignore(files)
_LINK = insert_or_ignore(prediction_files)
_GET = select(*_COLUMNS).where(files.c.url == bindparam("key"))
_OWNERS = (
    select(
        predictions.c.id,
        predictions.c.user_id,
        predictions.c.team,
        predictions.c.removed_at,
        predictions.c.completed_at,
    )
    .join(prediction_files, prediction_files.c.prediction_id == predictions.c.id)
    .where(prediction_files.c.url == bindparam("key"))
    .order_by(predictions.c.created_at)
)
_OF = (
    select(*_COLUMNS)
    .join(prediction_files, prediction_files.c.url == files.c.url)
    .where(prediction_files.c.prediction_id == bindparam("prediction_id"))
    .order_by(files.c.url)
)
_FREE = or_(files.c.claimed_until.is_(None), files.c.claimed_until <= bindparam("now"))
_WANTED = (
    select(*_COLUMNS)
    .where(files.c.state == "wanted", files.c.next_attempt_at <= bindparam("now"), _FREE)
    .order_by(files.c.next_attempt_at)
    .limit(bindparam("most"))
)
_CLAIM = (
    files.update()
    .where(files.c.url == bindparam("key"), files.c.state == "wanted", _FREE)
    .values(claimed_until=bindparam("until"), claimed_by=bindparam("by"))
)
_RELEASE = (
    files.update()
    .where(files.c.url == bindparam("key"), files.c.claimed_by == bindparam("by"))
    .values(claimed_until=None, claimed_by=None)
)
_STORED = (
    files.update()
    .where(files.c.url == bindparam("key"), files.c.state != "gone")
    .values(
        state="stored",
        stored_at=bindparam("at"),
        size=bindparam("new_size"),
        content_type=bindparam("new_type"),
        etag=bindparam("new_etag"),
        sha256=bindparam("new_sha256"),
        next_attempt_at=None,
        claimed_until=None,
        claimed_by=None,
        last_error=None,
    )
)
_ENDED = (
    files.update()
    .where(files.c.url == bindparam("key"))
    .values(
        state=bindparam("new_state"),
        next_attempt_at=None,
        claimed_until=None,
        claimed_by=None,
        last_error=bindparam("error"),
    )
)
_FAILED = (
    files.update()
    .where(files.c.url == bindparam("key"), files.c.state == "wanted")
    .values(
        attempts=files.c.attempts + 1,
        next_attempt_at=bindparam("again_at"),
        claimed_until=None,
        claimed_by=None,
        last_error=bindparam("error"),
    )
)
_WANT_AGAIN = (
    files.update()
    .where(files.c.url == bindparam("key"), files.c.state == "stored")
    .values(state="wanted", stored_at=None, attempts=0, next_attempt_at=bindparam("now"))
)
_OLDEST = (
    select(*_COLUMNS)
    .where(files.c.state == "stored", files.c.stored_at < bindparam("before"))
    .order_by(files.c.stored_at)
    .limit(bindparam("most"))
)
_STORED_BEFORE = select(func.coalesce(func.sum(files.c.size), 0)).where(
    files.c.state == "stored", files.c.stored_at < bindparam("before")
)
_TOTALS = select(files.c.state, func.count(), func.coalesce(func.sum(files.c.size), 0)).group_by(
    files.c.state
)
_AFTER = (
    select(*_COLUMNS)
    .where(files.c.url > bindparam("after"))
    .order_by(files.c.url)
    .limit(bindparam("most"))
)


def register(conn: Connection, prediction_id: str, urls: Iterable[str], now: float) -> None:
    """Note that these upstream URLs are a prediction's output; known ones stay as they are."""
    known = sorted(set(urls))
    if not known:
        return
    conn.execute(
        _NEW.on(conn),
        [
            {
                "url": url,
                "state": "wanted",
                "registered_at": now,
                "attempts": 0,
                "next_attempt_at": now,
            }
            for url in known
        ],
    )
    conn.execute(_LINK.on(conn), [{"prediction_id": prediction_id, "url": url} for url in known])


def known(conn: Connection, url: str) -> FileRow | None:
    """Find a file and whose it is; None for a URL that belongs to no prediction of ours."""
    row = conn.execute(_GET, {"key": url}).one_or_none()
    if row is None:
        return None
    owners = tuple(Owner(*owner) for owner in conn.execute(_OWNERS, {"key": url}))
    return FileRow(*row, owners)


def files_of(conn: Connection, prediction_id: str) -> list[FileRow]:
    """List a prediction's files, without their owners."""
    return [FileRow(*row) for row in conn.execute(_OF, {"prediction_id": prediction_id})]


def wanted(conn: Connection, now: float, limit: int) -> list[FileRow]:
    """List files that are due to be fetched and that nobody fetches."""
    return [FileRow(*row) for row in conn.execute(_WANTED, {"now": now, "most": limit})]


def claim(conn: Connection, url: str, now: float, until: float, by: str) -> bool:
    """Become the one who fetches a file, until then; False if somebody else does or it is here."""
    values = {"key": url, "now": now, "until": until, "by": by}
    return conn.execute(_CLAIM, values).rowcount > 0


def release(conn: Connection, url: str, by: str) -> None:
    """Give a claim back."""
    conn.execute(_RELEASE, {"key": url, "by": by})


def stored(
    conn: Connection,
    url: str,
    size: int,
    content_type: str | None,
    etag: str | None,
    sha256: str | None,
    now: float,
) -> bool:
    """Note that a file's bytes are here; False if it was erased meanwhile: then delete them."""
    values = {
        "key": url,
        "at": now,
        "new_size": size,
        "new_type": content_type,
        "new_etag": etag,
        "new_sha256": sha256,
    }
    return conn.execute(_STORED, values).rowcount > 0


def passed(conn: Connection, url: str, reason: str | None = None) -> None:
    """Note that a file is not kept (too large): it is streamed through while upstream has it."""
    conn.execute(_ENDED, {"key": url, "new_state": "passed", "error": reason})


def gone(conn: Connection, url: str, reason: str | None = None) -> None:
    """Note that a file is gone for good. Row first, bytes afterwards."""
    conn.execute(_ENDED, {"key": url, "new_state": "gone", "error": reason})


def failed(conn: Connection, url: str, next_attempt_at: float, error: str | None = None) -> None:
    """Note that fetching failed, and when to try again."""
    conn.execute(_FAILED, {"key": url, "again_at": next_attempt_at, "error": error})


def want_again(conn: Connection, url: str, now: float) -> bool:
    """Note that a stored file's bytes are lost or damaged: it is fetched again if it can be."""
    return conn.execute(_WANT_AGAIN, {"key": url, "now": now}).rowcount > 0


def oldest_stored(conn: Connection, before: float, limit: int) -> list[FileRow]:
    """List what was stored before then, oldest first: what goes when space is needed."""
    return [FileRow(*row) for row in conn.execute(_OLDEST, {"before": before, "most": limit})]


def stored_before(conn: Connection, before: float) -> int:
    """Return how many bytes are held by what was stored before then."""
    return int(conn.execute(_STORED_BEFORE, {"before": before}).scalar_one())


def after(conn: Connection, url: str, limit: int) -> list[FileRow]:
    """List all files in the order of their URLs, a page at a time; begin with ""."""
    return [FileRow(*row) for row in conn.execute(_AFTER, {"after": url, "most": limit})]


def stats(conn: Connection) -> FileTotals:
    """Count files and stored bytes."""
    rows: Sequence[tuple[str, int, int]] = [
        (row[0], int(row[1]), int(row[2])) for row in conn.execute(_TOTALS)
    ]
    return FileTotals(
        counts={state: count for state, count, _ in rows},
        stored_bytes=sum(size for state, _, size in rows if state == "stored"),
    )
