"""Headers between clients and upstream."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.headers import (
    FILE_TO_CLIENT,
    FILE_TO_UPSTREAM,
    Wait,
    parse_prefer,
    pass_headers,
    remaining_wait,
    request_headers,
    response_headers,
    sane_request_id,
)

HELD_BACK = [
    b"authorization",
    b"cookie",
    b"connection",
    b"transfer-encoding",
    b"forwarded",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"idempotency-key",
    b"host",
    b"content-length",
    b"prefer",
    b"x-stainless-retry-count",
    b"x-request-id",
]


def test_only_what_upstream_needs_goes_up() -> None:
    headers = [(name, b"x") for name in HELD_BACK] + [
        (b"Content-Type", b"application/json"),
        (b"cancel-after", b"5m"),
    ]
    assert request_headers(headers, Wait(5), 0.02) == [
        (b"content-type", b"application/json"),
        (b"cancel-after", b"5m"),
        (b"prefer", b"wait=5"),
    ]
    assert not set(HELD_BACK) & FILE_TO_UPSTREAM


def test_only_harmless_headers_come_down() -> None:
    headers = [
        (b"Set-Cookie", b"a=b"),
        (b"ratelimit-remaining", b"3"),
        (b"Content-Encoding", b"gzip"),
        (b"Content-Length", b"10"),
        (b"Location", b"https://api.replicate.com/x"),
        (b"server", b"x"),
        (b"Content-Type", b"application/json"),
        (b"ETag", b'"e"'),
        (b"Preference-Applied", b"wait=5"),
    ]
    kept = [(b"content-type", b"application/json"), (b"preference-applied", b"wait=5")]
    assert response_headers(headers, rewritten=True) == kept
    assert (b"etag", b'"e"') in response_headers(headers, rewritten=False)
    assert b"set-cookie" not in FILE_TO_CLIENT


def test_a_value_that_could_split_a_header_is_held_back() -> None:
    headers = [(b"cancel-after", b"5m\r\nauthorization: x"), (b"accept", b"a/b")]
    assert request_headers(headers) == [(b"accept", b"a/b")]


def test_ranges_pass_for_files_only() -> None:
    headers = [(b"range", b"bytes=0-1")]
    assert request_headers(headers) == []
    assert pass_headers(headers, FILE_TO_UPSTREAM) == headers


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("wait", Wait(60)),
        ("wait=5", Wait(5)),
        (" Wait = 5 ", Wait(5)),
        ('wait="5"', Wait(5)),
        ("wait=60", Wait(60)),
        ("wait=999999", Wait(60)),
        ("respond-async, wait=10", Wait(10)),
        ("wait=3;foo=bar", Wait(3)),
        ("wait=3, wait=9", Wait(3)),
        ("wait=0", None),
        ("wait=-1", None),
        ("wait=1.5", None),
        ("wait=soon", None),
        ("waiting=5", None),
        ("respond-async", None),
        ("", None),
        (None, None),
    ],
)
def test_a_wait_is_read(value: str | None, wait: Wait | None) -> None:
    assert parse_prefer(value) == wait


@pytest.mark.parametrize(
    ("seconds", "spent", "value"),
    [
        (60, 0.0, "wait=60"),
        (60, 0.05, "wait=60"),
        (60, 0.3, "wait=59"),
        (5, 2.0, "wait=3"),
        (5, 4.5, None),
        (1, 0.02, "wait=1"),
        (1, 0.5, None),
        (5, 60.0, None),
    ],
)
def test_the_time_spent_here_is_taken_off(seconds: int, spent: float, value: str | None) -> None:
    assert remaining_wait(Wait(seconds), spent) == value


@given(st.integers(1, 60), st.floats(0, 100))
def test_what_is_left_is_whole_seconds_and_never_late(seconds: int, spent: float) -> None:
    value = remaining_wait(Wait(seconds), spent)
    if value is not None:
        assert re.fullmatch("wait=([1-9]|[1-5][0-9]|60)", value)
        assert int(value.removeprefix("wait=")) + spent <= seconds + 0.11


def test_no_wait_stays_none() -> None:
    assert remaining_wait(None, 0.0) is None


@pytest.mark.parametrize("value", ["abc", "7d9f-12_3.4", "a" * 128, "Root=1-67891233-abc"])
def test_a_sane_request_id_is_kept(value: str) -> None:
    assert sane_request_id(value) == value


@pytest.mark.parametrize("value", [None, "", "a" * 129, "a b", "a\nb", "<script>", "é", 'a"b'])
def test_any_other_request_id_is_not(value: str | None) -> None:
    assert sane_request_id(value) is None
