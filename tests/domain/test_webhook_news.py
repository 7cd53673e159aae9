import itertools
import json

import hypothesis.strategies as st
from hypothesis import given

from gateway.domain.webhook_news import EVERY_S, Said, news, read, scene_of, write

ALL = ("start", "output", "logs", "completed")


def told(
    said: Said, now: float, wanted: tuple[str, ...] = ALL, **members: object
) -> tuple[Said, list[str]]:
    ended = members.get("status") == "succeeded"
    scene = scene_of(json.dumps(members).encode(), ended=ended)
    said, events = news(said, scene, wanted, now)
    return read(write(said)), list(events)


def test_each_thing_is_told_once() -> None:
    said, events = told(Said(), 0, status="starting")
    assert events == []
    said, events = told(said, 1, status="processing", logs="a", output=["x"])
    assert events == ["start", "output", "logs"]
    said, events = told(said, 2, status="processing", logs="a", output=["x"])
    assert events == []
    said, events = told(said, 3, status="processing", logs="ab", output=["x"])
    assert events == ["logs"]
    said, events = told(said, 4, status="succeeded", started_at="t", logs="abc", output=["x", "y"])
    assert events == ["completed"]


def test_what_comes_too_soon_is_told_later_or_with_the_end() -> None:
    said, events = told(Said(start=True), 1, status="processing", output="a")
    assert events == ["output"]
    said, events = told(said, 1.2, status="processing", output="b")
    assert events == []
    _, events = told(said, 1 + EVERY_S, status="processing", output="b")
    assert events == ["output"]
    _, events = told(said, 1.3, ("output",), status="succeeded", output="b")
    assert events == ["output"]


def test_a_start_that_nobody_saw_is_told_with_the_end() -> None:
    _, events = told(Said(), 1, ("start", "completed"), status="succeeded", started_at="t")
    assert events == ["start", "completed"]


def test_what_never_ran_did_not_start() -> None:
    scene = scene_of(b'{"status":"aborted","started_at":null}', ended=True)
    assert news(Said(), scene, ALL, 1)[1] == ("completed",)


@given(st.lists(st.tuples(st.floats(0, 2), st.sampled_from("abc")), max_size=30))
def test_no_two_outputs_are_told_within_half_a_second(steps: list[tuple[float, str]]) -> None:
    said, now, times = Said(), 1000.0, []
    for wait, output in steps:
        now += wait
        said, events = told(said, now, ("output",), status="processing", output=output)
        if "output" in events:
            times.append(now)
    assert all(b - a >= EVERY_S for a, b in itertools.pairwise(times))
