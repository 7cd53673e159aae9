from collections.abc import Sequence

import hypothesis.strategies as st
from hypothesis import given

from gateway.domain.reconciliation import (
    AFTER_BREAK_S,
    RELEASE_AFTER_S,
    SKEW_S,
    Candidate,
    Doubt,
    Verdict,
    judge,
)

T = 1_000_000.0
PUBLIC = "a" * 64


def doubt(name: str = "c1", user: str = "ann", **more: object) -> Doubt:
    values: dict[str, object] = {
        "kind": "prediction",
        "input_digest": "same",
        "model": "owner/name",
        "deployment": None,
        "sent_at": T,
        "broken_at": T + 1,
    }
    return Doubt(id=name, user_id=user, **{**values, **more})  # type: ignore[arg-type]  # by name


def candidate(name: str = "p1", **more: object) -> Candidate:
    values: dict[str, object] = {
        "kind": "prediction",
        "created_at": T + 0.5,
        "input_digest": "same",
        "model": "owner/name",
        "version": PUBLIC,
    }
    return Candidate(id=name, **{**values, **more})  # type: ignore[arg-type]  # by name


def decide(
    doubts: Sequence[Doubt],
    candidates: Sequence[Candidate] = (),
    *,
    later: float = 10.0,
    since: float = 0.0,
    under_way: Sequence[Doubt] = (),
) -> Verdict:
    return judge(
        doubts,
        candidates,
        list_read_at=T + 1 + later,
        complete_since={"prediction": since},
        under_way=under_way,
    )


def test_a_candidate_is_adopted_by_the_only_doubt() -> None:
    assert decide([doubt()], [candidate()]).adopted == {"c1": "p1"}


def test_what_differs_in_input_kind_model_or_time_is_none() -> None:
    for other in (
        candidate(input_digest="other"),
        candidate(kind="training"),
        candidate(model="owner/other"),
        candidate(created_at=T - SKEW_S - 1),
        candidate(created_at=T + 1 + AFTER_BREAK_S + SKEW_S + 1),
    ):
        assert decide([doubt()], [other]) == Verdict(possible={"c1": ()})


def test_a_name_that_is_not_comparable_is_not_compared() -> None:
    internal = candidate(model="replicate-internal/x", version="dp-1")
    assert decide([doubt()], [internal]).adopted == {"c1": "p1"}
    assert decide([doubt(model=None)], [candidate(model="a/b")]).adopted == {"c1": "p1"}
    deployed = doubt(deployment="acme/d")
    assert decide([deployed], [candidate(model="a/b")]).adopted == {"c1": "p1"}
    assert not decide([deployed], [candidate(deployment="acme/e")]).adopted


def test_fewer_candidates_than_users_in_doubt_are_given_to_none_of_them() -> None:
    verdict = decide([doubt(), doubt("c2", "bob")], [candidate()], later=RELEASE_AFTER_S + 1)
    assert verdict == Verdict(possible={"c1": ("p1",), "c2": ("p1",)})


def test_one_users_doubts_get_what_there_is_the_earliest_first() -> None:
    verdict = decide([doubt("c2", sent_at=T + 0.1), doubt("c1")], [candidate()])
    assert verdict.adopted == {"c1": "p1"}


def test_as_many_candidates_as_doubts_are_given_out() -> None:
    verdict = decide(
        [doubt(), doubt("c2", "bob")], [candidate(), candidate("p2", created_at=T + 0.7)]
    )
    assert set(verdict.adopted.values()) == {"p1", "p2"}


def test_what_somebody_may_just_be_making_is_not_given_away() -> None:
    live = doubt("c9", broken_at=float("inf"))
    assert decide([doubt()], [candidate()], under_way=[live]).adopted == {}
    other = doubt("c9", input_digest="other", broken_at=float("inf"))
    assert decide([doubt()], [candidate()], under_way=[other]).adopted == {"c1": "p1"}


def test_what_cannot_be_told_apart_any_more_is_left_to_an_admin() -> None:
    verdict = decide([doubt()], [candidate(input_digest=None)], later=RELEASE_AFTER_S + 1)
    assert verdict == Verdict(possible={"c1": ("p1",)})


def test_what_is_alike_in_outline_is_nobodys_and_nothing_is_given_back_for_it() -> None:
    lost = [doubt(input_outline="alike"), doubt("c2", input_digest="third")]
    rewritten = candidate(input_digest="other", input_outline="alike")
    verdict = decide(lost, [rewritten], later=RELEASE_AFTER_S + 1)
    assert verdict == Verdict(released=("c2",), possible={"c1": ("p1",)})


def test_what_is_equal_goes_before_what_is_alike_in_outline() -> None:
    alike = doubt("c1", "ann", input_digest="other", input_outline="alike")
    equal = doubt("c2", "bob", input_outline="alike", sent_at=T + 0.1)
    verdict = decide([alike, equal], [candidate(input_outline="alike")], later=RELEASE_AFTER_S + 1)
    assert verdict == Verdict(adopted={"c2": "p1"}, released=("c1",))


def test_without_an_outline_nothing_is_alike() -> None:
    other = candidate(input_digest="other")
    assert decide([doubt()], [other], later=RELEASE_AFTER_S + 1).released == ("c1",)


def test_only_a_late_list_that_reaches_far_enough_shows_that_nothing_happened() -> None:
    assert decide([doubt()], later=RELEASE_AFTER_S - 2).released == ()
    assert decide([doubt()], later=RELEASE_AFTER_S, since=T).released == ()
    assert decide([doubt()], later=RELEASE_AFTER_S, since=T - SKEW_S).released == ("c1",)


doubts_drawn = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 3), st.sampled_from("xy")), max_size=5
)
candidates_drawn = st.lists(st.tuples(st.integers(-60, 300), st.sampled_from("xy?")), max_size=5)


@given(doubts_drawn, candidates_drawn, st.floats(0, 600))
def test_nothing_is_given_twice_nor_given_back_while_it_may_have_happened(
    drawn: list[tuple[str, int, str]], seen: list[tuple[int, str]], later: float
) -> None:
    doubts = [
        doubt(f"c{place}", user, sent_at=T + at, broken_at=T + at + 1, input_digest=digest)
        for place, (user, at, digest) in enumerate(drawn)
    ]
    candidates = [
        candidate(f"p{place}", created_at=T + at, input_digest=None if digest == "?" else digest)
        for place, (at, digest) in enumerate(seen)
    ]
    verdict = decide(doubts, candidates, later=later)
    assert len(set(verdict.adopted.values())) == len(verdict.adopted)
    places = [set(verdict.adopted), set(verdict.released), set(verdict.possible)]
    assert sum(map(len, places)) == len(doubts) == len(set().union(*places))
    by_id = {one.id: one for one in candidates}
    for one in doubts:
        if one.id in verdict.adopted:
            assert by_id[verdict.adopted[one.id]].input_digest == one.input_digest
        elif one.id in verdict.released:
            assert not verdict.possible.get(one.id)
            assert T + 1 + later >= one.broken_at + RELEASE_AFTER_S
    # Two users' equal creates: all of them have one, or none.
    for digest in "xy":
        equal = [one for one in doubts if one.input_digest == digest]
        if len({one.user_id for one in equal}) > 1:
            given_out = [one.id in verdict.adopted for one in equal]
            fits = [
                one
                for one in candidates
                if one.input_digest == digest
                and all(start <= one.created_at <= end for start, end in (d.window for d in equal))
            ]
            if fits:
                assert all(given_out) or not any(given_out)
