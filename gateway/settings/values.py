"""What a single value of the configuration may be, and what to say when it is not.

Each check returns the value in its normal form or raises ``ValueError`` with what would be right;
the sentence continues "key = value: …".
"""

import base64
import binascii
import ipaddress
import re
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from gateway.domain.models import glob_fault
from gateway.domain.origins import canonical_origin, parse_origin_pattern


@dataclass(frozen=True, slots=True)
class Unit:
    """What a number counts, for the documentation."""

    name: str


@dataclass(frozen=True, slots=True)
class Secret:
    """Marks a value that is never shown: not in faults, not by ``config show``."""


@dataclass(frozen=True, slots=True)
class SecretUrl:
    """Marks a URL of which only the scheme and the host are shown: the rest may hold a password."""


@dataclass(frozen=True, slots=True)
class Example:
    """Stands in the shipped file for a key that has no default."""

    value: int | str | Decimal | list[str]


# What this version can store in. An object store is accepted from the day that it is served.
_DATABASE_SCHEMES = ("postgresql",)
_STORE_SCHEMES: tuple[str, ...] = ()

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def _split(url: str) -> SplitResult:
    """Take a URL apart; raise ValueError now where ``urlsplit`` would wait until one asks."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError("is not a URL: its host or its port cannot be read") from None
    return parts


def _check_origin(text: str) -> str:
    form = "scheme://host[:port]"
    parts = _split(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"must be {form}, beginning with http:// or https://")
    if "@" in parts.netloc:
        raise ValueError(f"must be {form} without a user or a password")
    if "*" in parts.netloc:
        raise ValueError('must name one host: "*" has no meaning here')
    if parts.path.rstrip("/").endswith("/v1"):
        raise ValueError("must be an origin without a path: leave out /v1")
    origin = canonical_origin(text)
    if origin is None:
        raise ValueError(f"must be an origin without a path: {form}")
    return origin


def _check_public_url(text: str) -> str:
    return _check_origin(text) if text else ""


def _check_origin_pattern(text: str) -> str:
    try:
        pattern = parse_origin_pattern(text)
    except ValueError:
        raise ValueError(
            'must be scheme://host[:port], such as "https://*.replicate.delivery" '
            '(the host may begin with "*.", no path)'
        ) from None
    if pattern.wildcard and "." not in pattern.host and pattern.host != "localhost":
        raise ValueError('must name a domain after "*.", such as "https://*.example.com"')
    return str(pattern)


def _check_network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text, strict=True))
    except ValueError:
        pass
    try:
        cure = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(
            'must be an address or a network, such as "10.0.0.7" or "10.0.0.0/8"'
        ) from None
    raise ValueError(f'has bits set beyond its prefix; write "{cure}"')


def _check_host(text: str) -> str:
    if text != text.strip() or not text or "/" in text:
        raise ValueError('must be an address or a host name, such as "127.0.0.1" or "0.0.0.0"')
    return text


def _check_token(token: SecretStr) -> SecretStr:
    text = token.get_secret_value()
    if not text:
        return token
    if text.startswith("hk-"):
        raise ValueError(
            "is a key of this gateway (hk-…), which only its clients use: unset it here, or set"
            " the account's own token from Replicate"
        )
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("contains blanks or characters that a token cannot have")
    return token


def _check_webhook_secret(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if not text:
        return secret
    try:
        if not text.startswith("whsec_") or not base64.b64decode(text[6:], validate=True):
            raise ValueError
    except (ValueError, binascii.Error):
        raise ValueError(
            'must be "whsec_" followed by standard base64, such as openssl rand -base64 24 prints'
        ) from None
    return secret


def _check_webhook(url: str) -> str:
    if not url:
        return url
    parts = _split(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be a whole URL, beginning with https://")
    return url


def _check_database_url(url: str) -> str:
    if not url:
        return url
    parts = _split(url)
    if parts.scheme not in _DATABASE_SCHEMES:
        raise ValueError('must be "" (SQLite in storage.data_dir) or postgresql://user@host/name')
    if not parts.path.strip("/"):
        raise ValueError("must name a database: postgresql://user@host/name")
    return url


def _check_store_url(url: str) -> str:
    if url and _split(url).scheme not in _STORE_SCHEMES:
        raise ValueError('must be "": this version stores in the local folder data_dir/mirror only')
    return url


def _check_folder(path: object) -> object:
    if path == "":
        raise ValueError('must name a folder, such as "data"')
    return path


def check_glob(pattern: str) -> str:
    """Return a pattern for ``owner/name`` in lower case; raise ValueError if it matches none."""
    if ":" in pattern:
        raise ValueError("must name models, not versions: leave out what follows the colon")
    fault = glob_fault(pattern)
    if fault is not None:
        raise ValueError(f"matches no model: {fault}")
    return pattern.lower()


def _check_globs(patterns: tuple[str, ...]) -> tuple[str, ...]:
    """Return no patterns at all where one of them matches everything: that restricts nothing."""
    return () if "*" in patterns else patterns


def check_name(name: str) -> str:
    """Return the name of a plan or a team; raise ValueError when it would not fit a label."""
    if _NAME.fullmatch(name) is None:
        raise ValueError(
            'must be a name of up to 64 letters, digits, "_", "." and "-", beginning with '
            "a letter or a digit"
        )
    return name


Bytes = Annotated[int, Field(gt=0), Unit("bytes")]
Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0), Unit("seconds")]
SecondsOrNone = Annotated[float, Field(ge=0), Unit("seconds")]
Days = Annotated[float, Field(ge=0), Unit("days")]
PerMinute = Annotated[int, Field(gt=0), Unit("per minute")]
Money = Annotated[Decimal | None, Field(ge=0), Unit("US dollars")]
Host = Annotated[str, AfterValidator(_check_host)]
Origin = Annotated[str, AfterValidator(_check_origin)]
OriginPattern = Annotated[str, AfterValidator(_check_origin_pattern)]
PublicUrl = Annotated[str, AfterValidator(_check_public_url)]
Network = Annotated[str, AfterValidator(_check_network)]
Token = Annotated[SecretStr, AfterValidator(_check_token), Secret()]
WebhookSecret = Annotated[SecretStr, AfterValidator(_check_webhook_secret), Secret()]
WebhookUrl = Annotated[str, AfterValidator(_check_webhook), SecretUrl()]
DatabaseUrl = Annotated[str, AfterValidator(_check_database_url), SecretUrl()]
StoreUrl = Annotated[str, AfterValidator(_check_store_url), SecretUrl()]
Folder = Annotated[Path, BeforeValidator(_check_folder)]
ModelGlob = Annotated[str, AfterValidator(check_glob)]
# Where no pattern means every model, so does the pattern "*".
ModelGlobsOrAll = Annotated[tuple[ModelGlob, ...], AfterValidator(_check_globs)]
Name = Annotated[str, AfterValidator(check_name)]
