"""URLs that clients write into ``input``, which have to mean something to upstream.

``input_gateway_urls`` finds every string in a create's ``input`` that is an address of this
gateway, or of an uploaded file in upstream's own form, and says what it stands for. The caller
decides what upstream is given instead (or refuses, naming ``field``); ``substitute`` writes it, and
``echo_map`` remembers it, so that answers show ``input`` as the caller wrote it.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from gateway.domain.documents import echo_key
from gateway.domain.json_text import encode, member_spans, replace_spans, string_spans
from gateway.domain.urls import FromClient, UrlMap

# Anything that a forgiving reader could take for a URL: blanks or control characters in front, any
# case, escapes. Everything else, megabytes of data: URIs above all, is not even decoded.
_URL_LIKE: Final = re.compile(rb'"(?:[hH]|\\|[^!-~])')

WEBHOOK_MEMBERS: Final = frozenset({"webhook", "webhook_events_filter", "webhook_completed"})
"""Top-level members of a create that upstream never sees: the gateway delivers webhooks itself."""


@dataclass(frozen=True, slots=True)
class InputUrl:
    """One string in ``input`` that must be replaced, checked or refused before upstream sees it."""

    field: str
    """Where it stands, as upstream's errors name it: ``input.images.0``."""
    start: int
    end: int
    """Byte positions of the string with its quotes."""
    value: str
    """What the caller wrote."""
    target: FromClient
    """What it stands for."""


def input_gateway_urls(
    body: bytes, urls: UrlMap, own_origins: Collection[str]
) -> tuple[InputUrl, ...]:
    """Every such URL in the top-level ``input`` of a body that ``parse_object`` accepted, in order.

    ``own_origins`` are the origins under which clients reach this gateway: the public one, its
    aliases and the one that this very request used.
    """
    found: list[InputUrl] = []
    for member in member_spans(body):
        if member.name != "input":
            continue
        for span in string_spans(body, member.start, member.end, path=("input",), like=_URL_LIKE):
            target = urls.from_client(span.value, own_origins) or urls.upstream_file(span.value)
            if target is not None:
                field = ".".join(map(str, span.path))
                found.append(InputUrl(field, span.start, span.end, span.value, target))
    return tuple(found)


def substitute(body: bytes, replacements: Iterable[tuple[InputUrl, str]]) -> bytes:
    """``body`` with each of these URLs replaced by another string, the rest byte for byte."""
    return replace_spans(
        body,
        [(url.start, url.end, encode(new)) for url, new in replacements if new != url.value],
    )


def echo_map(replacements: Iterable[tuple[InputUrl, str]]) -> dict[str, str]:
    """What ``View.substitutions`` needs to show ``input`` as the caller wrote it."""
    return {echo_key(url.field, new): url.value for url, new in replacements if new != url.value}
