"""What a simulated account is like: its token, its limits, its pace."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SimulatorConfig:
    """Every dial of the simulation, with the real service's values as defaults.

    All but the addresses can be changed while it runs (`Simulator.configure`). Times are seconds,
    sizes are bytes.
    """

    token: str = "r8_simulated_token_0123456789abcdef"  # noqa: S105 - opens a simulation only
    """The only token that is accepted; anything else is answered 401."""

    username: str = "acme"
    """The account: owner of its private models and deployments."""

    output_ttl_s: float = 3600.0
    """After a prediction ends: how long its input, output and files stay."""

    upload_ttl_s: float = 86400.0
    max_upload_bytes: int = 100 * 1024 * 1024

    speed: float = 1.0
    """Divides the duration of everything that a model does."""

    enforce_rate_limits: bool = True
    creates_per_minute: int = 600
    requests_per_minute: int = 3000
    low_credit: bool = False
    """Six creates a minute and one a second, as for real accounts that are short of money."""

    out_of_credit: bool = False
    """Every create is answered 402."""

    visible_after_s: float = 0.0
    """How long a new prediction is answered 404 (the real one is only eventually consistent)."""

    listed_after_s: float = 0.0
    """How long a new prediction is missing from lists."""

    lean_lists: bool = False
    """List items lack `logs`, `input` and `output`."""

    lean_fresh: bool = False
    """Every fresh prediction lacks the fields that only some lack otherwise."""

    http_next_links: bool = False
    """`next` and `previous` begin with `http:` although the API is at `https:`."""

    inline_outputs: bool = True
    """Blocking creates answer small files as `data:` URIs."""

    inline_max_bytes: int = 512 * 1024

    trickle_bytes_per_s: float = 0.0
    """Pace of output delivery; 0 is as fast as the socket takes it."""

    host: str = "127.0.0.1"
    api_port: int = 0
    delivery_port: int = 0
    stream_port: int = 0
    control_port: int = 0
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None

    keep_predictions: int = 200_000
    """Older ones are forgotten, so that memory stays bounded."""

    keep_log_entries: int = 20_000

    @property
    def scheme(self) -> str:
        """Return what URLs of the simulated origins begin with."""
        return "https" if self.tls_cert_file is not None else "http"


ADDRESS_FIELDS = frozenset(
    {
        "host",
        "api_port",
        "delivery_port",
        "stream_port",
        "control_port",
        "tls_cert_file",
        "tls_key_file",
        "keep_log_entries",
    }
)
"""Fields that are fixed once the origins are bound."""
