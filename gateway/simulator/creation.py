"""What is checked before a prediction is made, and how it is made."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

import orjson

from gateway.simulator.catalogue import Model
from gateway.simulator.fetching import fetch_input
from gateway.simulator.lifecycle import Prediction
from gateway.simulator.schemas import InputSchema, Violation
from gateway.simulator.scripts import Program
from gateway.simulator.wire import Json, JsonObject, Reply, problem
from gateway.simulator.world import World

EVENTS = ("start", "output", "logs", "completed")
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_LEAST_DEADLINE_S = 5.0
_COMMON: dict[str, JsonObject] = {
    "input": {"type": "object"},
    "stream": {"type": "boolean"},
    "webhook": {"type": "string", "format": "uri"},
    "webhook_completed": {"type": "string", "format": "uri"},
    "webhook_events_filter": {"type": "array", "items": {"type": "string", "enum": list(EVENTS)}},
}


@dataclass(frozen=True, slots=True)
class Runnable:
    """What a create asks to be run, once its name has been looked up."""

    model: Model
    program: Program
    shown_model: str
    shown_version: str
    official: bool = False
    deployment: str | None = None
    destination: str | None = None


class Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


def input_invalid(violations: Iterable[Violation]) -> Refused:
    """Return the error for a body or an input that does not fit its schema."""
    found = list(violations)
    return Refused(
        problem(
            422,
            "".join(violation.line for violation in found),
            "Input validation failed",
            newline=True,
            extra={"invalid_fields": [violation.as_json() for violation in found]},
        )
    )


def version_refused() -> Refused:
    """Return the error for a version that does not exist or is not the account's to run."""
    return Refused(
        problem(
            422,
            "The specified version does not exist"
            " (or perhaps you don't have permission to use it?)",
            "Invalid version or not permitted",
            newline=True,
        )
    )


def not_found(detail: str = "The requested resource could not be found.") -> Refused:
    """Return the error for something that is not there."""
    return Refused(problem(404, detail, newline=True))


def check_body(body: JsonObject, *needed: str) -> JsonObject:
    """Check a create's members: none unknown, none missing. Return its input. Raises Refused."""
    known: dict[str, JsonObject] = {**_COMMON}
    known.update({name: {"type": "string"} for name in needed})
    found = [
        Violation(
            "additional_property_not_allowed",
            "(root)",
            f"Additional property {name} is not allowed",
        )
        for name in body
        if name not in known
    ]
    schema = InputSchema(known, (*needed, "input"))
    for violation in schema.violations(body):
        bare = violation.field.removeprefix("input.")
        found.append(Violation(violation.kind, bare, violation.description))
    if found:
        raise input_invalid(found)
    given = body["input"]
    return dict(given) if isinstance(given, dict) else {}


def check_webhook(body: JsonObject) -> None:
    """Check that webhooks go to HTTPS addresses. Raises Refused."""
    for name in ("webhook", "webhook_completed"):
        address = body.get(name)
        if isinstance(address, str) and not address.startswith("https://"):
            raise input_invalid([Violation("format", name, f"{name} must be an HTTPS URL")])


def parse_cancel_after(text: str | None) -> float:
    """Return the seconds of a `Cancel-After` header, infinite without one. Raises Refused."""
    if text is None:
        return math.inf
    text = text.strip()
    if text.isdigit():
        seconds = float(text)
    else:
        match = _DURATION.fullmatch(text)
        hours, minutes, rest = match.groups() if match and text else (None, None, None)
        seconds = 3600.0 * int(hours or 0) + 60.0 * int(minutes or 0) + int(rest or 0)
    if seconds < _LEAST_DEADLINE_S:
        detail = "Cancel-After must be a duration of at least 5 seconds, for example 30s or 1h30m"
        raise Refused(problem(422, detail, "Invalid Cancel-After header", newline=True))
    return seconds


def resolve_version(world: World, text: str) -> Runnable:
    """Look up a create's `version`: an id, `owner/name` or `owner/name:id`. Raises Refused."""
    world.settle_trainings()
    name, _, wanted = text.rpartition(":") if ":" in text else ("", "", text)
    if "/" in wanted and not name:
        model = world.catalogue.named(wanted)
        if model is None or model.official is None:
            raise version_refused()
        return resolve_official(model)
    found = world.catalogue.by_version(wanted)
    if found is None or (name and found[0].full_name != name.lower()):
        raise version_refused()
    model, version = found
    return Runnable(model, version.program, model.full_name, version.id)


def resolve_official(model: Model) -> Runnable:
    """Return what runs for an official model. Raises Refused for others."""
    official = model.official
    if official is None:
        raise not_found()
    return Runnable(
        model,
        official.program,
        official.answered_model or model.full_name,
        official.answered_version,
        official=True,
    )


def make(
    world: World,
    runnable: Runnable,
    given: JsonObject,
    body: JsonObject,
    cancel_after_s: float = math.inf,
    source: str = "api",
) -> Prediction:
    """Make a prediction or a training. Raises Refused if the input does not fit the model."""
    if violations := runnable.program.schema.violations(given):
        raise input_invalid(violations)
    if runnable.official:
        given = dict(sorted(given.items()))
    store = world.predictions if runnable.destination is None else world.trainings
    now = world.now()
    pace = 1.0 / world.config.speed
    prediction = Prediction(
        id=world.clock.new_id(),
        number=store.next_number(),
        model=runnable.model.full_name,
        shown_model=runnable.shown_model,
        shown_version=runnable.shown_version,
        program=runnable.program,
        # A copy: what the serialiser returns keeps the room of its whole buffer.
        input_json=bytes(memoryview(orjson.dumps(given))),
        created_at=now,
        queue_s=0.0,
        run_s=0.0,
        pace=pace,
        official=runnable.official,
        source=source,
        deployment=runnable.deployment,
        destination=runnable.destination,
        webhook=_text(body.get("webhook")),
        webhook_events_filter=_texts(body.get("webhook_events_filter")),
        webhook_completed=_text(body.get("webhook_completed")),
        deadline=now + cancel_after_s,
    )
    script = world.script(prediction)
    prediction.queue_s = script.queue_s * pace
    prediction.run_s = script.run_s * pace
    prediction.fails = script.error is not None
    prediction.metrics = dict(script.metrics)
    store.add(prediction, world.config.keep_predictions)
    runnable.model.run_count += 1
    if runnable.destination is not None:
        world.unsettled_trainings.append(prediction)
    _start_fetching(world, prediction, given)
    return prediction


def _start_fetching(world: World, prediction: Prediction, given: JsonObject) -> None:
    url = prediction.program.fetches(world.job(prediction, given))
    if url is None:
        return
    prediction.fetch_url = url

    async def fetch() -> None:
        await world.clock.sleep(prediction.starts_at - world.now())
        if not world.moment(prediction).terminal:
            world.fetched(prediction, await fetch_input(world, url))

    world.start_job(fetch(), f"input of {prediction.id}")


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) else None


def _texts(value: Json) -> tuple[str, ...] | None:
    return tuple(str(item) for item in value) if isinstance(value, list) else None
