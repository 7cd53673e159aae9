"""Predictions and trainings as JSON, with the members and their order as the service has them."""

import hashlib
import math
from datetime import UTC, datetime

import orjson

from gateway.simulator.addresses import Addresses
from gateway.simulator.lifecycle import Moment, Prediction, shown_s
from gateway.simulator.scripts import Script
from gateway.simulator.wire import Json, JsonObject

_LIST_ORDER = (
    "completed_at",
    "created_at",
    "data_removed",
    "deadline",
    "deployment",
    "error",
    "id",
    "input",
    "logs",
    "metrics",
    "output",
    "started_at",
    "source",
    "status",
    "urls",
    "model",
    "version",
)


def iso_millis(at: float) -> str:
    """Return a time as `created_at` has it."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def iso_nanos(at: float, salt: str) -> str:
    """Return a time as `started_at` has it; the clock's own digits end at microseconds."""
    tail = int.from_bytes(hashlib.blake2b(salt.encode(), digest_size=2).digest(), "big") % 1000
    head = datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")[:-6]
    return f"{head}{tail:03d}Z"


def iso_micros(at: float) -> str:
    """Return a time as models, versions and files have it."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def shown_logs(script: Script, so_far_s: float) -> str:
    """Return what the model has printed after so many seconds."""
    return "".join(
        step.data for step in script.steps if step.kind == "logs" and step.at_s <= so_far_s
    )


def shown_output(script: Script, moment: Moment, so_far_s: float) -> Json:
    """Return the output as far as it is there."""
    if moment.status == "succeeded":
        return script.result
    if not script.partial_output or moment.started_at is None:
        return None
    tokens = [step.data for step in script.steps if step.kind == "output" and step.at_s <= so_far_s]
    return tokens or None


def prediction_document(
    prediction: Prediction,
    moment: Moment,
    script: Script,
    addresses: Addresses,
    *,
    lean_fresh: bool = False,
) -> JsonObject:
    """Return what `predictions.get` answers."""
    fresh = moment.status == "starting"
    lean = fresh and (lean_fresh or not prediction.official)
    removed = moment.removed
    so_far_s = shown_s(prediction, moment)
    document: JsonObject = {
        "id": prediction.id,
        "model": prediction.shown_model,
        "version": prediction.shown_version,
        "input": {} if removed else orjson.loads(prediction.input_json),
        "logs": "" if removed else shown_logs(script, so_far_s),
    }
    if not lean:
        document["output"] = None if removed else shown_output(script, moment, so_far_s)
        document["data_removed"] = removed
    document["error"] = script.error if moment.status == "failed" else None
    document["source"] = prediction.source
    document["status"] = moment.status
    document["created_at"] = iso_millis(prediction.created_at)
    if not math.isinf(prediction.deadline):
        document["deadline"] = iso_millis(prediction.deadline)
    if prediction.deployment is not None:
        document["deployment"] = prediction.deployment
    _add_times(document, prediction, moment)
    document["urls"] = _urls(prediction, addresses)
    if prediction.webhook is not None:
        document["webhook"] = prediction.webhook
        if prediction.webhook_events_filter is not None:
            document["webhook_events_filter"] = list(prediction.webhook_events_filter)
    if prediction.webhook_completed is not None:
        document["webhook_completed"] = prediction.webhook_completed
    if moment.terminal:
        document["metrics"] = metrics(prediction, moment)
    return document


def list_item(document: JsonObject, *, lean: bool) -> JsonObject:
    """Return a document as lists show it: in another order, perhaps without the large members."""
    left_out = {"logs", "input", "output"} if lean else set()
    return {
        name: document[name] for name in _LIST_ORDER if name in document and name not in left_out
    }


def metrics(prediction: Prediction, moment: Moment) -> JsonObject:
    """Return what a prediction used; nothing of a run if it never ran."""
    if moment.completed_at is None:
        return {}
    measured: JsonObject = {}
    if moment.started_at is not None:
        if moment.status == "succeeded":
            measured.update(prediction.metrics)
        measured["predict_time"] = round(moment.elapsed_s, 9)
    measured["total_time"] = round(moment.completed_at - prediction.created_at, 9)
    return measured


def _add_times(document: JsonObject, prediction: Prediction, moment: Moment) -> None:
    if moment.started_at is not None:
        document["started_at"] = iso_nanos(moment.started_at, f"{prediction.id}/started")
    if moment.completed_at is not None:
        document["completed_at"] = iso_nanos(moment.completed_at, f"{prediction.id}/completed")


def _urls(prediction: Prediction, addresses: Addresses) -> JsonObject:
    get = addresses.v1(f"/predictions/{prediction.id}")
    urls: JsonObject = {"cancel": f"{get}/cancel", "get": get}
    if prediction.program.stream is not None and prediction.destination is None:
        urls["stream"] = addresses.stream(prediction.id, prediction.program.stream)
    urls["web"] = f"https://replicate.com/p/{prediction.id}"
    return urls


def training_document(
    training: Prediction, moment: Moment, script: Script, addresses: Addresses, version: str | None
) -> JsonObject:
    """Return what `trainings.get` answers; `version` is the one that was pushed."""
    document = prediction_document(training, moment, script, addresses)
    if moment.status == "succeeded" and not moment.removed:
        weights = script.result.get("weights") if isinstance(script.result, dict) else None
        document["output"] = {"version": version, "weights": weights}
    urls = document["urls"]
    if moment.status != "starting" and isinstance(urls, dict):
        # A fresh training names /v1/predictions, a later answer /v1/trainings: both are served.
        get = addresses.v1(f"/trainings/{training.id}")
        document["urls"] = {"web": urls["web"], "get": get, "cancel": f"{get}/cancel"}
    return document
