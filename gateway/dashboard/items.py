"""Predictions as they are shown: what came out, how it stands, how to make it again."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from posixpath import splitext
from urllib.parse import unquote, urlsplit

from gateway.dashboard import words
from gateway.domain.foreign_json import load_foreign
from gateway.domain.urls import DELIVERY_PREFIX, UrlMap
from gateway.ledger.predictions import Row

_KINDS = {
    "image": ("png", "jpg", "jpeg", "webp", "gif", "avif", "bmp", "svg"),
    "video": ("mp4", "webm", "mov", "m4v"),
    "audio": ("mp3", "wav", "ogg", "flac", "m4a", "aac", "opus"),
}
_BY_ENDING = {f".{ending}": kind for kind, endings in _KINDS.items() for ending in endings}
_DATA = re.compile(r"data:(image|video|audio)/")
_SEED = re.compile(r"\bseed\b\s*[:=]?\s*(\d{1,20})", re.IGNORECASE)
_MOST_OUTPUTS = 24
_PROMPTS = ("prompt", "text", "input", "question", "caption", "query")
_CARD_TEXT = 240
_CARD_PROMPT = 160
_DETAIL_TEXT = 20_000
_DETAIL_ERROR = 4000
_CARD_INLINE = 4_000
_DETAIL_INLINE = 300_000
"""How long a `data:` output may be to stand in the page itself, in the gallery and alone."""


@dataclass(frozen=True, slots=True)
class Output:
    """What came out: `kind` is image, video, audio, file, or inline for what is too large."""

    kind: str
    url: str
    name: str


@dataclass(frozen=True, slots=True)
class Status:
    """A status in a word, with an icon's name."""

    icon: str
    text: str


@dataclass(frozen=True, slots=True)
class Card:
    """One prediction in the gallery."""

    id: str
    model: str
    status: Status
    running: bool
    created_at: float
    prompt: str
    outputs: tuple[Output, ...]
    text: str
    error: str
    removed: bool
    mine: bool
    user: str


@dataclass(frozen=True, slots=True)
class Detail:
    """One prediction with everything that is known of it."""

    card: Card
    prompt: str
    text: str
    error: str
    seconds: str
    cost: str
    seed: str
    version: str
    input: str
    curl: str
    python: str
    completed_at: float | None


def card_of(row: Row, body: bytes, urls: UrlMap, now: float, user_id: str) -> Card:
    """Return a prediction as the gallery shows it; `body` is in upstream's form."""
    document = _object(body)
    removed = row.removed_at is not None
    output = None if removed else document.get("output")
    files, text = outputs_of(output, urls, _CARD_INLINE)
    given = {} if removed else _mapping(document.get("input"))
    return Card(
        id=row.id,
        model=row.model or row.answered_model or "unknown model",
        status=status_of(row, now),
        running=row.settled_at is None,
        created_at=row.created_at,
        prompt=_short(prompt_of(given), _CARD_PROMPT),
        outputs=files,
        text=_short(text, _CARD_TEXT),
        error="" if removed else _short(_error(document), _CARD_TEXT),
        removed=removed or bool(document.get("data_removed")),
        mine=row.user_id == user_id,
        user=row.user_name,
    )


def detail_of(
    row: Row, body: bytes, shown: bytes, urls: UrlMap, now: float, user_id: str, origin: str
) -> Detail:
    """Return all of it; `shown` is the document in the visitor's form."""
    card = card_of(row, body, urls, now, user_id)
    document = _object(body)
    given = {} if card.removed else _mapping(_object(shown).get("input"))
    files, text = outputs_of(None if card.removed else document.get("output"), urls, _DETAIL_INLINE)
    return Detail(
        card=replace(card, outputs=files),
        prompt=prompt_of(given),
        text=_short(text, _DETAIL_TEXT),
        error="" if card.removed else _short(_error(document), _DETAIL_ERROR),
        seconds=words.micro(row.predict_us),
        cost=_cost(row),
        seed=seed_of(given, document),
        version=row.version or "",
        input=_short(json.dumps(given, indent=2, ensure_ascii=False), _DETAIL_TEXT),
        curl=curl_of(row, given, origin),
        python=python_of(row, given, origin),
        completed_at=row.completed_at or row.settled_at,
    )


def status_of(row: Row, now: float) -> Status:
    """Say how a prediction stands: "running 12 s", "succeeded 4.1 s"."""
    if row.settled_at is None:
        word = "starting" if row.status == "starting" else "running"
        return Status("running", f"{word} {words.span(max(0.0, now - row.created_at))}")
    took = "" if row.predict_us is None else f" {words.micro(row.predict_us)}"
    return Status(row.status, f"{row.status}{took}")


def outputs_of(
    output: object, urls: UrlMap, most_inline: int = _DETAIL_INLINE
) -> tuple[tuple[Output, ...], str]:
    """Return the files anywhere in an output, and what is text in it."""
    files: list[Output] = []
    for text in _strings(output):
        found = _file(text, urls, most_inline)
        if found is not None and found not in files:
            files.append(found)
    if files:
        return tuple(files[:_MOST_OUTPUTS]), ""
    if isinstance(output, str):
        return (), output
    if isinstance(output, list) and output and all(isinstance(part, str) for part in output):
        return (), "".join(output)
    if output is None or output in ([], {}):
        return (), ""
    return (), json.dumps(output, indent=2, ensure_ascii=False)


def prompt_of(given: Mapping[str, object]) -> str:
    """Return what was asked for in words."""
    for name in _PROMPTS:
        value = given.get(name)
        if isinstance(value, str) and value.strip() and not value.startswith(("http", "data:")):
            return value.strip()
    return ""


def seed_of(given: Mapping[str, object], document: Mapping[str, object]) -> str:
    """Return the seed: as it was given, else as the model logged it."""
    seed = given.get("seed")
    if isinstance(seed, int) and not isinstance(seed, bool):
        return str(seed)
    logs = document.get("logs")
    found = _SEED.search(logs[:20_000]) if isinstance(logs, str) else None
    return found[1] if found else ""


def curl_of(row: Row, given: Mapping[str, object], origin: str) -> str:
    """Return a command that asks for the same again."""
    path, body = _target(row, given)
    return (
        f"curl -s {origin}/replicate/v1/{path} \\\n"
        '  -H "Authorization: Bearer $REPLICATE_API_TOKEN" \\\n'
        '  -H "Content-Type: application/json" -H "Prefer: wait" \\\n'
        f"  -d {shlex.quote(json.dumps(body, ensure_ascii=False))}"
    )


def python_of(row: Row, given: Mapping[str, object], origin: str) -> str:
    """Return a program that asks for the same again."""
    model = row.model or row.answered_model or ""
    lines = [
        "import os",
        "import replicate",
        "",
        "client = replicate.Client(",
        f'    base_url="{origin}/replicate",',
        '    api_token=os.environ["REPLICATE_API_TOKEN"],',
        ")",
    ]
    if row.deployment:
        lines.append(f"prediction = client.deployments.predictions.create({row.deployment!r},")
    else:
        lines.append(f"output = client.run({_reference(row, model)!r},")
    lines.append(f"    input={given!r},")
    lines.append(")")
    lines.append("print(prediction.id)" if row.deployment else "print(output)")
    return "\n".join(lines)


def _target(row: Row, given: Mapping[str, object]) -> tuple[str, dict[str, object]]:
    if row.deployment:
        return f"deployments/{row.deployment}/predictions", {"input": given}
    model = row.model or row.answered_model or ""
    if re.fullmatch(r"[\w.-]+/[\w.-]+", model) and not _is_version(row.version):
        return f"models/{model}/predictions", {"input": given}
    return "predictions", {"version": row.version or model, "input": given}


def _reference(row: Row, model: str) -> str:
    return f"{model}:{row.version}" if model and _is_version(row.version) else model


def _is_version(version: str | None) -> bool:
    return version is not None and re.fullmatch(r"[0-9a-f]{64}", version) is not None


def _error(document: Mapping[str, object]) -> str:
    error = document.get("error")
    return "" if error is None else str(error)


def _cost(row: Row) -> str:
    if row.settled_at is None:
        nano = row.est_cost_nano
        return "not known yet" if nano is None else f"≈{words.money(nano)} expected"
    return "unknown" if row.cost_nano is None else f"≈{words.money(row.cost_nano)}"


def _file(text: str, urls: UrlMap, most_inline: int) -> Output | None:
    inline = _DATA.match(text)
    if inline is not None:
        kind = inline[1] if len(text) <= most_inline else "inline"
        return Output(kind, text if kind != "inline" else "", "inline data")
    address = urls.delivery_to_client(text, "")
    # What was no output's address comes back unchanged, also when it looks like one of ours.
    if address == text or not address.startswith(DELIVERY_PREFIX):
        return None
    path = urlsplit(address).path
    name = unquote(path.rpartition("/")[2])
    return Output(_BY_ENDING.get(splitext(path)[1].lower(), "file"), address, name)


def _strings(value: object, depth: int = 0) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif depth < 20 and isinstance(value, list):
        for item in value:
            yield from _strings(item, depth + 1)
    elif depth < 20 and isinstance(value, dict):
        for item in value.values():
            yield from _strings(item, depth + 1)


def _object(body: bytes) -> Mapping[str, object]:
    return _mapping(load_foreign(body))


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"
