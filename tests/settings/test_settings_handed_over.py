"""Settings that go to another process arrive as they left, secrets included."""

from pathlib import Path

from gateway.settings import handed_over, load, taken_over

TOML = """
[server]
host = "0.0.0.0"
public_aliases = ["https://gateway.example", "http://10.0.0.1:8080"]
trusted_proxies = ["10.0.0.0/8", "::1"]
workers = 3
shutdown_grace_s = 2.5
contact = "the “owner” <owner@example.com>"
[upstream]
token = "r8_secret-of-a-whole-team"
delivery_origins = ["https://*.replicate.delivery", "http://127.0.0.1:81"]
[storage]
data_dir = "some/where else"
database_url = "postgresql://user:pass%40word@db/gateway"
[retention]
files_days = 0.25
[plans.default]
models_allow = ["*"]
[plans.named-plan]
models_deny = ["meta/*"]
quotas = [
  { metric = "cost_usd", limit = 0.1, per = "day", models = ["meta/*"], scope = "team" },
  { metric = "predictions", limit = 12345678901234567890, per = "month" },
]
[teams.red]
webhook = "https://hooks.example/x"
webhook_secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
quotas = [{ metric = "images", limit = 5, per = "hour" }]
[prices."meta/*"]
per_second = 0.000725
per_input_token = 0.00000005
"""


def test_they_arrive_equal_in_every_key(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(TOML, encoding="utf-8")
    settings = load(file, {})
    arrived = taken_over(handed_over(settings))
    assert arrived == settings
    assert arrived.upstream.token.get_secret_value() == "r8_secret-of-a-whole-team"
    assert "\n" not in handed_over(settings)


def test_the_defaults_arrive_as_well(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.touch()
    settings = load(file, {})
    assert taken_over(handed_over(settings)) == settings
