"""Which URL means what: upstream's addresses and the gateway's own addresses for the same things.

=====================================  ==============================================
upstream                               client's side
=====================================  ==============================================
``https://api.replicate.com/v1/X``     ``{origin}/replicate/v1/X``
``https://{host}/P`` (output file)     ``{origin}/replicate/delivery/{host[:port]}/P``
``https://{host}/v1/{kind}/T``         ``{origin}/v1/{kind}/{T'}``
=====================================  ==============================================

The map is one to one on URLs of the configured origins and leaves every other string alone. A
string is a URL of a known origin only when it *is* one, whole and plainly written: no surrounding
text or whitespace, no user-info, no fragment, no upper-case host, no default port spelled out, no
``.`` or ``..`` segments, no empty segments, no encoded slashes or dots. Characters that clients
always percent-encode on the way (é, say) are encoded in the client's form and the mirror's key.

What clients send back in ``input`` is read more generously (``from_client``, ``upstream_file``):
there, a spelling that was not recognised would be a file that upstream cannot fetch, or one that
escaped the check of who owns it.
"""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from unicodedata import normalize
from urllib.parse import quote, unquote

from gateway.domain.origins import (
    DEFAULT_PORTS,
    OriginPattern,
    UpstreamOrigins,
    canonical_origin,
    find_pattern,
    parse_origin_pattern,
    refuse_ambiguous,
    split_authority,
)
from gateway.domain.stream_tokens import STREAM_KINDS, StreamTokens, stream_kind

__all__ = [
    "STREAM_KINDS",
    "ApiUrl",
    "DeliveryUrl",
    "Foreign",
    "FromClient",
    "GatewayApi",
    "GatewayApiFile",
    "GatewayDelivery",
    "GatewayUnusable",
    "OriginPattern",
    "StreamTokens",
    "StreamUrl",
    "UnsafePath",
    "UpstreamOrigins",
    "UrlMap",
    "canonical_origin",
    "origin_of",
    "parse_origin_pattern",
]

MAX_URL: Final = 8192
"""Characters. A longer address could not be asked for: servers and proxies refuse such a line."""

API_PREFIX: Final = "/replicate/v1"
DELIVERY_PREFIX: Final = "/replicate/delivery/"

_DELIVERY_SLASHES: Final = re.compile(r"^/+replicate/+delivery/+")
_UNRESERVED: Final = "-._~!$&'()*+,;=:@/"
_STEP_CHAR: Final = r"A-Za-z0-9\-._~!$&'()*+,;=:@"
# Never in a path: encoded dots, slashes, backslashes and control characters, which some reader on
# the way would decode and then take for something else; empty, "." and ".." segments.
_PATH_TEXT: Final = (
    rf"(?:/(?!\.\.?(?:[/?]|\Z))(?:[{_STEP_CHAR}]++"
    r"|%(?!2[eEfF]|5[cC]|[01]|7[fF])[0-9A-Fa-f]{2})++)++/?"
)
_QUERY_TEXT: Final = rf"(?:[{_STEP_CHAR}/?]++|%[0-9A-Fa-f]{{2}})++"
_URL: Final = re.compile(rf"(https?)://([a-z0-9._:-]++)({_PATH_TEXT})(\?{_QUERY_TEXT})?")
_PATH_AND_QUERY: Final = re.compile(rf"{_PATH_TEXT}(?:\?{_QUERY_TEXT})?")
_HTTP: Final = ("http://", "https://")
# Blanks and control characters of every kind.
_BLANKS: Final = (
    r"\x00-\x20\x7f-\xa0\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u2064\u3000\ufeff"
)
_BLANK: Final = re.compile(f"[{_BLANKS}]")
_EDGES: Final = "".join(char for char in map(chr, range(0x10000)) if _BLANK.match(char))
# No URL has blanks, backslashes and fragments, and text that merely contains one has.
_NEVER: Final = re.compile(rf"[{_BLANKS}\\#]")
_FILE_ID: Final = re.compile(r"[A-Za-z0-9_.=-]{1,200}")
_LOOSE_URL: Final = re.compile(
    r"(?P<scheme>https?):[/\\]*(?P<authority>[^/\\?#]*)(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?",
    re.IGNORECASE,
)
_INNER: Final = str.maketrans("", "", "\t\r\n")


class UnsafePath(ValueError):
    """A path under ``/replicate/delivery/`` that no output file can have. Answer it with 404."""


@dataclass(frozen=True, slots=True)
class ApiUrl:
    """An address of upstream's API; ``path_and_query`` begins with ``/v1/``."""

    path_and_query: str


@dataclass(frozen=True, slots=True)
class DeliveryUrl:
    """An output file. ``url`` is the name under which it is registered and mirrored."""

    host: str
    path_and_query: str
    url: str


@dataclass(frozen=True, slots=True)
class StreamUrl:
    """A stream of server-sent events. ``url`` is a secret: whoever has it can read."""

    kind: str
    url: str


@dataclass(frozen=True, slots=True)
class Foreign:
    """Somebody else's address, or no address at all."""


@dataclass(frozen=True, slots=True)
class GatewayDelivery:
    """A mirrored output file, by its upstream address."""

    upstream_url: str


@dataclass(frozen=True, slots=True)
class GatewayApiFile:
    """An uploaded file of the API; ``upstream_url`` is what upstream has to be given."""

    file_id: str
    upstream_url: str


@dataclass(frozen=True, slots=True)
class GatewayApi:
    """Anything else of the API, by its upstream address."""

    upstream_url: str


@dataclass(frozen=True, slots=True)
class GatewayUnusable:
    """An address of this gateway that stands for nothing that upstream could fetch."""

    reason: str


FromClient = GatewayDelivery | GatewayApiFile | GatewayApi | GatewayUnusable


class UrlMap:
    """The map between upstream's URLs and the client's, for one configuration.

    Raises ``ValueError`` when the API's origin is not one, or when one delivery host could be meant
    with http and with https.
    """

    def __init__(self, origins: UpstreamOrigins, streams: StreamTokens) -> None:
        api = canonical_origin(origins.api)
        if api is None:
            raise ValueError(
                f"{origins.api!r} is not an origin: write https://host[:port], no path"
            )
        refuse_ambiguous(origins.delivery)
        self.api_origin = api
        self._delivery = origins.delivery
        self._is_delivery = _remembered(origins.delivery)
        self._is_stream = _remembered(origins.streams)
        self._tokens = streams
        # Some 'next' links were recorded with http:// although the API is asked by https.
        twin = "http" + api.removeprefix("https")
        self._api_origins = (api,) if twin == api else (api, twin)

    # Upstream's addresses

    def classify(self, url: str) -> ApiUrl | DeliveryUrl | StreamUrl | Foreign:
        """What an upstream URL is. Where one origin serves several things, the API comes first."""
        return self.api(url) or self.delivery(url) or self.stream(url) or Foreign()

    def api(self, url: str) -> ApiUrl | None:
        """``url`` as an address of the API under ``/v1/``."""
        for origin in self._api_origins:
            if url.startswith(origin) and url.startswith("/v1/", len(origin)):
                path_and_query = url[len(origin) :]
                if len(url) <= MAX_URL and _PATH_AND_QUERY.fullmatch(path_and_query):
                    return ApiUrl(path_and_query)
        return None

    def delivery(self, url: str) -> DeliveryUrl | None:
        """``url`` as an output file of a configured origin."""
        if len(url) > MAX_URL or not url.startswith(_HTTP):
            return None
        match = _URL.fullmatch(url)
        if match is None:
            if _NEVER.search(url):
                return None
            url = quote(url, safe=_UNRESERVED + "?%")
            match = _URL.fullmatch(url)
            if match is None:
                return None
        if not self._is_delivery(match[1], match[2]):
            return None
        return DeliveryUrl(match[2], url[match.start(3) :], url)

    def stream(self, url: str) -> StreamUrl | None:
        """``url`` as an event stream of a configured origin."""
        match = _URL.fullmatch(url) if len(url) <= MAX_URL else None
        if match is None or not self._is_stream(match[1], match[2]):
            return None
        return StreamUrl(stream_kind(url), url)

    # To the client's side

    def api_to_client(self, url: str, origin: str) -> str:
        """The client's form of an API address; anything else comes back as it is."""
        found = self.api(url)
        return url if found is None else f"{origin}/replicate{found.path_and_query}"

    def delivery_to_client(self, url: str, origin: str) -> str:
        """The client's form of an output file's address; anything else comes back as it is."""
        found = self.delivery(url)
        if found is None:
            return url
        return f"{origin}{DELIVERY_PREFIX}{found.host}{found.path_and_query}"

    def stream_to_client(self, url: str, prediction_id: str, origin: str) -> str | None:
        """The client's form of a stream's address; ``None`` if its origin is not configured."""
        found = self.stream(url)
        if found is None:
            return None
        return f"{origin}/v1/{found.kind}/{self._tokens.seal(prediction_id, url)}"

    # And back

    def delivery_from_path(self, raw_path: str, raw_query: str = "") -> str:
        """The upstream URL of ``/replicate/delivery/{raw_path}?{raw_query}``.

        Both as they came over the wire, percent-encoding untouched. Exactly the paths that
        ``delivery_to_client`` makes are understood, every other one raises ``UnsafePath``. What
        comes back is on a configured origin; whether such a file is known, the caller looks up.
        """
        host, slash, rest = raw_path.partition("/")
        authority = split_authority(host)
        pattern = None if authority is None else find_pattern(self._delivery, *authority)
        if pattern is None or not slash:
            raise UnsafePath("not a host of output files")
        if len(raw_path) + len(raw_query) > MAX_URL:
            raise UnsafePath("longer than any output file's address")
        path_and_query = f"/{rest}?{raw_query}" if raw_query else f"/{rest}"
        if "?" in rest or not _PATH_AND_QUERY.fullmatch(path_and_query):
            raise UnsafePath("not an output file's path")
        return f"{pattern.scheme}://{host}{path_and_query}"

    def from_client(self, url: str, own_origins: Collection[str]) -> FromClient | None:
        """What a client-side URL of this gateway stands for; ``None`` if it is not one.

        ``own_origins`` are the origins under which clients reach this gateway. The host's case, a
        spelled-out default port, a dot after the host, user-info and a fragment make no difference,
        nor do blanks around it. With a blank inside, a line's end too, it is a text that begins
        with an address, and goes up as it is. That opens nothing: who fetches from this gateway is
        checked here, and upstream has no key.
        """
        text = url.strip(_EDGES)
        found = None if _BLANK.search(text) else _loose(text)
        if found is None or found.origin not in _canonical(frozenset(own_origins)):
            return None
        # A slash too many, as joining addresses by hand leaves it, makes no difference.
        path = _DELIVERY_SLASHES.sub(DELIVERY_PREFIX, quote(found.path, safe=_UNRESERVED + "%"))
        query = quote(found.query, safe=_UNRESERVED + "?%")
        if path.startswith(DELIVERY_PREFIX):
            try:
                upstream = self.delivery_from_path(path.removeprefix(DELIVERY_PREFIX), query)
            except UnsafePath:
                return GatewayUnusable("it is not the address of an output file of this gateway")
            return GatewayDelivery(upstream)
        steps = _steps(found.path)
        if steps[:1] != ["replicate"]:
            return None
        if steps[1:2] == ["delivery"]:
            return GatewayUnusable("it is not the address of an output file of this gateway")
        return self._api_target(_below_v1(steps[1:]), path, query)

    def upstream_file(self, url: str) -> GatewayApiFile | GatewayUnusable | None:
        """An uploaded file in upstream's form, however it is spelled; ``None`` if it is not one.

        Who may use a file is decided by what this says, so it errs on the side of recognising:
        other schemes, ports, encodings, dots and surrounding whitespace do not hide a file's id.
        What has blanks inside is checked but never rewritten: one who may use a file may also
        write about it.

        A text with blanks inside may be a sentence that begins with an address, as in "…/files/F1
        answers 404, why?", or a spelling meant to get past the check. What fetchers make of blanks
        decides. In the path they are asked for as ``%20``, or refuse the URL: "F1%20answers…" is no
        file, and such a sentence nobody's concern, unless the dots behind take that step away. At a
        step's edges a blank might be trimmed; in a query, a fragment or user-info it changes
        nothing. Browsers' rules and Python's ``urlsplit`` take tabs and line ends out wherever they
        are, others quote them; some resolve ``..`` before they decode ``%2f``, others after. Every
        such reading counts, and where two lead to different files, neither may be had.
        """
        text = url.strip(_EDGES)
        blanks = _BLANK.search(text) is not None
        targets: set[GatewayApiFile | GatewayUnusable] = set()
        for reading in dict.fromkeys((text.translate(_INNER), text)):
            found = _loose(reading)
            if found is None or found.origin is None:
                continue
            if _host_of(found.origin) != _host_of(self.api_origin):
                continue
            for steps in (_steps(found.path), _resolved(map(_decoded, found.path.split("/")))):
                if steps[:1] != ["v1"]:
                    continue
                below = _below_v1(steps)
                target = (
                    _file_in_text(below, url)
                    if blanks
                    else self._api_target(below, found.path, found.query)
                )
                if target is not None and not isinstance(target, GatewayApi):
                    targets.add(target)
        if len(targets) > 1:
            return GatewayUnusable("it is not the address of an uploaded file")
        return targets.pop() if targets else None

    def _api_target(
        self, steps: list[str], path: str, query: str
    ) -> GatewayApiFile | GatewayApi | GatewayUnusable | None:
        if len(steps) >= 2 and steps[0] == "files":
            file_id = steps[1]
            if not _FILE_ID.fullmatch(file_id) or len(steps) > 3:
                return GatewayUnusable("it is not the address of an uploaded file")
            upstream = f"{self.api_origin}/v1/files/{file_id}"
            if steps[2:] == ["download"] and _PATH_AND_QUERY.fullmatch(f"/download?{query}"):
                upstream += f"/download?{query}"
            elif steps[2:]:
                return GatewayUnusable("it is not the address of an uploaded file")
            return GatewayApiFile(file_id, upstream)
        path_and_query = f"{path}?{query}" if query else path
        if not steps or not _PATH_AND_QUERY.fullmatch(path_and_query):
            return None
        raw = path_and_query.split("/")[1:]
        tail = "/".join(_below_v1(raw[1:] if raw[0] == "replicate" else raw))
        return GatewayApi(f"{self.api_origin}/v1/{tail}")


def origin_of(url: str) -> str:
    """Scheme and host of a URL, for logs: the rest of an address may be a secret."""
    found = _loose(url)
    return "no URL" if found is None or found.origin is None else found.origin


@dataclass(frozen=True, slots=True)
class _Loose:
    origin: str | None
    path: str
    query: str


def _loose(url: str) -> _Loose | None:
    """A URL as the most forgiving reader would take it."""
    text = url.strip(_EDGES)
    match = _LOOSE_URL.match(text) if text[:1] in ("h", "H") else None
    if match is None:
        return None
    authority = normalize("NFKC", unquote(match["authority"])).rpartition("@")[2]
    origin = canonical_origin(f"{match['scheme']}://{authority}")
    return _Loose(origin, match["path"].replace("\\", "/"), match["query"] or "")


@lru_cache(maxsize=64)
def _canonical(origins: frozenset[str]) -> frozenset[str | None]:
    return frozenset(map(canonical_origin, origins)) - {None}


def _host_of(origin: str) -> tuple[str, str]:
    """Host and port; http and https on their own ports count as one place."""
    authority = origin.partition("://")[2]
    host, _, port = authority.rpartition(":") if not authority.endswith("]") else ("", "", "")
    if not host or not port.isdigit():
        return authority, ""
    return host, "" if int(port) in DEFAULT_PORTS.values() else port


def _remembered(patterns: Sequence[OriginPattern]) -> Callable[[str, str], bool]:
    """Whether a scheme and ``host[:port]`` are covered; the answers for the last hosts are kept."""

    @lru_cache(maxsize=1024)
    def covered(scheme: str, host: str) -> bool:
        authority = split_authority(host)
        return authority is not None and find_pattern(patterns, *authority, scheme) is not None

    return covered


def _file_in_text(steps: list[str], text: str) -> GatewayApiFile | None:
    """The file that could be fetched from a text with blanks inside, under the text's own name."""
    match [bare for step in steps if (bare := step.strip(_EDGES))]:
        case ["files", file_id] | ["files", file_id, "download"] if _FILE_ID.fullmatch(file_id):
            return GatewayApiFile(file_id, text)
    return None


def _decoded(text: str) -> str:
    """Without percent-encoding, as often as somebody might undo it, and with slashes that lean."""
    for _ in range(4):
        decoded = unquote(text)
        if decoded == text:
            break
        text = decoded
    return text.replace("\\", "/")


def _steps(path: str) -> list[str]:
    """The path's segments after decoding and resolving everything that somebody might."""
    return _resolved(_decoded(path).split("/"))


def _resolved(segments: Iterable[str]) -> list[str]:
    steps: list[str] = []
    for step in segments:
        if step == "..":
            del steps[-1:]
        elif step not in ("", "."):
            steps.append(step)
    return steps


def _below_v1(steps: list[str]) -> list[str]:
    """Segments without the version in front, which people leave out or write twice."""
    while steps[:1] == ["v1"]:
        steps = steps[1:]
    return steps
