"""Where settings come from, and what they come to."""

from decimal import Decimal
from pathlib import Path

import pytest

from gateway.settings import Settings, SettingsError, load


def write(folder: Path, text: str) -> Path:
    path = folder / "gateway.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_a_file_the_built_in_defaults_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load(None, {})
    assert settings == Settings()
    assert settings.server.port == 8080
    assert settings.upstream.base_url == "https://api.replicate.com"
    assert settings.mirror.max_file_bytes == 5 * 1024**3
    assert settings.plans["default"].models_allow == ()


def test_the_file_in_the_folder_of_the_start_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").mkdir()
    write(tmp_path / "config", "[server]\nport = 9001\n")
    monkeypatch.chdir(tmp_path)
    assert load(None, {}).server.port == 9001


def test_a_named_file_beats_the_variable_and_the_variable_beats_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, port in (("config", 1), ("a", 2), ("b", 3)):
        (tmp_path / name).mkdir()
        write(tmp_path / name, f"[server]\nport = {port}\n")
    monkeypatch.chdir(tmp_path)
    env = {"GATEWAY_CONFIG": str(tmp_path / "a" / "gateway.toml")}
    assert load(None, env).server.port == 2
    assert load(tmp_path / "b" / "gateway.toml", env).server.port == 3


def test_the_environment_of_the_process_is_read_when_none_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GATEWAY_SERVER__PORT", "9002")
    assert load(None).server.port == 9002


@pytest.mark.parametrize(
    ("variable", "text", "read"),
    [
        ("GATEWAY_SERVER__PORT", "9000", lambda s: s.server.port == 9000),
        ("GATEWAY_SERVER__TLS__MODE", "local-ca", lambda s: s.server.tls.mode == "local-ca"),
        ("GATEWAY_UPSTREAM__MAX_QUEUE_S", "2.5", lambda s: s.upstream.max_queue_s == 2.5),
        (
            "GATEWAY_WEBHOOKS__ALLOW_PRIVATE_ADDRESSES",
            "yes",
            lambda s: s.webhooks.allow_private_addresses,
        ),
        (
            "GATEWAY_SERVER__TRUSTED_PROXIES",
            "10.0.0.0/8, ::1",
            lambda s: s.server.trusted_proxies == ("10.0.0.0/8", "::1/128"),
        ),
        (
            "GATEWAY_SERVER__TRUSTED_PROXIES",
            '["10.0.0.7"]',
            lambda s: s.server.trusted_proxies == ("10.0.0.7/32",),
        ),
        ("GATEWAY_SERVER__PUBLIC_ALIASES", "", lambda s: s.server.public_aliases == ()),
        ("GATEWAY_STORAGE__DATA_DIR", "/data", lambda s: s.storage.data_dir == Path("/data")),
        (
            "GATEWAY_PLANS__TRIAL__CONCURRENT_PREDICTIONS",
            "3",
            lambda s: s.plans["trial"].concurrent_predictions == 3,
        ),
        (
            "GATEWAY_PLANS__DEFAULT__QUOTAS",
            '[{"metric": "cost_usd", "limit": 0.1, "per": "day"}]',
            lambda s: s.plans["default"].quotas[0].limit == Decimal("0.1"),
        ),
    ],
)
def test_any_key_can_be_set_by_a_variable(variable: str, text: str, read: object) -> None:
    assert callable(read)
    assert read(load(None, {variable: text}))


def test_a_variable_beats_the_file_and_leaves_its_neighbours(tmp_path: Path) -> None:
    path = write(tmp_path, '[server]\nport = 9001\nhost = "::"\n')
    settings = load(path, {"GATEWAY_SERVER__PORT": "9002"})
    assert (settings.server.port, settings.server.host) == (9002, "::")


def test_the_token_comes_from_the_nearest_of_three_places(tmp_path: Path) -> None:
    path = write(tmp_path, '[upstream]\ntoken = "r8_file"\n')
    variables = {"REPLICATE_API_TOKEN": "r8_env"}
    both = variables | {"GATEWAY_UPSTREAM__TOKEN": "r8_own"}

    def token(env: dict[str, str]) -> str:
        return load(path, env).upstream.token.get_secret_value()

    assert token({}) == "r8_file"
    assert token({"REPLICATE_API_TOKEN": ""}) == "r8_file"
    assert token(variables) == "r8_env"
    assert token(both) == "r8_own"


def test_variables_that_an_orchestrator_adds_for_a_service_named_gateway_are_no_settings() -> None:
    links = {
        "GATEWAY_SERVICE_HOST": "10.1.2.3",
        "GATEWAY_SERVICE_PORT": "8080",
        "GATEWAY_SERVICE_PORT_HTTP": "8080",
        "GATEWAY_PORT": "tcp://10.1.2.3:8080",
        "GATEWAY_PORT_8080_TCP": "tcp://10.1.2.3:8080",
        "GATEWAY_PORT_8080_TCP_ADDR": "10.1.2.3",
    }
    assert load(None, links) == load(None, {})


def test_prices_are_exact(tmp_path: Path) -> None:
    path = write(tmp_path, '[prices."a/b"]\nper_second = 0.001525\nper_input_token = 0.00000005\n')
    price = load(path, {}).prices["a/b"]
    assert price.per_second == Decimal("0.001525")
    assert price.per_input_token == Decimal("0.00000005")
    assert price.per_image is None
    assert price.expected_seconds == Decimal(10)
    assert price.expected_tokens == 1000


def test_origins_are_kept_in_one_form(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '[server]\npublic_url = "HTTPS://Gateway.Example.com:443/"\n'
        '[upstream]\nbase_url = "http://[::1]:9000/"\ndelivery_origins = ["http://localhost:80"]\n',
    )
    settings = load(path, {})
    assert settings.server.public_url == "https://gateway.example.com"
    assert settings.upstream.base_url == "http://[::1]:9000"
    assert settings.upstream.delivery_origins == ("http://localhost",)


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_bytes(b"\xef\xbb\xbf[server]\nport = 9003\n")
    assert load(path, {}).server.port == 9003


def test_patterns_are_kept_in_lower_case_and_everything_is_no_restriction(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '[plans.a]\nmodels_allow = ["Meta/*"]\n'
        '[plans.b]\nmodels_allow = ["meta/*", "*"]\nmodels_deny = ["*"]\n'
        '[prices."Meta/Llama"]\nper_second = 1\n',
    )
    settings = load(path, {})
    assert settings.plans["a"].models_allow == ("meta/*",)
    assert settings.plans["b"].models_allow == ()
    assert settings.plans["b"].models_deny == ("*",)
    assert set(settings.prices) == {"meta/llama"}


def test_the_default_plan_is_there_beside_the_ones_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "[plans.trial]\ntrainings = true\n")
    plans = load(path, {}).plans
    assert set(plans) == {"default", "trial"}
    assert not plans["default"].trainings


def test_what_was_loaded_does_not_change() -> None:
    settings = load(None, {})
    with pytest.raises(ValueError, match="frozen"):
        settings.server.port = 1  # type: ignore[misc] # the promise under test


def test_a_team_rule_counts_the_team(tmp_path: Path) -> None:
    rule = 'quotas = [{metric = "images", limit = 5, per = "hour", models = ["meta/*"]}]'
    path = write(tmp_path, f"[teams.red]\n{rule}\n[plans.default]\n{rule}\n")
    settings = load(path, {})
    assert settings.teams["red"].quotas[0].scope == "team"
    assert settings.plans["default"].quotas[0].scope == "user"


def test_a_missing_named_file_stops_the_load(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent\.toml: cannot be read: no such file"):
        load(tmp_path / "absent.toml", {})
