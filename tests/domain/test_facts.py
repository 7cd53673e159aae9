"""What is read from upstream's documents."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.documents import TERMINAL, is_terminal, status_rank
from gateway.domain.facts import NotAPrediction, facts, facts_of, list_page, parse_time
from gateway.domain.json_text import InvalidJson


def test_a_finished_prediction_is_read() -> None:
    read = facts(
        b'{"id":"p1","status":"succeeded","model":"m/n","version":"dp-1","source":"api",'
        b'"created_at":"2024-01-02T03:04:05.5Z","started_at":"2024-01-02T03:04:06Z",'
        b'"completed_at":"2024-01-02T04:04:07.123456789+01:00","output":["a","b"],"error":null,'
        b'"data_removed":false,"logs":"line\\n","urls":{"stream":"https://s/v1/files/x"},'
        b'"metrics":{"predict_time":1.5,"image_count":2,"flag":true,"note":"x","big":1e999}}'
    )
    assert (read.id, read.status, read.model, read.version) == ("p1", "succeeded", "m/n", "dp-1")
    assert read.created_at == 1704164645.5
    assert read.created_at_text == "2024-01-02T03:04:05.5Z"
    assert read.started_at == 1704164646.0
    assert read.completed_at == pytest.approx(1704164647.123456789, abs=1e-6)
    assert (read.has_output, read.output_count, read.logs_length) == (True, 2, 5)
    assert read.metrics == {"predict_time": 1.5, "image_count": 2.0}
    assert read.stream_url == "https://s/v1/files/x"
    assert (read.source, read.error, read.data_removed) == ("api", None, False)


def test_a_fresh_prediction_may_lack_nearly_everything() -> None:
    read = facts(b'{"id":"p1","status":"starting","logs":null}')
    assert read == facts_of({"id": "p1", "status": "starting"})
    assert read.created_at is None
    assert (read.has_output, read.output_count, read.logs_length) == (False, 0, 0)
    assert (read.stream_url, read.metrics, read.data_removed) == (None, {}, False)


@given(
    st.fixed_dictionaries(
        {"id": st.just("p1"), "status": st.just("processing")},
        optional=dict.fromkeys(
            ["model", "version", "created_at", "completed_at", "output", "urls", "metrics"],
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
                lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
                max_leaves=4,
            ),
        )
        | {"error": st.dictionaries(st.text(), st.integers()), "logs": st.integers()},
    )
)
def test_odd_members_read_as_absent(document: dict[str, object]) -> None:
    read = facts_of(document)
    assert (read.id, read.status) == ("p1", "processing")
    assert all(value == value for value in read.metrics.values())


@pytest.mark.parametrize(
    "body",
    [b"{}", b"[]", b'{"id":"p1"}', b'{"id":1,"status":"x"}', b'{"id":"","status":"x"}', b"null"],
)
def test_a_document_without_id_or_status_is_no_prediction(body: bytes) -> None:
    with pytest.raises(NotAPrediction):
        facts(body)


def test_what_is_not_json_is_no_prediction_either() -> None:
    with pytest.raises(InvalidJson):
        facts(b"<html>502</html>")


def test_a_list_page_keeps_its_items_byte_for_byte() -> None:
    page = list_page(b'{"next":"n","previous":null,"results":[ {"id" : "p1"},{"id":"p2"} ]}')
    assert page.next == "n"
    assert page.previous is None
    assert page.items == (b'{"id" : "p1"}', b'{"id":"p2"}')
    assert list_page(b'{"results":[]}').items == ()
    for body in (b"{}", b"[]", b'{"results":null}', b"x"):
        with pytest.raises(InvalidJson):
            list_page(body)


@given(
    st.datetimes(
        datetime(1971, 1, 1),  # noqa: DTZ001 (hypothesis wants naive bounds)
        datetime(2100, 1, 1),  # noqa: DTZ001 (same)
        timezones=st.sampled_from([UTC, timezone(timedelta(hours=-5, minutes=-30))]),
    )
)
def test_times_are_read_as_they_were_written(moment: datetime) -> None:
    for text in (moment.isoformat(), moment.isoformat().replace("+00:00", "Z")):
        assert parse_time(text) == pytest.approx(moment.timestamp(), abs=1e-6)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:01Z", 1.0),
        ("1970-01-01T00:00:01.000000001Z", 1.000000001),
        ("1970-01-01t00:00:01z", 1.0),
        ("1970-01-01 01:00:01+0100", 1.0),
        ("1969-12-31T23:00:01-01:00", 1.0),
        ("1970-01-01T00:00:01", 1.0),
        ("2016-12-31T23:59:60Z", 1483228799.0),
        ("1970-13-01T00:00:01Z", None),
        ("1970-01-01T00:00:01+99:00", None),
        ("1970-01-01", None),
        ("yesterday", None),
        ("", None),
        ("\u0661970-01-01T00:00:01Z", None),
    ],
)
def test_times_of_every_shape(text: str, seconds: float | None) -> None:
    assert parse_time(text) == seconds


def test_states_only_move_forward() -> None:
    order = ["starting", "processing", "succeeded"]
    assert sorted(order, key=status_rank) == order
    assert {status_rank(status) for status in TERMINAL} == {2}
    assert all(is_terminal(status) for status in ("succeeded", "failed", "canceled", "aborted"))
    assert not is_terminal("processing")
    assert not is_terminal("something-new")
    assert status_rank("something-new") == 1


def test_a_numeric_overflow_in_metrics_is_left_out() -> None:
    body = json.dumps({"id": "p", "status": "s", "metrics": {"a": 10**400, "b": 1}}).encode()
    assert facts(body).metrics == {"b": 1.0}
