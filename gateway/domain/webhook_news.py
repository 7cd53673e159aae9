"""Which events a new document of a prediction is, given what its webhook has been told before."""

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

from gateway.domain.foreign_json import load_foreign

EVERY_S: Final = 0.5
"""``output`` and ``logs`` are told at most this often, each."""


@dataclass(frozen=True, slots=True)
class Said:
    """What has been told so far. `output` and `logs` are short digests, "" for nothing yet."""

    start: bool = False
    output: str = ""
    output_at: float = 0.0
    logs: str = ""
    logs_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Scene:
    """What a document shows that could be told."""

    started: bool
    ended: bool
    output: str
    logs: str


def scene_of(body: bytes, *, ended: bool) -> Scene:
    """Read upstream's document; raises ``InvalidJson``. `ended`: it is the one that settles."""
    document = load_foreign(body)
    members = document if isinstance(document, dict) else {}
    return Scene(
        started=members.get("status") != "starting"
        and (not ended or members.get("started_at") is not None),
        ended=ended,
        output=_digest(members.get("output")),
        logs=_digest(members.get("logs") or None),
    )


def news(
    said: Said, scene: Scene, wanted: Collection[str], now: float
) -> tuple[Said, tuple[str, ...]]:
    """Return what will have been told, and the events to send, in the order in which they happened.

    The end tells the last output and the last logs as well: whoever wants to hear of the end does
    not get the same document twice.
    """
    events: list[str] = []
    whole = scene.ended and "completed" in wanted
    if scene.started and not said.start:
        said = replace(said, start=True)
        if "start" in wanted:
            events.append("start")
    if _is_new(scene.output, said.output, said.output_at, scene.ended, now):
        said = replace(said, output=scene.output, output_at=now)
        if "output" in wanted and not whole:
            events.append("output")
    if _is_new(scene.logs, said.logs, said.logs_at, scene.ended, now):
        said = replace(said, logs=scene.logs, logs_at=now)
        if "logs" in wanted and not whole:
            events.append("logs")
    if whole:
        events.append("completed")
    return said, tuple(events)


def write(said: Said) -> str:
    """Return the text in which `said` is kept."""
    return json.dumps([said.start, said.output, said.output_at, said.logs, said.logs_at])


def read(text: str | None) -> Said:
    """Return what `write` wrote; nothing has been told before the first time."""
    return Said() if text is None else Said(*json.loads(text))


def _is_new(shown: str, told: str, told_at: float, ended: bool, now: float) -> bool:
    # What comes too soon is not lost: the next document shows it too, and the last one is told
    # whenever it comes.
    return shown not in ("", told) and (ended or now - told_at >= EVERY_S)


def _digest(value: object) -> str:
    if value is None:
        return ""
    text = json.dumps(value, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=9).hexdigest()
