from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.plans import (
    Identity,
    Metric,
    Overrides,
    Per,
    Plan,
    Policy,
    Price,
    QuotaRule,
    Role,
    Scope,
    Team,
    effective_plan,
    globs_of,
    models_key,
)

GLOBS = st.text("abcXYZ0-_.*?/[]!é", min_size=1, max_size=12)
NAMES = st.text(max_size=12)
RULES = st.builds(
    QuotaRule,
    metric=st.sampled_from(Metric),
    limit=st.integers(0, 2**62),
    per=st.sampled_from(Per),
    models=st.lists(GLOBS, max_size=3).map(tuple),
    scope=st.sampled_from(Scope),
)
RULE_LISTS = st.lists(RULES, max_size=3).map(tuple)
GLOB_LISTS = st.lists(GLOBS, max_size=3).map(tuple)
AMOUNTS = st.none() | st.decimals(0, 10**6, allow_nan=False, allow_infinity=False)
PLANS = st.builds(
    Plan,
    name=NAMES,
    models_allow=GLOB_LISTS,
    models_deny=GLOB_LISTS,
    trainings=st.booleans(),
    concurrent_predictions=st.none() | st.integers(0, 10**6),
    rules=RULE_LISTS,
)
TEAMS = st.builds(
    Team,
    name=NAMES,
    plan=st.none() | NAMES,
    share=st.booleans(),
    rules=RULE_LISTS,
    webhook=st.none() | NAMES,
    webhook_secret=st.none() | NAMES,
)
PRICES = st.builds(
    Price,
    pattern=GLOBS,
    per_second=AMOUNTS,
    per_image=AMOUNTS,
    per_input_token=AMOUNTS,
    per_output_token=AMOUNTS,
    per_prediction=AMOUNTS,
    expected_seconds=st.decimals(0, 10**6, allow_nan=False, allow_infinity=False),
    expected_tokens=st.integers(0, 10**9),
)
POLICIES = st.builds(
    Policy,
    plans=st.lists(PLANS, max_size=3).map(lambda plans: {plan.name: plan for plan in plans}),
    teams=st.lists(TEAMS, max_size=3).map(lambda teams: {team.name: team for team in teams}),
    prices=st.lists(PRICES, max_size=3).map(tuple),
    contact=NAMES,
)
OVERRIDES = st.builds(
    Overrides,
    models_allow=st.none() | GLOB_LISTS,
    models_deny=st.none() | GLOB_LISTS,
    trainings=st.none() | st.booleans(),
    concurrent_predictions=st.none() | st.integers(0, 100),
    unlimited_concurrency=st.booleans(),
    rules=RULE_LISTS,
    lifted=RULE_LISTS.map(lambda rules: tuple(rule.key for rule in rules)),
)


def rule(limit: int = 1, models: tuple[str, ...] = (), scope: Scope = Scope.USER) -> QuotaRule:
    return QuotaRule(Metric.PREDICTIONS, limit, Per.DAY, models, scope)


def identity(team: str | None, *rules: QuotaRule, team_rules: tuple[QuotaRule, ...]) -> Identity:
    plan = Plan("p", rules=rules)
    return Identity("7", "ada", team, Role.MEMBER, "k1", plan, team_rules)


@given(POLICIES)
def test_a_published_policy_comes_back_as_it_was(policy: Policy) -> None:
    assert Policy.from_json(policy.to_json()) == policy


@given(st.permutations(list("abc")))
def test_equal_policies_are_published_as_equal_text(order: list[str]) -> None:
    ordered = Policy(plans={name: Plan(name) for name in "abc"})
    assert Policy(plans={name: Plan(name) for name in order}).to_json() == ordered.to_json()


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "{}", '{"plans":1}', "null"])
def test_a_text_that_is_no_policy_is_refused_as_a_value(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Policy.from_json(text)


@given(OVERRIDES)
def test_overrides_come_back_as_they_were(overrides: Overrides) -> None:
    assert Overrides.from_json(overrides.to_json()) == overrides


def test_no_overrides_are_stored_as_nothing_much() -> None:
    assert Overrides().to_json() == "{}"
    assert Overrides.from_json(None) == Overrides.from_json("") == Overrides()


@given(st.lists(GLOBS, max_size=4).map(tuple))
def test_a_models_key_does_not_depend_on_order_case_or_repetition(globs: tuple[str, ...]) -> None:
    key = models_key(globs)
    assert models_key(tuple(reversed(globs)) + globs) == key
    assert models_key(tuple(glob.upper() for glob in globs)) == key
    assert models_key(globs_of(key)) == key


def test_a_pattern_with_a_comma_or_a_space_is_refused() -> None:
    for pattern in ("a/b,c/d", "a/ b", "", "a/b\n"):
        with pytest.raises(ValueError, match="pattern"):
            rule(models=(pattern,))


def test_the_users_plan_beats_the_teams_and_that_beats_the_default() -> None:
    policy = Policy(
        plans={name: Plan(name) for name in ("default", "team", "own")},
        teams={"t": Team("t", plan="team"), "planless": Team("planless")},
    )
    assert effective_plan(policy, "own", "t").name == "own"
    assert effective_plan(policy, None, "t").name == "team"
    assert effective_plan(policy, None, "planless").name == "default"
    assert effective_plan(policy, None, "not configured").name == "default"
    assert effective_plan(policy, None, None).name == "default"


def test_without_a_default_plan_nothing_is_limited() -> None:
    assert effective_plan(Policy(), None, None) == Plan("default")
    assert effective_plan(Policy(), "default", None) == Plan("default")


def test_a_plan_that_is_no_longer_configured_allows_no_model() -> None:
    assert effective_plan(Policy(), "vanished", None).models_deny == ("*",)


def test_an_override_replaces_the_rule_about_the_same_thing_and_adds_others() -> None:
    plan = Plan("default", rules=(rule(5), rule(6, scope=Scope.TEAM), rule(7, ("a/*",))))
    policy = Policy(plans={"default": plan})
    overrides = Overrides(rules=(rule(50), rule(9, ("b/*",))), lifted=(rule(0, ("A/*",)).key,))
    effective = effective_plan(policy, None, None, overrides)
    assert effective.rules == (rule(6, scope=Scope.TEAM), rule(50), rule(9, ("b/*",)))


def test_overrides_can_raise_and_lift_the_concurrency_limit() -> None:
    plan = Plan("p", concurrent_predictions=2)
    assert Overrides().on(plan) == plan
    assert Overrides(concurrent_predictions=5).on(plan).concurrent_predictions == 5
    assert Overrides(unlimited_concurrency=True).on(plan).concurrent_predictions is None
    assert Overrides(concurrent_predictions=0).on(plan).concurrent_predictions == 0


def test_team_rules_read_the_teams_counters_and_the_users_own_without_a_team() -> None:
    own, shared, team_wide = rule(1), rule(2, scope=Scope.TEAM), rule(3)
    assert identity("red", own, shared, team_rules=(team_wide,)).rules == (
        (own, "user:7"),
        (shared, "team:red"),
        (team_wide, "team:red"),
    )
    assert identity(None, own, shared, team_rules=()).rules == ((own, "user:7"), (shared, "user:7"))


def test_a_plan_restricts_models_as_soon_as_a_name_could_matter() -> None:
    assert not Plan("p", rules=(rule(),)).restricts_models
    assert Plan("p", rules=(rule(models=("a/*",)),)).restricts_models
    assert Plan("p", models_allow=("a/*",)).restricts_models
    assert Plan("p", models_deny=("a/*",)).restricts_models
    assert identity("t", team_rules=(rule(models=("a/*",)),)).restricts_models


def test_a_teams_webhook_secret_is_not_printed() -> None:
    assert "whsec" not in repr(Policy(teams={"t": Team("t", webhook_secret="whsec_abc")}))


def test_roles_open_what_they_should() -> None:
    def of(role: Role, trainings: bool = False) -> Identity:
        return Identity("1", "n", None, role, "k", Plan("p", trainings=trainings))

    assert [of(role).may_manage for role in Role] == [False, True, True]
    assert [of(role).may_administer for role in Role] == [False, False, True]
    assert [of(role).may_train for role in Role] == [False, True, True]
    assert of(Role.MEMBER, trainings=True).may_train


def test_a_price_keeps_its_decimals_exactly() -> None:
    price = Price("a/b", per_second=Decimal("0.000100000000000000000001"))
    (back,) = Policy.from_json(Policy(prices=(price,)).to_json()).prices
    assert back.per_second == Decimal("0.000100000000000000000001")
