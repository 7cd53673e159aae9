"""Predictions, trainings, lists and files as a client sees them, made from what upstream wrote.

Documents are stored as upstream wrote them and shown per client: in the places named below, URLs of
known origins become the gateway's, ``input`` reads as the caller wrote it, ``webhook`` is put back.
All else stays byte for byte: number formats, escapes, order, unknown members.

===================================  =========================================================
``output``, anywhere inside          a string that is an output file's URL
``urls.get``, ``urls.cancel``        an API URL
``urls.stream``                      the client's stream, or left out if its origin is unknown
``input``, anywhere inside           an upstream value that stands for what the caller wrote
``next``, ``previous`` of a list     an API URL
``logs``, ``error``, ``urls.web``    never
===================================  =========================================================
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from gateway.domain.facts import (
    ListPage,
    NotAPrediction,
    PredictionFacts,
    facts,
    facts_of,
    list_page,
    parse_time,
)
from gateway.domain.foreign_json import load_foreign
from gateway.domain.json_text import (
    InvalidJson,
    MemberSpan,
    drop_members,
    encode,
    item_spans,
    member_spans,
    replace_spans,
    set_members,
    string_spans,
)
from gateway.domain.json_tokens import decode_string
from gateway.domain.statuses import TERMINAL, is_terminal, status_rank
from gateway.domain.urls import UrlMap, origin_of

__all__ = [
    "TERMINAL",
    "InvalidJson",
    "ListPage",
    "NotAPrediction",
    "PredictionFacts",
    "Rewritten",
    "View",
    "client_file",
    "client_list",
    "client_next_links",
    "client_prediction",
    "echo_key",
    "facts",
    "facts_of",
    "is_terminal",
    "list_document",
    "list_page",
    "output_urls",
    "parse_time",
    "rewrite_output_urls",
    "status_rank",
    "value_urls",
]

# Anything that could decode to a string beginning with "http".
_URL_LIKE: Final = re.compile(rb'"(?:http|\\)')
_PAGE_LINKS: Final = frozenset({"next", "previous"})

Edit = tuple[int, int, bytes]


@dataclass(frozen=True, slots=True)
class View:
    """How one document is shown to one client."""

    origin: str
    """Scheme and host under which this client reaches the gateway."""
    prediction_id: str
    substitutions: Mapping[str, str] = field(default_factory=dict)
    """What the caller wrote in ``input``, by ``echo_key`` or by the plain upstream value."""
    webhook: str | None = None
    webhook_events: tuple[str, ...] | None = None
    aborted_as: str = "aborted"
    """``"aborted"`` or ``"canceled"``: how this client is told that a prediction was aborted."""


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A body for a client."""

    body: bytes
    dropped_streams: tuple[str, ...] = ()
    """Origins of ``urls.stream`` members that were left out: not configured. To log and count."""

    @property
    def dropped_stream(self) -> str | None:
        """The first of ``dropped_streams``: a single document has at most one."""
        return self.dropped_streams[0] if self.dropped_streams else None


def echo_key(field_name: str, upstream: str) -> str:
    """The key in ``View.substitutions`` for one value in one place of ``input``.

    The place is part of it because the same upstream value may stand elsewhere as the caller's own.
    """
    return f"{field_name} {upstream}"


def client_prediction(body: bytes, urls: UrlMap, view: View) -> Rewritten:
    """One prediction or training. Raises ``InvalidJson`` if the body is not a JSON object."""
    _object(body)
    return _shown(body, urls, view)


def client_list(
    body: bytes, urls: UrlMap, origin: str, view_for: Callable[[str], View]
) -> Rewritten:
    """A page of predictions or trainings; ``view_for`` is asked with each item's id.

    Raises ``InvalidJson`` if the body is not a JSON object.
    """
    _object(body)
    edits: list[Edit] = []
    dropped: list[str] = []
    for member in member_spans(body):
        if member.name in _PAGE_LINKS:
            edits += _api_edits(body, member, urls, origin)
        elif member.name == "results" and body[member.start : member.start + 1] == b"[":
            for start, end in item_spans(body, member.start, member.end):
                item = body[start:end]
                if item[:1] != b"{":
                    continue
                shown = _shown(item, urls, view_for(_id_of(item)))
                edits.append((start, end, shown.body))
                dropped += shown.dropped_streams
    return Rewritten(replace_spans(body, edits), tuple(dropped))


def list_document(next_url: str | None, previous_url: str | None, items: Iterable[bytes]) -> bytes:
    """A page made here, of items that are ready for the client."""
    links = b'{"next":' + encode(next_url) + b',"previous":' + encode(previous_url)
    return links + b',"results":[' + b",".join(items) + b"]}"


def client_next_links(body: bytes, urls: UrlMap, origin: str) -> bytes:
    """``next`` and ``previous`` of any other list. Raises ``InvalidJson`` if it is not JSON."""
    document = load_foreign(body)
    if not isinstance(document, dict) or _PAGE_LINKS.isdisjoint(document):
        return body
    edits: list[Edit] = []
    for member in member_spans(body):
        if member.name in _PAGE_LINKS:
            edits += _api_edits(body, member, urls, origin)
    return replace_spans(body, edits)


def client_file(body: bytes, urls: UrlMap, origin: str) -> bytes:
    """A file object or a list of them: ``urls.get`` and the list's links.

    Raises ``InvalidJson`` if the body is not a JSON object.
    """
    _object(body)
    edits: list[Edit] = []
    for member in member_spans(body):
        if member.name in _PAGE_LINKS:
            edits += _api_edits(body, member, urls, origin)
        elif member.name == "urls":
            edits += _file_edits(body, member, urls, origin)
        elif member.name == "results" and body[member.start : member.start + 1] == b"[":
            for start, end in item_spans(body, member.start, member.end):
                if body[start : start + 1] != b"{":
                    continue
                for inner in member_spans(body, start, end):
                    if inner.name == "urls":
                        edits += _file_edits(body, inner, urls, origin)
    return replace_spans(body, edits)


def output_urls(body: bytes, urls: UrlMap) -> tuple[str, ...]:
    """Every output file's URL anywhere in ``output``, in order, each once.

    In the spelling under which files are mirrored. Raises ``InvalidJson`` if the body is not a JSON
    object.
    """
    _object(body)
    found: dict[str, None] = {}
    for member in member_spans(body):
        if member.name == "output":
            found |= dict.fromkeys(value_urls(body[member.start : member.end], urls))
    return tuple(found)


def value_urls(value: bytes, urls: UrlMap) -> tuple[str, ...]:
    """The output files' URLs anywhere in a JSON value, as ``output_urls`` has them."""
    if not _may_hold_urls(value, 0, len(value)):
        return ()
    files = (urls.delivery(span.value) for span in string_spans(value, like=_URL_LIKE))
    return tuple(dict.fromkeys(file.url for file in files if file is not None))


def rewrite_output_urls(value: bytes, urls: UrlMap, origin: str) -> bytes:
    """Any JSON value with the output files' URLs in it rewritten, the rest byte for byte."""
    return replace_spans(value, _output_edits(value, 0, len(value), urls, origin))


def _object(body: bytes) -> None:
    if not isinstance(load_foreign(body), dict):
        raise InvalidJson("The document must be a JSON object")


def _shown(body: bytes, urls: UrlMap, view: View) -> Rewritten:
    edits: list[Edit] = []
    dropped: list[str] = []
    for member in member_spans(body):
        if member.name == "output":
            edits += _output_edits(body, member.start, member.end, urls, view.origin)
        elif member.name == "urls":
            edits += _urls_edits(body, member, urls, view, dropped)
        elif member.name == "input" and view.substitutions:
            edits += _input_edits(body, member, view.substitutions)
        elif member.name == "status" and _string(body, member) == "aborted":
            edits.append((member.start, member.end, encode(view.aborted_as)))
    result = replace_spans(body, edits)
    if view.webhook is not None:
        put_back: dict[str, object] = {"webhook": view.webhook}
        if view.webhook_events is not None:
            put_back["webhook_events_filter"] = list(view.webhook_events)
        result = set_members(result, put_back)
    return Rewritten(result, tuple(dropped))


def _may_hold_urls(body: bytes, start: int, end: int) -> bool:
    # Two searches at memory speed spare most big outputs (text, data: URIs) the tokeniser.
    return body.find(b'"http', start, end) >= 0 or body.find(b"\\", start, end) >= 0


def _output_edits(body: bytes, start: int, end: int, urls: UrlMap, origin: str) -> list[Edit]:
    if not _may_hold_urls(body, start, end):
        return []
    edits: list[Edit] = []
    for span in string_spans(body, start, end, like=_URL_LIKE):
        shown = urls.delivery_to_client(span.value, origin)
        if shown != span.value:
            edits.append((span.start, span.end, encode(shown)))
    return edits


def _input_edits(body: bytes, member: MemberSpan, substitutions: Mapping[str, str]) -> list[Edit]:
    edits: list[Edit] = []
    for span in string_spans(body, member.start, member.end, path=("input",), like=_URL_LIKE):
        key = echo_key(".".join(map(str, span.path)), span.value)
        written = substitutions.get(key, substitutions.get(span.value))
        if written is not None:
            edits.append((span.start, span.end, encode(written)))
    return edits


def _urls_edits(
    body: bytes, member: MemberSpan, urls: UrlMap, view: View, dropped: list[str]
) -> list[Edit]:
    if body[member.start : member.start + 1] != b"{":
        return []
    edits: list[Edit] = []
    unknown_stream = False
    for inner in member_spans(body, member.start, member.end):
        if inner.name in ("get", "cancel"):
            edits += _api_edits(body, inner, urls, view.origin)
        elif inner.name == "stream":
            stream = _string(body, inner)
            if stream is None:
                continue
            shown = urls.stream_to_client(stream, view.prediction_id, view.origin)
            if shown is None:
                unknown_stream = True
                dropped.append(origin_of(stream))
            else:
                edits.append((inner.start, inner.end, encode(shown)))
    if not unknown_stream:
        return edits
    shift = member.start
    inside = [(start - shift, end - shift, new) for start, end, new in edits]
    rewritten = drop_members(replace_spans(body[shift : member.end], inside), {"stream"})
    return [(member.start, member.end, rewritten)]


def _file_edits(body: bytes, member: MemberSpan, urls: UrlMap, origin: str) -> list[Edit]:
    if body[member.start : member.start + 1] != b"{":
        return []
    return [
        edit
        for inner in member_spans(body, member.start, member.end)
        if inner.name == "get"
        for edit in _api_edits(body, inner, urls, origin)
    ]


def _api_edits(body: bytes, member: MemberSpan, urls: UrlMap, origin: str) -> list[Edit]:
    value = _string(body, member)
    if value is None:
        return []
    shown = urls.api_to_client(value, origin)
    return [] if shown == value else [(member.start, member.end, encode(shown))]


def _string(body: bytes, member: MemberSpan) -> str | None:
    if body[member.start : member.start + 1] != b'"':
        return None
    return decode_string(body, member.start, member.end)


def _id_of(item: bytes) -> str:
    for member in member_spans(item):
        if member.name == "id":
            return _string(item, member) or ""
    return ""
