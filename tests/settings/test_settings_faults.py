"""What is said about a configuration that cannot be used."""

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.settings import SettingsError, load

SECRET = "r8_verysecretindeed"


def faults(folder: Path, text: str, env: dict[str, str] | None = None) -> list[str]:
    path = folder / "gateway.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load(path, env or {})
    lines = str(caught.value).splitlines()
    assert len(lines) == len(caught.value.faults), "one line each"
    return lines


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('[server]\nport = "8080"', 'server.port = "8080": must be a whole number'),
        ("[server]\nport = 1.5", "server.port = 1.5: must be a whole number"),
        ("[server]\nport = true", "server.port = true: must be a whole number"),
        ("[server]\nport = 70000", "server.port = 70000: must be at most 65535"),
        ("[server]\nhost = 5", "server.host = 5: must be a text in quotes"),
        ("[server]\nprot = 1", 'server.prot: unknown key; did you mean "port"?'),
        ("[server]\nworkers = 0", "server.workers = 0: must be at least 1"),
        (
            "[server]\nmetrics_port = 8080",
            "server.metrics_port = 8080: must differ from server.port, which serves clients",
        ),
        (
            '[server]\nlog_format = "xml"',
            'server.log_format = "xml": must be "console" or "json"',
        ),
        (
            '[server]\nmax_models = "5"',
            "server.max_models: unknown key; this key belongs to [metrics]",
        ),
        ("server = 5", "server: must be a table"),
        ("port = 5", "port: unknown section; this key belongs to [server]"),
        ("[sever]", 'sever: unknown section; did you mean "server"?'),
        ("[plan.pro]", 'plan: unknown section; did you mean "plans"?'),
        ("plans = 1", "plans: must be tables, such as [plans.NAME]"),
        (
            '[server]\npublic_url = "https://a.example.com/replicate"',
            'server.public_url = "https://a.example.com/replicate": '
            "must be an origin without a path: scheme://host[:port]",
        ),
        (
            '[server]\npublic_aliases = ["a.example.com"]',
            'server.public_aliases[0] = "a.example.com": '
            "must be scheme://host[:port], beginning with http:// or https://",
        ),
        (
            '[server]\ntrusted_proxies = ["10.0.0.1/8"]',
            'server.trusted_proxies[0] = "10.0.0.1/8": '
            'has bits set beyond its prefix; write "10.0.0.0/8"',
        ),
        (
            '[server.tls]\nmode = "files"\nkey_file = "k"',
            'server.tls.cert_file = "": must name a PEM file with mode = "files"',
        ),
        (
            '[server.tls]\nmode = "files"\nkey_file = "/no/k"',
            'server.tls.key_file = "/no/k": cannot be read: no such file or directory',
        ),
        (
            '[upstream]\nbase_url = "https://api.replicate.com/v1"',
            'upstream.base_url = "https://api.replicate.com/v1": '
            "must be an origin without a path: leave out /v1",
        ),
        (
            '[upstream]\nbase_url = "https://*.replicate.com"',
            'upstream.base_url = "https://*.replicate.com": must name one host: '
            '"*" has no meaning here',
        ),
        (
            '[upstream]\ndelivery_origins = ["https://*.com"]',
            'upstream.delivery_origins[0] = "https://*.com": '
            'must name a domain after "*.", such as "https://*.example.com"',
        ),
        (
            '[upstream]\nstream_origins = ["https://a.*.com"]',
            'upstream.stream_origins[0] = "https://a.*.com": must be scheme://host[:port], such as '
            '"https://*.replicate.delivery" (the host may begin with "*.", no path)',
        ),
        (
            '[server]\npublic_aliases = ["https://a:99999"]',
            'server.public_aliases[0] = "https://a:99999": '
            "is not a URL: its host or its port cannot be read",
        ),
        (
            '[upstream]\ndelivery_origins = ["http://a.b.c:9000", "https://*.b.c:9000"]',
            "upstream.delivery_origins: http://a.b.c:9000 and https://*.b.c:9000 cover the same "
            "host with different schemes: keep one",
        ),
        (
            '[upstream]\ndelivery_origins = "https://a.b"',
            'upstream.delivery_origins = "https://a.b": must be a list, such as ["…", "…"]',
        ),
        (
            "[upstream]\nread_timeout_s = 60",
            "upstream.read_timeout_s = 60: must be greater than 60",
        ),
        ("[upstream]\nmax_queue_s = nan", "upstream.max_queue_s = NaN: must be a number"),
        ("[upstream]\nmax_queue_s = inf", "upstream.max_queue_s = Infinity: must be a number"),
        (
            '[server]\npublic_url = "https://a.b"\n[upstream]\nbase_url = "https://a.b"',
            'upstream.base_url = "https://a.b": '
            "must be Replicate's address: this one is the gateway's own",
        ),
        ('[storage]\ndata_dir = ""', 'storage.data_dir = "": must name a folder, such as "data"'),
        (
            '[mirror]\nstore_url = "s3://bucket"',
            'mirror.store_url = "s3://bucket": must be "": '
            "this version stores in the local folder data_dir/mirror only",
        ),
        (
            "[retention]\nfiles_days = -0.5",
            "retention.files_days = -0.5: must be at least 0",
        ),
        (
            '[plans.pro]\nmodels_allow = ["meta/[ab]"]',
            'plans.pro.models_allow[0] = "meta/[ab]": '
            "matches no model: write owner/name, with * and ? as the only wildcards",
        ),
        (
            '[plans.pro]\nmodels_deny = ["flux"]',
            'plans.pro.models_deny[0] = "flux": '
            "matches no model: write owner/name: the owner is missing",
        ),
        (
            '[plans.pro]\nmodels_deny = ["a/b:c"]',
            'plans.pro.models_deny[0] = "a/b:c": '
            "must name models, not versions: leave out what follows the colon",
        ),
        (
            '[plans.pro]\nquotas = [{metric = "images", limit = 1.5, per = "day"}]',
            "plans.pro.quotas[0].limit = 1.5: must be a whole number: "
            "images are counted one by one",
        ),
        (
            '[plans.pro]\nquotas = [{metric = "images", limit = 1, per = "year"}]',
            'plans.pro.quotas[0].per = "year": '
            'must be "second", "minute", "hour", "day", "week" or "month"',
        ),
        (
            '[plans.pro]\nquotas = [{metric = "images", per = "day"}]',
            "plans.pro.quotas[0].limit: is missing",
        ),
        (
            '[plans.pro]\nquotas = [{metric = "images", limit = 1, per = "day"}, '
            '{metric = "images", limit = 2, per = "day"}]',
            "plans.pro.quotas: holds two rules on images per day: keep the one that is meant",
        ),
        (
            '[plans."a b"]',
            'plans."a b": must be a name of up to 64 letters, digits, "_", "." and "-", '
            "beginning with a letter or a digit",
        ),
        (
            '[plans.pro]\n[teams.red]\nplan = "prof"',
            'teams.red.plan = "prof": no such plan is defined; did you mean "pro"?',
        ),
        (
            '[teams.red]\nquotas = [{metric = "images", limit = 1, per = "day", scope = "user"}]',
            'teams.red.quotas[0].scope = "user": must be "team"',
        ),
        (
            '[teams.red]\nwebhook = "http://hooks.example.com/T1"',
            'teams.red.webhook = "http://hooks.example.com/********": must begin with https:// '
            "(or set webhooks.allow_private_addresses = true)",
        ),
        ("[prices.flux]", "prices.flux: matches no model: write owner/name: the owner is missing"),
        ('[prices."a/b"]\nper_image = -1', 'prices."a/b".per_image = -1: must be at least 0'),
        (
            '[prices."a/b"]\nper_image = "0.003"',
            'prices."a/b".per_image = "0.003": must be a number, without quotes',
        ),
        (
            '[plans.pro]\nquotas = [{metric = "images", limit = "5", per = "day"}]',
            'plans.pro.quotas[0].limit = "5": must be a number, without quotes',
        ),
        (
            '[prices."a/b"]\nper_image = "free"',
            'prices."a/b".per_image = "free": must be a number',
        ),
        (
            "[server]\ncontact = 2026-01-01",
            'server.contact = "2026-01-01": must be a text in quotes',
        ),
    ],
)
def test_each_fault_names_key_value_and_what_would_be_right(
    tmp_path: Path, text: str, line: str
) -> None:
    assert line in faults(tmp_path, text)


def test_no_fault_of_a_rule_hides_another(tmp_path: Path) -> None:
    rule = '{metric = "predictions", limit = 1.5, per = "year", model = ["a/b"]}'
    found = faults(tmp_path, f"[plans.pro]\nquotas = [{rule}]\n")
    assert [line.split(":")[0].split(" ")[0] for line in found] == [
        "plans.pro.quotas[0].limit",
        "plans.pro.quotas[0].per",
        "plans.pro.quotas[0].model",
    ]


def test_numbers_of_the_environment_are_texts_and_beat_the_files(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text('[plans.pro]\nquotas = [{metric = "images", limit = "5", per = "day"}]\n')
    rule = '[{"metric": "cost_usd", "limit": "0.1", "per": "day"}]'
    settings = load(path, {"GATEWAY_PLANS__PRO__QUOTAS": rule})
    assert settings.plans["pro"].quotas[0].limit == Decimal("0.1")


def test_all_faults_are_reported_together(tmp_path: Path) -> None:
    text = """
    [server]
    port = "x"
    metrics_port = -1
    [server.tls]
    mode = "files"
    [sever]
    [upstream]
    read_timeout_s = 5
    [teams.red]
    plan = "absent"
    share = 1
    """
    lines = faults(tmp_path, text, {"GATEWAY_SERVER_PORT": "1", "GATEWAY_CACHE__MAX_BYTES": "1"})
    assert [line.split(":")[0].split(" ")[0] for line in lines] == [
        "GATEWAY_SERVER_PORT",
        "sever",
        "server.port",
        "server.metrics_port",
        "upstream.read_timeout_s",
        "cache.max_bytes",
        "teams.red.share",
        "server.tls.cert_file",
        "server.tls.key_file",
        "teams.red.plan",
    ]


@pytest.mark.parametrize(
    "text", ["[plans.default]\n[plans.default]\n", "[server]\nport = 1\nport = 2\n"]
)
def test_what_stands_twice_is_told_with_its_cure(tmp_path: Path, text: str) -> None:
    (line,) = faults(tmp_path, text)
    assert "is not valid TOML" in line
    assert "add to the one that is there" in line


def test_a_syntax_error_is_told_with_its_line_and_without_the_text(tmp_path: Path) -> None:
    lines = faults(tmp_path, f'[upstream]\ntoken = "{SECRET}\n')
    assert len(lines) == 1
    assert "is not valid TOML" in lines[0]
    assert "line 2" in lines[0]
    assert SECRET not in lines[0]


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="must be a text file in UTF-8"):
        load(path, {})


@pytest.mark.parametrize(
    ("variable", "line"),
    [
        (
            "GATEWAY_SERVER_PORT",
            "GATEWAY_SERVER_PORT: unknown variable: no setting has this name; "
            "did you mean GATEWAY_SERVER__PORT?",
        ),
        (
            "GATEWAY_SERVER",
            "GATEWAY_SERVER: unknown variable: no setting has this name",
        ),
        (
            "GATEWAY_SERVER__PORT",
            'server.port = "x" (from GATEWAY_SERVER__PORT): must be a whole number',
        ),
        (
            "GATEWAY_WEBHOOKS__ALLOW_PRIVATE_ADDRESSES",
            'webhooks.allow_private_addresses = "x" '
            "(from GATEWAY_WEBHOOKS__ALLOW_PRIVATE_ADDRESSES): must be true or false",
        ),
        (
            "GATEWAY_SERVER__TRUSTED_PROXIES",
            'server.trusted_proxies[0] = "x" (from GATEWAY_SERVER__TRUSTED_PROXIES): '
            'must be an address or a network, such as "10.0.0.7" or "10.0.0.0/8"',
        ),
    ],
)
def test_a_fault_from_the_environment_names_the_variable(
    tmp_path: Path, variable: str, line: str
) -> None:
    lines = faults(tmp_path, "", {variable: "x"})
    assert any(found.startswith(line) for found in lines), lines


@pytest.mark.parametrize(
    "text",
    [
        f'[upstream]\ntoken = "{SECRET} "',
        f'[upstream]\ntoken = ["{SECRET}"]',
        f'[upstream]\ntokn = "{SECRET}"',
        f'[upstream]\nbase_url = "https://me:{SECRET}@api.replicate.com"',
        f'[upstream]\ndelivery_origins = ["https://{SECRET}@replicate.delivery"]',
        f'[server]\npublic_url = "https://me:{SECRET}@gw.example.com"',
        f'[{SECRET[:4]}]\ntoken = "{SECRET}"',
        f'[storage]\ndatabase_url = "mysql://me:{SECRET}@host/name"',
        f'[storage]\ndatabase_url = "postgresql://me:{SECRET}@host"',
        f'[storage]\ndatabase_url = "{SECRET}"',
        f'[storage]\ndatabase_url = ["{SECRET}"]',
        f'[mirror]\nstore_url = "s3://key:{SECRET}@bucket/path"',
        f'[teams.red]\nwebhook_secret = "{SECRET}"',
        f'[teams.red]\nwebhook = "http://hooks.example.com/{SECRET}"',
        f'[teams.red]\nwebhook = "hooks.example.com/{SECRET}"',
        f'[teams]\nred = "{SECRET}"',
        f'upstream = "{SECRET}"',
    ],
)
def test_a_secret_is_in_no_fault(tmp_path: Path, text: str) -> None:
    assert SECRET not in "\n".join(faults(tmp_path, text))


def test_a_key_of_this_gateway_is_no_token_for_upstream(tmp_path: Path) -> None:
    (line,) = faults(tmp_path, "", {"REPLICATE_API_TOKEN": "hk-0123456789"})
    assert line == (
        "upstream.token = ******** (from REPLICATE_API_TOKEN): is a key of this gateway (hk-…), "
        "which only its clients use: unset it here, or set the account's own token from Replicate"
    )


def test_where_nothing_is_sent_upstream_a_clients_key_does_no_harm(tmp_path: Path) -> None:
    env = {"REPLICATE_API_TOKEN": "hk-0123456789"}
    settings = load(None, env, for_upstream=False)
    assert settings.upstream.token.get_secret_value() == ""
    assert env, "the environment stays as it was"
    with pytest.raises(SettingsError, match="key of this gateway"):
        load(None, {"GATEWAY_UPSTREAM__TOKEN": "hk-0123456789"}, for_upstream=False)


@given(
    section=st.sampled_from(["server", "upstream", "plans.x", "teams.x", "mirror", "storage"]),
    key=st.sampled_from(["port", "host", "public_url", "token", "quotas", "webhook", "data_dir"]),
    value=st.sampled_from(
        ["1979-05-27T07:32:00Z", "[]", "{}", '"\\u0000"', "0x10", "-1", '"http://["', '"https://"']
    ),
)
def test_whatever_is_written_is_loaded_or_refused_in_words(
    tmp_path_factory: pytest.TempPathFactory, section: str, key: str, value: str
) -> None:
    path = tmp_path_factory.mktemp("any") / "gateway.toml"
    path.write_text(f"[{section}]\n{key} = {value}\n", encoding="utf-8")
    refusal = ""
    try:
        load(path, {})
    except SettingsError as error:
        refusal = str(error)
    assert "Input should" not in refusal
    assert "validation error" not in refusal
