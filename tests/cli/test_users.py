"""`users`: adding, changing and removing, and what is said when it cannot be."""

import pytest

from gateway.domain.plans import Metric, Overrides, Per
from gateway.web.admin.shapes_of_people import UserStanding
from tests.cli.conftest import Program


def test_an_added_user_is_listed_with_stable_fields(program: Program) -> None:
    assert program.ok("users", "add", "alice", "--team", "research", "--role", "manage") == ""
    (alice,) = program.json("users", "list")
    assert len(alice.pop("id")) == 26
    assert alice == {
        "name": "alice",
        "team": "research",
        "plan": None,
        "role": "manage",
        "disabled": False,
        "created_at": "2025-06-15T15:06:40.000Z",
        "disabled_at": None,
        "overrides": {
            "models_allow": None,
            "models_deny": None,
            "trainings": None,
            "concurrent_predictions": None,
            "unlimited_concurrency": False,
            "quotas": [],
            "lifted": [],
        },
    }


def test_the_next_command_means_the_same_ledger(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_STORAGE__DATA_DIR", "else where")
    file = program.folder / "gateway.toml"
    told = program.run("users", "add", "alice").stderr
    assert "GATEWAY_STORAGE__DATA_DIR='else where' " in told
    assert f" --config {file} keys create alice" in told


def test_piped_tables_are_aligned_text(program: Program) -> None:
    program.ok("users", "add", "al")
    program.ok("users", "add", "barbara", "--plan", "pro")
    heading, first, second = program.ok("users", "list").splitlines()
    assert heading.split()[:4] == ["NAME", "TEAM", "PLAN", "ROLE"]
    assert first.split()[:4] == ["al", "-", "-", "member"]
    assert second.split()[:4] == ["barbara", "-", "pro", "member"]
    assert heading.index("ROLE") == first.index("member") == second.index("member")


def test_an_empty_list_is_empty_for_programs_and_teaches_people(program: Program) -> None:
    assert program.json("users", "list") == []
    assert "users add NAME" in program.run("users", "list").stderr


@pytest.mark.parametrize("name", ["", "-x", "a b", "a/b", "ü", "a" * 65, "a\nb", ".a"])
def test_a_name_that_would_not_fit_a_label_is_misuse(program: Program, name: str) -> None:
    assert "letters" in program.fails(2, "users", "add", "--", name)
    assert program.json("users", "list") == []


@pytest.mark.parametrize("name", ["alice", "alice@example.com", "a.b-c_d+e", "7"])
def test_a_mail_address_is_a_good_name(program: Program, name: str) -> None:
    program.ok("users", "add", name)
    assert program.json("users", "show", name)["user"]["name"] == name


def test_a_name_is_given_once(program: Program) -> None:
    program.ok("users", "add", "alice")
    assert "alice" in program.fails(1, "users", "add", "alice")
    program.ok("users", "add", "bob")
    assert "alice" in program.fails(1, "users", "set", "bob", "--name", "alice")


def test_unknown_plans_and_teams_are_refused_with_those_there_are(program: Program) -> None:
    told = program.fails(2, "users", "add", "alice", "--plan", "por")
    assert "known are: default, pro" in told
    assert 'did you mean "pro"?' in told
    told = program.fails(2, "users", "add", "alice", "--team", "sales")
    assert "known are: research" in told
    assert "[teams.sales]" in told
    assert "member" in program.fails(2, "users", "add", "alice", "--role", "boss")
    assert program.json("users", "list") == []


def test_an_unknown_user_brings_up_the_one_that_was_meant(program: Program) -> None:
    program.ok("users", "add", "Alice")
    for line in (("show",), ("disable",), ("remove",), ("set", "--plan", "pro")):
        command, *options = line
        told = program.fails(1, "users", command, "alcie", *options)
        assert 'did you mean "Alice"?' in told
        assert len(told.splitlines()) == 1


def test_show_tells_the_plan_in_force_and_what_is_left_in_the_administrations_words(
    program: Program,
) -> None:
    program.ok("users", "add", "alice", "--team", "research")
    shown = program.json("users", "show", "alice")
    assert shown["user"] == program.json("users", "list")[0]
    standing = shown["standing"]
    UserStanding.model_validate({"user": shown["user"], "standing": standing}, strict=True)
    assert (standing["plan"], standing["models_deny"]) == ("pro", ["acme/secret"])
    assert [(each["limit"], each["scope"]) for each in standing["limits"]] == [
        (20, "user"),
        (500, "team"),
    ]
    assert standing["limits"][0]["remaining"] == 20
    assert standing["limits"][0]["estimated"] is True
    assert standing["limits"][0]["resets_at"] == "2025-07-01T00:00:00.000Z"
    assert standing["contact"] == "ops@example.com"
    text = program.ok("users", "show", "alice")
    assert "pro (not their own)" in text
    assert "$500.00 of estimated cost per month (team)" in text


def test_set_changes_what_is_given_and_nothing_else(program: Program) -> None:
    program.ok("users", "add", "alice", "--team", "research", "--plan", "pro")
    program.ok("users", "set", "alice", "--no-plan", "--role", "admin")
    shown = program.json("users", "show", "alice")["user"]
    assert (shown["team"], shown["plan"], shown["role"]) == ("research", None, "admin")
    program.ok("users", "set", "alice", "--no-team", "--name", "ally")
    shown = program.json("users", "show", "ally")["user"]
    assert (shown["team"], shown["role"]) == (None, "admin")


def test_set_without_a_wish_or_with_two_that_contradict_is_misuse(program: Program) -> None:
    program.ok("users", "add", "alice")
    assert "nothing to change" in program.fails(2, "users", "set", "alice")
    program.fails(2, "users", "set", "alice", "--team", "research", "--no-team")


def test_a_users_own_quotas_replace_the_plans(program: Program) -> None:
    program.ok("users", "add", "alice")
    program.ok(
        "users", "set", "alice",
        "--quota", "predictions=7/day", "--quota", "cost_usd=2.50/month:Acme/*",
        "--concurrent", "unlimited", "--trainings", "--deny", "acme/x",
    )  # fmt: skip
    shown = program.json("users", "show", "alice")
    standing = shown["standing"]
    assert [(each["metric"], each["limit"], each["models"]) for each in standing["limits"]] == [
        ("predictions", 7, []),
        ("cost_usd", 2.5, ["acme/*"]),
    ]
    assert standing["concurrent_predictions"] is None
    assert standing["trainings"] is True
    assert standing["models_deny"] == ["acme/x"]
    overrides = shown["user"]["overrides"]
    assert [quota["limit"] for quota in overrides["quotas"]] == [7, 2.5]
    assert overrides["unlimited_concurrency"] is True
    text = program.ok("users", "show", "alice")
    assert "quota predictions=7/day; quota cost_usd=2.5/month:acme/*; concurrent unlimited" in text
    program.ok("users", "set", "alice", "--no-quota", "predictions/day", "--quota", "images=1/hour")
    shown = program.json("users", "show", "alice")["standing"]
    assert [each["metric"] for each in shown["limits"]] == ["cost_usd", "images"]
    program.ok("users", "set", "alice", "--reset")
    shown = program.json("users", "show", "alice")
    assert shown["user"]["overrides"]["quotas"] == []
    assert [each["limit"] for each in shown["standing"]["limits"]] == [100]


def test_what_the_team_shares_can_be_overridden_too(program: Program) -> None:
    text = (program.folder / "gateway.toml").read_text(encoding="utf-8")
    more = '[plans.lab]\nquotas = [{ metric = "images", limit = 5, per = "day", scope = "team" }]\n'
    (program.folder / "gateway.toml").write_text(text + more, encoding="utf-8")
    program.ok("users", "add", "alice", "--team", "research", "--plan", "lab")

    def images() -> list[tuple[int, str]]:
        limits = program.json("users", "show", "alice")["standing"]["limits"]
        return [(each["limit"], each["scope"]) for each in limits if each["metric"] == "images"]

    program.ok("users", "set", "alice", "--quota", "images=9/day@team")
    assert images() == [(9, "team")]
    assert "quota images=9/day@team" in program.ok("users", "show", "alice")
    vain = program.run("users", "set", "alice", "--reset", "--no-quota", "images/day")
    assert "no rule images/day" in vain.stderr
    assert images() == [(5, "team")]
    lifted = program.run("users", "set", "alice", "--reset", "--no-quota", "images/day@team")
    assert "no rule" not in lifted.stderr
    assert images() == []


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--quota", "predictions", "METRIC=LIMIT/PER"),
        ("--quota", "cats=1/day", "predict_seconds"),
        ("--quota", "images=1/fortnight", "month"),
        ("--quota", "images=1.5/day", "whole numbers"),
        ("--quota", "images=1..5/day", "no amount"),
        ("--quota", "images=1/day:acme", "owner"),
        ("--no-quota", "images", "METRIC/PER"),
        ("--concurrent", "-1", "whole number"),
        ("--allow", "acme", "owner"),
    ],
)
def test_an_override_that_cannot_be_is_misuse(
    program: Program, option: str, value: str, told: str
) -> None:
    program.ok("users", "add", "alice")
    assert told in program.fails(2, "users", "set", "alice", option, value)
    overrides = program.json("users", "show", "alice")["user"]["overrides"]
    assert not any(overrides.values())


def test_none_at_the_same_time_is_said_to_be_nothing_at_all(program: Program) -> None:
    program.ok("users", "add", "alice")
    told = program.run("users", "set", "alice", "--concurrent", "0").stderr
    assert "alice can start nothing at all" in told
    assert "nothing" not in program.run("users", "set", "alice", "--concurrent", "1").stderr


def test_disabled_users_are_shown_so_until_they_are_enabled(program: Program) -> None:
    program.ok("users", "add", "alice")
    program.ok("users", "disable", "alice")
    assert program.json("users", "list")[0]["disabled_at"] == "2025-06-15T15:06:40.000Z"
    assert "disabled since" in program.ok("users", "show", "alice")
    program.ok("users", "enable", "alice")
    assert program.json("users", "list")[0]["disabled"] is False


def test_a_removed_user_is_gone_with_the_keys(program: Program) -> None:
    program.ok("users", "add", "alice")
    program.ok("keys", "create", "alice")
    program.ok("users", "remove", "alice")
    assert program.json("users", "list") == program.json("keys", "list") == []
    program.fails(1, "users", "remove", "alice")


def test_overrides_are_stored_as_the_domain_reads_them(program: Program) -> None:
    from gateway.cli.overrides import Wishes, change

    changed = change(Overrides(), Wishes(quotas=["tokens=5/hour"], no_quotas=["images/day"]))
    again = Overrides.from_json(changed.to_json())
    assert [(rule.metric, rule.limit, rule.per) for rule in again.rules] == [
        (Metric.TOKENS, 5, Per.HOUR)
    ]
    assert again.lifted[0][:2] == (Metric.IMAGES, Per.DAY)
