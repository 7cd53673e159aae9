"""Links to the pages of a list that is made here."""

from urllib.parse import parse_qsl, urlencode

from gateway.domain import problems
from gateway.domain.cursors import Cursor, decode_cursor, encode_cursor
from gateway.flows.answer import Refused


def read_cursor(query: str) -> Cursor | None:
    """Return the cursor in a list's query, None on the first page.

    Raises:
        Refused: 400 for one that is none of ours.
    """
    text = dict(parse_qsl(query, keep_blank_values=True)).get("cursor")
    if not text:
        return None
    try:
        return decode_cursor(text)
    except ValueError:
        fault = "it is not a cursor of this list"
        raise Refused(problems.invalid_query("cursor", fault)) from None


def page_link(base: str, query: str, cursor: Cursor) -> str:
    """Return the address of the page at this cursor; the query's filters stay as they are."""
    kept = [pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] != "cursor"]
    return f"{base}?{urlencode([('cursor', encode_cursor(cursor)), *kept])}"
