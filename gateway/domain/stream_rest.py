"""The end of a stream that upstream no longer serves, made from the settled prediction.

What was logged came from the same run as the document, so the rest is the document's output less
what was logged; then the events with which upstream itself would have ended.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Final

from gateway.domain.foreign_json import load_foreign
from gateway.domain.sse import Event, make_event

DONE: Final = "done"
"""The name of the event with which every stream ends."""

_NUMBERED: Final = re.compile(r"(.*:)([0-9]{1,15})")
_LINE_END: Final = re.compile(r"\r\n?")
_FILE: Final = ("http://", "https://", "data:")


def rest_of_stream(
    document: bytes, outputs: Sequence[str], last_id: str | None, *, error_told: bool
) -> tuple[Event, ...]:
    """The events that are missing, `done` included, each with an id (clients drop one without).

    `outputs` are the data of the output events logged so far, in order; `last_id` is the id of the
    last event logged. Raises ``InvalidJson``.
    """
    prediction = load_foreign(document)
    if not isinstance(prediction, Mapping):
        return ()
    told = [("output", text) for text in _missing(prediction.get("output"), outputs)]
    match prediction.get("status"):
        case "succeeded":
            told.append((DONE, "{}"))
        case "failed":
            if not error_told:
                told.append(("error", _json({"detail": prediction.get("error") or "failed"})))
            told.append((DONE, _json({"reason": "error"})))
        case _:
            told.append((DONE, _json({"reason": "canceled"})))
    prefix, number = _place(last_id)
    return tuple(
        make_event(name, data, f"{prefix}{number + step}")
        for step, (name, data) in enumerate(told, 1)
    )


def _missing(output: object, outputs: Sequence[str]) -> Sequence[str]:
    if output is None:
        return ()
    items = output if isinstance(output, list) else [output]
    texts = [item if isinstance(item, str) else _json(item) for item in items]
    if all(isinstance(item, str) for item in items) and not _are_files(texts):
        return _missing_text(texts, outputs)
    logged = set(outputs)
    if logged <= set(texts):
        return [text for text in texts if text not in logged]
    # The same files under other addresses (as data: URIs, say): they come in the same order.
    return texts[len(outputs) :]


def _missing_text(tokens: Sequence[str], outputs: Sequence[str]) -> Sequence[str]:
    """The tokens behind the text that was logged, however it was cut into events."""
    whole = [_LINE_END.sub("\n", token) for token in tokens]
    logged = _LINE_END.sub("\n", "".join(outputs))
    if not "".join(whole).startswith(logged):
        return whole[len(outputs) :]
    left = len(logged)
    missing: list[str] = []
    for token in whole:
        rest = token[left:]
        left = max(0, left - len(token))
        if rest:
            missing.append(rest)
    return missing


def _are_files(texts: Sequence[str]) -> bool:
    return bool(texts) and all(text.startswith(_FILE) for text in texts)


def _place(last_id: str | None) -> tuple[str, int]:
    """How ids go on: upstream's end in a number that counts."""
    match = None if last_id is None else _NUMBERED.fullmatch(last_id)
    if match is not None:
        return match[1], int(match[2])
    return "rest:" if last_id is None else f"{last_id}:", 0


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
