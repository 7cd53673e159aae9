"""`config`: every fault at once, every secret masked, one publication for all."""

import asyncio

import pytest

from gateway.domain.plans import Policy
from gateway.ledger import Ledger
from gateway.ledger.published import published
from gateway.settings import starting_prices
from tests.cli.conftest import Program


def policy_in_force(program: Program) -> Policy | None:
    async def ask() -> str | None:
        async with Ledger("", program.clock, folder=program.folder / "data") as ledger:
            return (await ledger.read(published))[1]

    text = asyncio.run(ask())
    return None if text is None else Policy.from_json(text)


def test_a_good_configuration_is_said_to_be_good(program: Program) -> None:
    shipped = len(starting_prices())
    assert f"2 plans, 1 team, 0 prices (and {shipped} shipped)" in program.ok("config", "check")


def test_all_faults_are_told_a_line_each(program: Program) -> None:
    faulty = '[server]\nport = "x"\nprot = 1\n[plans.pro]\nquotas = [{ metric = "cats" }]\n'
    (program.folder / "gateway.toml").write_text(faulty, encoding="utf-8")
    for command in (("config", "check"), ("config", "show"), ("users", "list"), ("serve",)):
        told = program.fails(1, *command)
        assert all(key in told for key in ("server.port", "server.prot", "plans.pro.quotas[0]"))
    assert not (program.folder / "data").exists()


def test_what_is_in_force_is_shown_without_secrets(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPLICATE_API_TOKEN", "r8_very_secret")
    text = program.ok("config", "show")
    assert 'contact = "ops@example.com"' in text
    assert "r8_very_secret" not in text
    shown = program.json("config", "show")
    assert shown["upstream"]["token"] == "********"
    assert shown["server"]["port"] == 8080


def test_shipped_prices_are_shown_as_such_until_ones_own_replace_them(program: Program) -> None:
    model = "black-forest-labs/flux-schnell"
    assert f'# [prices."{model}"]\n# per_image = 0.003\n# source = ' in program.ok("config", "show")
    shown = program.json("config", "show")
    assert shown["prices"] == {}
    assert shown["shipped_prices"][model]["per_image"] == 0.003
    with (program.folder / "gateway.toml").open("a", encoding="utf-8") as file:
        file.write(f'[prices."{model}"]\nper_image = 1\n')
    left = len(starting_prices()) - 1
    assert f"1 price (and {left} shipped)" in program.ok("config", "check")
    assert f'# [prices."{model}"]' not in program.ok("config", "show")
    assert model not in program.json("config", "show")["shipped_prices"]


def test_a_clients_key_in_the_tokens_variable_stops_only_what_asks_replicate(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPLICATE_API_TOKEN", "hk-0123456789")
    for command in (("serve",), ("doctor",), ("config", "check")):
        told = program.fails(1, *command)
        assert "unset" in told
        assert "REPLICATE_API_TOKEN" in told
        assert "hk-0123456789" not in told
    assert "REPLICATE_API_TOKEN" in program.run("users", "add", "alice").stderr
    assert program.ok("keys", "create", "alice")
    assert [user["name"] for user in program.json("users", "list")] == ["alice"]
    assert program.json("config", "show")["upstream"]["token"] == ""


def test_reload_publishes_what_is_new_and_says_so(program: Program) -> None:
    assert "Published" in program.run("config", "reload").stderr
    policy = policy_in_force(program)
    assert policy is not None
    assert set(policy.plans) == {"default", "pro"}
    assert "as they were published" in program.run("config", "reload").stderr
    with (program.folder / "gateway.toml").open("a", encoding="utf-8") as file:
        file.write("[plans.free]\n")
    assert "Published" in program.run("config", "reload").stderr
    policy = policy_in_force(program)
    assert policy is not None
    assert "free" in policy.plans


def test_a_faulty_configuration_is_not_published(program: Program) -> None:
    program.ok("config", "reload")
    before = policy_in_force(program)
    with (program.folder / "gateway.toml").open("a", encoding="utf-8") as file:
        file.write('[teams.sales]\nplan = "por"\n')
    assert 'did you mean "pro"?' in program.fails(1, "config", "reload")
    assert policy_in_force(program) == before


def test_users_whose_plan_or_team_has_gone_are_named(program: Program) -> None:
    program.ok("users", "add", "alice", "--plan", "pro", "--team", "research")
    (program.folder / "gateway.toml").write_text("[plans.default]\n", encoding="utf-8")
    told = program.run("config", "reload").stderr
    assert 'alice is on the plan "pro", which is not configured' in told
    assert 'alice is in the team "research", which is not configured' in told
