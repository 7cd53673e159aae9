"""What is printed of the settings: everything that is in force, and no secret."""

import tomllib
from pathlib import Path

from gateway.settings import Settings, load, shown, shown_toml

SECRET = "verysecretindeed"


def loaded(folder: Path) -> Settings:
    path = folder / "gateway.toml"
    path.write_text(
        f"""
        [upstream]
        token = "r8_{SECRET}"
        max_queue_s = 2.5
        [storage]
        database_url = "postgresql://me:{SECRET}@db.example.com:5433/{SECRET}"
        [plans.trial]
        concurrent_predictions = 3
        quotas = [{{metric = "cost_usd", limit = 0.25, per = "day", models = ["meta/*"]}}]
        [teams.red]
        webhook = "https://hooks.example.com/{SECRET}"
        webhook_secret = "whsec_{SECRET}"
        [prices."meta/*"]
        per_input_token = 0.00000005
        """,
        encoding="utf-8",
    )
    return load(path, {})


def test_no_secret_is_shown(tmp_path: Path) -> None:
    settings = loaded(tmp_path)
    assert SECRET not in shown_toml(settings)
    assert SECRET not in str(shown(settings))
    assert SECRET not in repr(settings.upstream)


def test_a_masked_value_tells_that_it_is_set_and_where_it_leads(tmp_path: Path) -> None:
    text = shown_toml(loaded(tmp_path))
    assert 'token = "********"' in text
    assert 'database_url = "postgresql://********@db.example.com:5433/********"' in text
    assert 'webhook = "https://hooks.example.com/********"' in text
    assert 'token = ""' in shown_toml(Settings())


def test_what_is_shown_is_toml_and_says_what_is_in_force(tmp_path: Path) -> None:
    settings = loaded(tmp_path)
    parsed = tomllib.loads(shown_toml(settings))
    assert parsed == shown(settings)
    assert parsed["upstream"]["max_queue_s"] == 2.5
    assert parsed["plans"]["trial"]["quotas"][0]["limit"] == 0.25
    assert parsed["prices"]["meta/*"]["per_input_token"] == 0.00000005


def test_the_defaults_shown_load_as_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "shown.toml"
    path.write_text(shown_toml(Settings()), encoding="utf-8")
    assert load(path, {}) == Settings()
