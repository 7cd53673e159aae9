import asyncio
import io
import json
import logging
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import log
from gateway.log import LogFormat, Masker

UPSTREAM_TOKEN = "r8_Zq81kXvQm3nTtY7uHhBbCcDdEeFfGg"
KEY = "hk-" + "a1B2" * 10 + "xyz"

Start = Callable[[LogFormat], io.StringIO]


@pytest.fixture
def start() -> Iterator[Start]:
    root = logging.getLogger()
    before = root.handlers[:], root.level

    def begin(log_format: LogFormat) -> io.StringIO:
        stream = io.StringIO()
        log.configure(
            log_format, secrets=[UPSTREAM_TOKEN, "a secret of no known shape"], stream=stream
        )
        log.bind_request("")
        return stream

    yield begin
    root.handlers[:], level = before
    root.setLevel(level)
    logging.captureWarnings(False)
    logging.getLogger("uvicorn.access").disabled = False


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"key {KEY} is bad", KEY),
        (f"cut off: {KEY[:20]}", KEY[3:20]),
        (f"pasted into a word{KEY}", KEY),
        (f"my_{KEY}_key", KEY),
        (f"the account's_{UPSTREAM_TOKEN[:30]}", UPSTREAM_TOKEN[3:30]),
        (f"token {UPSTREAM_TOKEN}!", UPSTREAM_TOKEN),
        ("another account's r8_abcdefghijklmnop", "abcdefghijklmnop"),
        ("it is a secret of no known shape here", "a secret of no known shape"),
        ("Authorization: Bearer eyJhbGciOi.x.y", "eyJhbGciOi"),
        ("{'authorization': 'Token abcdef123'}", "abcdef123"),
        ("[(b'authorization', b'Bearer abcdef123')]", "abcdef123"),
        ("authorization=Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ("bearer abcdef123", "abcdef123"),
        ("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "C2FVsBQIhrscChlQIMV"),
        ("GET /v1/streams/s3cr3t-t0ken HTTP/1.1", "s3cr3t"),
        ("GET /v1/files/s3cr3t-t0ken?x=1", "s3cr3t"),
        ("https://stream.replicate.com/v1/files/s3cr3t.t0ken", "s3cr3t"),
        ("https://gateway.example/v1/predictions/s3cr3t", "s3cr3t"),
        ("https://h/f.png?expires=1&signature=s3cr3t&x=1", "s3cr3t"),
        ("https://h/f.png?X-Amz-Signature=s3cr3t", "s3cr3t"),
        ("https://h/f.png?X-Amz-Credential=s3cr3t%2F20250101", "s3cr3t"),
        ("https://h/f.png?X-Amz-Security-Token=s3cr3t==", "s3cr3t"),
        ("https://h/f.png?X-Goog-Signature=s3cr3t", "s3cr3t"),
        ("https://h/f.png?sv=2020&sig=s3cr3t%3D", "s3cr3t"),
        ("https://h/f.png?AWSAccessKeyId=s3cr3t", "s3cr3t"),
        ("?url=https%3A%2F%2Fh%2Ff%3Ftoken%3Ds3cr3t", "s3cr3t"),
        ("https://h/f?token=s3cr3t", "s3cr3t"),
        ("postgresql://user:s3cr3t@db/gateway", "s3cr3t"),
    ],
)
def test_a_secret_is_taken_out(text: str, secret: str) -> None:
    masked = Masker([UPSTREAM_TOKEN, "a secret of no known shape"]).mask(text)
    assert secret not in masked
    assert "***" in masked


@pytest.mark.parametrize(
    "text",
    [
        "GET /replicate/v1/predictions/gm3qorzdhgbfurvjtvhg6dckhu 200",
        "https://api.replicate.com/v1/predictions/gm3qorzdhgbfurvjtvhg6dckhu",
        "https://replicate.delivery/pbxt/abc/out-0.png",
        "tokens=12 max_tokens=5 status=200",
        "Upstream token refused",
        "sqlite:///data/ledger.sqlite3",
    ],
)
def test_what_is_no_secret_stays_readable(text: str) -> None:
    assert Masker().mask(text) == text


@given(st.text(alphabet="0123456789ABCDEFabcdefxyz", min_size=8, max_size=60), st.text(), st.text())
def test_a_key_is_masked_whatever_stands_around_it(body: str, before: str, after: str) -> None:
    key = f"hk-{body}"
    assert key not in Masker().mask(f"{before} {key} {after}")


def test_a_configured_secret_is_masked_even_when_another_is_a_part_of_it() -> None:
    assert Masker(["abcdef", "abcdefghij"]).mask("abcdefghij") == "***"


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_exceptions_and_extra_fields_are_masked_too(start: Start, log_format: LogFormat) -> None:
    out = start(log_format)
    try:
        raise ValueError(f"sent {UPSTREAM_TOKEN} to /v1/streams/s3cr3t")
    except ValueError:
        logging.getLogger("gateway.x").exception("bad %s", KEY, extra={"url": f"?token={KEY}"})
    text = out.getvalue()
    assert "ValueError" in text
    assert "Traceback" in text
    assert UPSTREAM_TOKEN not in text
    assert KEY not in text
    assert "s3cr3t" not in text


def test_lines_of_the_server_itself_pass_the_same_mask(start: Start) -> None:
    out = start("console")
    logging.getLogger("uvicorn.error").error("Exception at /v1/streams/s3cr3t?token=%s", KEY)
    assert "/v1/streams/***" in out.getvalue()
    assert KEY not in out.getvalue()


def test_the_servers_own_access_log_is_off(start: Start) -> None:
    out = start("console")
    logging.getLogger("uvicorn.access").info("GET /")
    assert out.getvalue() == ""


def test_json_lines_carry_level_time_request_user_and_extra_fields(start: Start) -> None:
    out = start("json")
    log.bind_request("req-1")
    log.bind_user("ada")
    logging.getLogger("gateway.web").warning(
        "slow %s", "thing", extra={"status": 200, "seconds": 1.5, "route": None}
    )
    record = json.loads(out.getvalue())
    assert record["message"] == "slow thing"
    assert record["level"] == "warning"
    assert record["logger"] == "gateway.web"
    assert record["request_id"] == "req-1"
    assert record["user"] == "ada"
    assert record["status"] == 200
    assert record["seconds"] == 1.5
    assert "route" not in record
    assert record["time"].endswith("Z")


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_a_line_of_trusted_fields_has_its_message_masked_all_the_same(
    start: Start, log_format: LogFormat
) -> None:
    out = start(log_format)
    log.bind_request("req-1")
    log.bind_user("ada")
    log.emit_fields(
        logging.getLogger("gateway.access"),
        logging.INFO,
        "GET /v1/streams/s3cr3t\n 200",
        {"route": "/v1/streams/{token}", "bytes": 0, "cache": "", "more": None},
    )
    text = out.getvalue()
    assert "s3cr3t" not in text
    assert text.count("\n") == 1
    assert "/v1/streams/{token}" in text
    assert "req-1" in text
    assert "ada" in text
    assert "cache" not in text
    assert "more" not in text
    if log_format == "json":
        assert json.loads(text)["bytes"] == 0


def test_people_read_a_route_only_where_it_says_more_than_the_address(start: Start) -> None:
    out = start("console")
    for path, route in [("/me/x", "/me/x"), ("/x/1", "/x/{id}"), ("/no", "unmatched")]:
        log.emit_fields(
            logging.getLogger("gateway.access"), logging.INFO, f"GET {path} 200", {"route": route}
        )
    assert [line.partition(" 200")[2] for line in out.getvalue().splitlines()] == [
        "",
        " route=/x/{id}",
        " route=unmatched",
    ]


def test_a_line_of_trusted_fields_below_the_level_is_not_written(start: Start) -> None:
    out = start("console")
    log.emit_fields(logging.getLogger("gateway.access"), logging.DEBUG, "x", {})
    assert out.getvalue() == ""


def test_a_new_request_does_not_inherit_the_last_ones_user(start: Start) -> None:
    out = start("json")
    log.bind_user("ada")
    log.bind_request("req-2")
    logging.getLogger("gateway.web").info("hello")
    assert "user" not in json.loads(out.getvalue())


def test_text_from_outside_cannot_forge_a_line_on_the_console(start: Start) -> None:
    out = start("console")
    logging.getLogger("gateway.web").info("path %s", "/a\r\n12:00:00 ERROR forged\x1b[31m")
    assert out.getvalue().count("\n") == 1
    assert "\x1b" not in out.getvalue()
    assert "\r" not in out.getvalue()


def test_colour_is_for_terminals_only(start: Start) -> None:
    out = start("console")
    logging.getLogger("gateway").error("red?")
    assert "\x1b" not in out.getvalue()

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    log.configure("console", stream=terminal)
    logging.getLogger("gateway").error("red!")
    assert "\x1b[31m" in terminal.getvalue()


def test_configuring_again_replaces_the_handler(start: Start) -> None:
    first = start("console")
    second = start("console")
    logging.getLogger("gateway").info("once")
    assert first.getvalue() == ""
    assert second.getvalue().count("once") == 1


async def test_lines_of_requests_wait_for_each_other_and_for_nothing_else() -> None:
    writes: list[str] = []

    class Counted(io.StringIO):
        def write(self, text: str) -> int:
            writes.append(text)
            return len(text)

    before = logging.getLogger().handlers[:]
    try:
        log.configure("console", stream=Counted())
        logger = logging.getLogger("gateway.together")
        log.emit_fields(logger, logging.INFO, "first", {})
        log.emit_fields(logger, logging.INFO, "second", {})
        assert writes == []
        logger.warning("third")
        assert [text.count("\n") for text in writes] == [3]
        assert [writes[0].index(word) for word in ("first", "second", "third")] == sorted(
            writes[0].index(word) for word in ("first", "second", "third")
        )
        log.emit_fields(logger, logging.INFO, "fourth", {})
        await asyncio.sleep(0)
        assert [text.count("\n") for text in writes] == [3, 1]
    finally:
        logging.getLogger().handlers[:] = before


def test_what_strangers_send_cannot_fill_the_log(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = start("console")
    server = logging.getLogger("uvicorn.error")

    def at(second: float) -> None:
        record = server.makeRecord(
            server.name, logging.WARNING, "", 0, "Invalid HTTP request received.", (), None
        )
        record.created = second
        server.handle(record)

    for count in range(1000):
        at(5000 + count / 100)
    assert out.getvalue().count("Invalid HTTP request received.") == 1
    server.warning("something else")
    assert "something else" in out.getvalue()
    at(5000 + log.SAID_AGAIN_AFTER_S)
    assert out.getvalue().count("Invalid HTTP request received.") == 2
    assert "So were 999 more since this was last said." in out.getvalue()


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_a_request_cut_off_at_the_end_is_one_line(start: Start, log_format: LogFormat) -> None:
    out = start(log_format)
    server = logging.getLogger("uvicorn.error")
    for error in (asyncio.CancelledError("Task cancelled"), ValueError("a fault")):
        try:
            raise error
        except BaseException as raised:  # noqa: BLE001 - as the server does
            server.error("Exception in ASGI application\n", exc_info=raised)
    cut, fault = out.getvalue().split("\n", 1)
    assert "a request was cut off" in cut
    assert "ValueError: a fault" in fault
    assert "Traceback" not in cut
    assert "CancelledError" not in out.getvalue()
