"""The list of users: filtered, in an order, a page at a time."""

import pytest

from gateway.dashboard.members import PAGE, Member, listed, members_of
from gateway.ledger.keys import KeyInfo
from gateway.ledger.users import UserRow


def member(
    name: str,
    *,
    team: str | None = None,
    disabled: bool = False,
    predictions: int = 0,
    cost: int | None = 0,
    seen: float | None = None,
) -> Member:
    user = UserRow(name, name, team, None, "member", None, "", 0.0, 1.0 if disabled else None)
    return Member(user, predictions, cost, 1, seen)


PEOPLE = [
    member("Ann", team="red", predictions=5, cost=900, seen=10.0),
    member("bob", team="blue", disabled=True, predictions=9, cost=None),
    member("carla", predictions=1, cost=1000, seen=30.0),
    member("anton", team="red", predictions=7, cost=10, seen=20.0),
]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({}, ["Ann", "anton", "bob", "carla"]),
        ({"q": "AN"}, ["Ann", "anton"]),
        ({"team": "red"}, ["Ann", "anton"]),
        ({"team": "-"}, ["carla"]),
        ({"team": "none such"}, []),
        ({"state": "disabled"}, ["bob"]),
        ({"state": "active", "q": "a"}, ["Ann", "anton", "carla"]),
        ({"state": "odd"}, ["Ann", "anton", "bob", "carla"]),
        ({"order": "spend"}, ["carla", "Ann", "anton", "bob"]),
        ({"order": "made"}, ["bob", "anton", "Ann", "carla"]),
        ({"order": "seen"}, ["carla", "anton", "Ann", "bob"]),
    ],
)
def test_the_list_is_filtered_and_ordered(query: dict[str, str], names: list[str]) -> None:
    assert [one.user.name for one in listed(PEOPLE, query).shown] == names


def test_pages_hold_everybody_once_and_keep_the_filters() -> None:
    people = [member(f"user{number:03d}", team="red") for number in range(60)]
    seen: list[str] = []
    for page in ("1", "2", "3"):
        part = listed(people, {"page": page, "team": "red", "order": ""})
        seen += [one.user.name for one in part.shown]
        assert len(part.shown) <= PAGE
    assert seen == [one.user.name for one in people]
    middle = listed(people, {"page": "2", "team": "red"})
    assert (middle.first, middle.last, middle.found) == (26, 50, 60)
    assert middle.previous == "/dashboard/team?team=red"
    assert middle.next == "/dashboard/team?team=red&page=3"
    assert listed(people, {"page": "3"}).next is None
    assert listed(people, {}).previous is None


@pytest.mark.parametrize("page", ["0", "-1", "x", "²", "999999999", "9" * 5000, ""])
def test_a_page_that_is_not_there_is_the_nearest_one(page: str) -> None:
    people = [member(f"user{number:03d}") for number in range(30)]
    assert listed(people, {"page": page}).shown


def test_nobody_is_an_empty_page() -> None:
    nobody = listed([], {"page": "3"})
    assert (nobody.shown, nobody.first, nobody.last, nobody.next) == ((), 0, 0, None)


def test_only_keys_that_work_are_counted_and_the_last_use_of_any_is_told() -> None:
    def key(name: str, **more: float) -> KeyInfo:
        facts: dict[str, float | None] = {"expires_at": None, "revoked_at": None, **more}
        return KeyInfo(
            name,
            "u1",
            "ann",
            "hk-…",
            "",
            0.0,
            facts["expires_at"],
            facts["revoked_at"],
            facts.get("last_used_at"),
        )

    user = UserRow("u1", "ann", None, None, "member", None, "", 0.0, None)
    own = [
        key("a", last_used_at=5.0),
        key("b", expires_at=99.0, last_used_at=7.0),
        key("c", revoked_at=50.0),
        key("d", expires_at=101.0),
    ]
    (found,) = members_of([user], {}, own, now=100.0)
    assert (found.keys, found.last_used_at, found.predictions, found.cost) == (2, 7.0, 0, 0)
