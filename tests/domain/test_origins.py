"""Patterns of upstream's origins."""

import pytest

from gateway.domain.origins import (
    OriginPattern,
    UpstreamOrigins,
    canonical_origin,
    parse_origin_pattern,
)
from gateway.domain.urls import StreamTokens, UrlMap


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("https://replicate.delivery", OriginPattern("https", "replicate.delivery", False, None)),
        ("https://*.replicate.delivery/", OriginPattern("https", "replicate.delivery", True, None)),
        ("http://127.0.0.1:9001", OriginPattern("http", "127.0.0.1", False, 9001)),
        ("HTTPS://Files.Example:443", OriginPattern("https", "files.example", False, None)),
        ("http://localhost:443", OriginPattern("http", "localhost", False, 443)),
    ],
)
def test_an_origin_pattern_is_read(text: str, pattern: OriginPattern) -> None:
    assert parse_origin_pattern(text) == pattern
    assert parse_origin_pattern(str(pattern)) == pattern


@pytest.mark.parametrize(
    "text",
    [
        "",
        "replicate.delivery",
        "ftp://replicate.delivery",
        "https://",
        "https://*",
        "https://*.",
        "https://a.*.b",
        "https://replicate.delivery/path",
        "https://user@replicate.delivery",
        "https://replicate.delivery:0",
        "https://replicate.delivery:70000",
        "https://replicate.delivery:x",
        "https://rep licate.delivery",
        "https://[::1]",
        "https://" + "a." * 200 + "b",
    ],
)
def test_what_is_no_origin_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match="is not an origin") as caught:
        parse_origin_pattern(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://a.example", "https://a.example"),
        ("http://*.example", "https://a.example"),
        ("https://a.b.example", "http://*.example"),
        ("https://*.b.example", "http://*.example"),
        ("http://a.example:8443", "https://a.example:8443"),
    ],
)
def test_a_host_meant_with_two_schemes_is_refused(one: str, other: str) -> None:
    patterns = (parse_origin_pattern(one), parse_origin_pattern(other))
    with pytest.raises(ValueError, match="different schemes"):
        UrlMap(UpstreamOrigins("https://api.example", patterns, ()), StreamTokens(b"s" * 16))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://a.example:80", "https://b.example"),
        ("http://a.example:8080", "https://a.example"),
        ("https://*.example", "http://example"),
        ("https://*.a.example", "http://*.b.example"),
    ],
)
def test_hosts_that_cannot_be_confused_are_fine(one: str, other: str) -> None:
    patterns = (parse_origin_pattern(one), parse_origin_pattern(other))
    UrlMap(UpstreamOrigins("https://api.example", patterns, ()), StreamTokens(b"s" * 16))


def test_the_api_must_be_an_origin() -> None:
    with pytest.raises(ValueError, match="is not an origin"):
        UrlMap(UpstreamOrigins("https://api.example/v1", (), ()), StreamTokens(b"s" * 16))


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://GW.example", "https://gw.example"),
        ("https://gw.example:443/", "https://gw.example"),
        ("http://gw.example.:80", "http://gw.example"),
        ("http://gw.example:8080", "http://gw.example:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("https://gw.example/path", None),
        ("https://user@gw.example", None),
        ("ftp://gw.example", None),
        ("gw.example", None),
        ("https://gw.example:port", None),
        ("https://[", None),
    ],
)
def test_spellings_of_one_origin_come_out_equal(text: str, origin: str | None) -> None:
    assert canonical_origin(text) == origin
