"""Every setting once: its name, its type, its default and what it is for.

The text under a key is its documentation: ``docs/configuration.md`` and ``config/gateway.toml`` are
made from it, so it speaks to whoever runs the gateway.
"""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)

from gateway.settings import values
from gateway.settings.values import Example, Unit

_GIB = 1024**3


class Section(BaseModel):
    """A table of the file: unknown keys are faults, and what was loaded does not change."""

    model_config = ConfigDict(
        allow_inf_nan=False,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )


class Tls(Section):
    """Encryption towards clients. Official clients treat only `https:` URLs as files, so use it."""

    mode: Literal["off", "local-ca", "files"] = "off"
    """`off` serves plain HTTP (a proxy in front may encrypt); `local-ca` makes a private authority
    once, keeps it in `data_dir/tls/ca.pem` and prints how clients trust it; `files` uses yours."""

    cert_file: str = ""
    """The certificate with its chain (PEM), for `mode = "files"`."""

    key_file: str = ""
    """The certificate's private key (PEM), for `mode = "files"`."""


class Server(Section):
    """Where the gateway listens and what clients call it."""

    host: values.Host = "127.0.0.1"
    """The address to listen on. `0.0.0.0` accepts connections from other machines."""

    port: values.Port = 8080
    """The port to listen on. 0 takes any free one."""

    public_url: values.PublicUrl = ""
    """The address that clients use, such as `https://replicate.example.com`, without a path. Empty
    means the scheme and the host of each request, so that several names work at once."""

    public_aliases: tuple[values.Origin, ...] = ()
    """Further addresses under which clients know this gateway: URLs of these in a request's `input`
    are recognised as its own."""

    trusted_proxies: tuple[values.Network, ...] = ()
    """Addresses or networks of the proxies in front, whose `X-Forwarded-*` headers are believed."""

    workers: Annotated[int, Field(ge=1, le=256), Unit("processes")] = 1
    """How many processes serve. One answers thousands of stored reads a second."""

    max_body_bytes: values.Bytes = 33_554_432
    """The largest JSON body that is accepted; a larger one is answered 413."""

    metrics_port: values.Port = 0
    """A second port that serves `/metrics` without a key. 0 opens none."""

    metrics_host: values.Host = "127.0.0.1"
    """The address of the metrics port."""

    log_format: Literal["console", "json"] = "console"
    """`console` is for people, `json` writes one object a line for log collectors."""

    shutdown_grace_s: values.SecondsOrNone = 75.0
    """How long running requests may go on after the gateway was told to stop. A blocking create
    takes up to 60 seconds."""

    contact: str = ""
    """Whom refused users should ask, for example a mail address or a channel; it stands in their
    error messages."""

    tls: Tls = Tls()


class Upstream(Section):
    """Replicate, and how much of the account's allowance to use."""

    base_url: values.Origin = "https://api.replicate.com"
    """Replicate's API: an origin, without `/v1`."""

    token: values.Token = SecretStr("")
    """The account's API token. The variable REPLICATE_API_TOKEN sets it too, which keeps it out of
    this file."""

    delivery_origins: tuple[values.OriginPattern, ...] = (
        "https://replicate.delivery",
        "https://*.replicate.delivery",
    )
    """Where output files come from: `scheme://host[:port]`, the host may begin with `*.`. Only URLs
    of these are mirrored and rewritten."""

    stream_origins: tuple[values.OriginPattern, ...] = (
        "https://*.replicate.com",
        "https://*.replicate.net",
    )
    """Where event streams come from, in the same form."""

    connect_timeout_s: values.Seconds = 5.0
    """How long a connection to Replicate may take to come about."""

    read_timeout_s: Annotated[float, Field(gt=60), Unit("seconds")] = 90.0
    """How long Replicate may be silent. It must exceed 60, the longest blocking create."""

    requests_per_minute: values.PerMinute = 3000
    """The account's allowance of requests other than creates."""

    creates_per_minute: values.PerMinute = 600
    """The account's allowance of creates."""

    max_queue_s: values.SecondsOrNone = 15.0
    """How long a create waits in line when the allowance is used up, before it is answered 429."""

    poll_interval_ms: Annotated[int, Field(ge=50), Unit("milliseconds")] = 500
    """How often Replicate is asked about one running prediction at most, however many clients ask
    here."""

    max_upload_bytes: values.Bytes = 104_857_600
    """The largest file that users may upload; Replicate itself takes 100 MB."""

    stream_linger_s: values.SecondsOrNone = 30.0
    """How long an event stream is read on after its last reader has left."""


class Storage(Section):
    """Where the gateway keeps what must not be lost."""

    data_dir: values.Folder = Path("data")
    """The folder for everything that the gateway writes; a relative one starts at the folder where
    it was started."""

    database_url: values.DatabaseUrl = ""
    """Empty keeps the ledger as SQLite in `data_dir`; `postgresql://user:password@host/name` keeps
    it in PostgreSQL, which several machines can share."""


class Cache(Section):
    """Copies of finished predictions and model pages on disk. They may be deleted at any time."""

    max_bytes: Annotated[int, Field(ge=1024**2), Unit("bytes")] = _GIB
    """How large the cache may grow before its oldest entries go."""


class Mirror(Section):
    """Output files, which Replicate deletes after an hour and the gateway keeps."""

    store_url: values.StoreUrl = ""
    """Empty stores files in `data_dir/mirror`."""

    max_bytes: Annotated[int, Field(ge=1024**2), Unit("bytes")] = 100 * _GIB
    """How much is kept. Over it the oldest files go first, none younger than 24 hours; files that
    then do not fit are passed through unstored."""

    max_file_bytes: values.Bytes = 5 * _GIB
    """The largest file that is stored; larger ones are passed through unstored."""

    access: Literal["link", "key"] = "link"
    """`link` lets whoever has a file's link read it, as Replicate does; `key` asks for a key that
    may read the prediction (JavaScript clients then cannot read files)."""


class Retention(Section):
    """How long finished predictions and their files are kept."""

    documents_days: values.Days = 0.0
    """After this many days a prediction loses its input and output. 0 keeps them for ever;
    fractions are allowed."""

    files_days: values.Days = 0.0
    """After this many days an output file is deleted. 0 keeps them for ever; fractions are
    allowed."""


class Webhooks(Section):
    """Delivery of webhooks to the addresses that users name."""

    allow_private_addresses: bool = False
    """Whether `http:` and private, loopback or link-local addresses may be named. Leave it off
    unless every user may reach whatever this machine can reach."""

    max_attempts: Annotated[int, Field(ge=1, le=100), Unit("attempts")] = 12
    """How often a delivery is tried, with growing pauses, before it is kept as a dead letter."""

    timeout_s: values.Seconds = 10.0
    """How long a receiver may take to answer one attempt."""


class Compat(Section):
    """Differences that clients need."""

    aborted_as: Literal["auto", "aborted", "canceled"] = "auto"
    """What a client reads for the status `aborted`, on which official clients loop or crash: `auto`
    says `canceled` to those and `aborted` to others."""


class Metrics(Section):
    """How many different labels the metrics may carry; what exceeds them is counted as `other`."""

    max_models: Annotated[int, Field(ge=1), Unit("labels")] = 200
    """Values of the label `model`."""

    max_users: Annotated[int, Field(ge=1), Unit("labels")] = 500
    """Values of the labels `user` and `team`."""


class Quota(Section):
    """One rule: at most so much of something per calendar window (UTC)."""

    metric: Annotated[
        Literal["requests", "predictions", "predict_seconds", "images", "tokens", "cost_usd"],
        Example("predictions"),
    ]
    """What is counted."""

    limit: Annotated[Decimal, Field(ge=0), Example(500)]
    """How much of it is allowed in one window; dollars and seconds may be fractions."""

    per: Annotated[
        Literal["second", "minute", "hour", "day", "week", "month"],
        Example("day"),
    ]
    """The window. When one of an hour or longer is used up, creates are answered 402; else 429."""

    models: values.ModelGlobsOrAll = ()
    """Only these models count, as patterns of `owner/name`. Empty means all."""

    scope: Literal["user", "team"] = "user"
    """Whose use is added up: each user's own, or that of the user's team together."""

    @field_validator("limit")
    @classmethod
    def _whole_where_things_are_counted(cls, limit: Decimal, info: ValidationInfo) -> Decimal:
        # Of the limit and not of the rule: that would be silent as long as anything else is wrong.
        metric = info.data.get("metric", "cost_usd")
        if metric not in ("predict_seconds", "cost_usd") and limit % 1:
            raise ValueError(f"must be a whole number: {metric} are counted one by one")
        return limit


class TeamQuota(Quota):
    """A rule on what a team uses together."""

    scope: Literal["team"] = "team"
    """A team's rules always count the team together."""


def _each_once(quotas: tuple[Quota, ...]) -> tuple[Quota, ...]:
    """Refuse two rules on the same window: the looser one would never be heard of."""
    seen: set[tuple[str, str, frozenset[str], str]] = set()
    for quota in quotas:
        rule = (quota.metric, quota.per, frozenset(quota.models), quota.scope)
        if rule in seen:
            raise ValueError(
                f"holds two rules on {quota.metric} per {quota.per}: keep the one that is meant"
            )
        seen.add(rule)
    return quotas


class Plan(Section):
    """What users may use. A user's own plan beats the team's plan beats `[plans.default]`."""

    models_allow: values.ModelGlobsOrAll = ()
    """Models that may be called, as patterns of `owner/name`. Empty means all."""

    models_deny: tuple[values.ModelGlob, ...] = ()
    """Models that may not be called, even when they are allowed above."""

    trainings: bool = False
    """Whether trainings may be started."""

    concurrent_predictions: Annotated[int | None, Field(ge=0), Unit("predictions"), Example(10)] = (
        None
    )
    """How many predictions may run at the same time. Without it there is no limit."""

    quotas: Annotated[
        tuple[Quota, ...],
        AfterValidator(_each_once),
    ] = ()
    """Rules, all of which must leave room: `{metric, limit, per, models, scope}` each."""


class Team(Section):
    """People who share a plan, a budget or their results."""

    plan: str = ""
    """The plan of members who have none of their own. Empty means `default`."""

    share: bool = False
    """Whether members may read (not cancel) each other's predictions."""

    quotas: Annotated[
        tuple[TeamQuota, ...],
        AfterValidator(_each_once),
    ] = ()
    """Rules on what the team uses together: `{metric, limit, per, models}` each."""

    webhook: values.WebhookUrl = ""
    """Where warnings about the team's quotas are sent."""

    webhook_secret: values.WebhookSecret = SecretStr("")
    """What these warnings are signed with: `whsec_` and standard base64."""


class Price(Section):
    """What models cost, by pattern of `owner/name`.

    Replicate's answers carry no prices: copy them from the models' pages. A model without one has
    an unknown cost, never zero.
    """

    per_second: Annotated[values.Money, Example(Decimal("0.001"))] = None
    """US dollars for each second that a prediction ran, however it ended."""

    per_image: Annotated[values.Money, Example(Decimal("0.01"))] = None
    """US dollars for each image of a prediction that succeeded."""

    per_input_token: Annotated[values.Money, Example(Decimal("0.000001"))] = None
    """US dollars for each token read by a prediction that succeeded."""

    per_output_token: Annotated[values.Money, Example(Decimal("0.000002"))] = None
    """US dollars for each token written by a prediction that succeeded."""

    per_prediction: Annotated[values.Money, Example(Decimal("0.01"))] = None
    """US dollars for each prediction that succeeded."""

    expected_seconds: Annotated[Decimal, Field(ge=0), Unit("seconds")] = Decimal(10)
    """What a prediction is expected to take until its real time is known."""

    expected_tokens: Annotated[int, Field(ge=0), Unit("tokens")] = 1000
    """How many tokens a prediction is expected to use until their real number is known."""


def _with_default(plans: Mapping[str, Plan]) -> Mapping[str, Plan]:
    return plans if "default" in plans else {**plans, "default": Plan()}


class Settings(Section):
    """The whole configuration.

    The plan ``default`` is always there; it allows everything unless the file says otherwise.
    """

    server: Server = Server()
    upstream: Upstream = Upstream()
    storage: Storage = Storage()
    cache: Cache = Cache()
    mirror: Mirror = Mirror()
    retention: Retention = Retention()
    webhooks: Webhooks = Webhooks()
    compat: Compat = Compat()
    metrics: Metrics = Metrics()
    plans: Annotated[Mapping[values.Name, Plan], AfterValidator(_with_default)] = Field(
        default_factory=lambda: _with_default({})
    )
    teams: Mapping[values.Name, Team] = {}
    prices: Mapping[values.ModelGlob, Price] = {}
