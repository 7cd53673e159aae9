"""Operations on predictions."""

import re
from datetime import UTC, datetime

from gateway.simulator.creation import (
    Refused,
    Runnable,
    check_body,
    check_webhook,
    make,
    not_found,
    parse_cancel_after,
    resolve_official,
    resolve_version,
)
from gateway.simulator.documents import list_item
from gateway.simulator.lifecycle import Prediction
from gateway.simulator.listing import data_uri, list_reply
from gateway.simulator.wire import (
    BodyNotJson,
    Json,
    JsonObject,
    Reply,
    Request,
    json_reply,
    problem,
)
from gateway.simulator.world import World

_PREFER_WAIT = re.compile(r"wait(?:=(\d+))?")
_LONGEST_WAIT_S = 60


def body_of(request: Request) -> JsonObject:
    """Return the request's JSON object. Raises Refused."""
    try:
        return request.json_object()
    except BodyNotJson as error:
        detail = f"The request body is not valid: {error}"
        raise Refused(problem(400, detail, "Bad Request", newline=True)) from error


async def create(world: World, request: Request) -> Reply:
    """Make a prediction of a version."""
    body = body_of(request)
    given = check_body(body, "version")
    return await _create(world, request, resolve_version(world, str(body["version"])), given, body)


async def create_by_model(world: World, request: Request) -> Reply:
    """Make a prediction of an official model."""
    model = world.catalogue.find(request.params["owner"], request.params["name"])
    if model is None:
        raise not_found()
    runnable = resolve_official(model)
    body = body_of(request)
    return await _create(world, request, runnable, check_body(body), body)


async def create_by_deployment(world: World, request: Request) -> Reply:
    """Make a prediction of a deployment."""
    deployment = world.deployments.get(request.params["name"])
    if deployment is None or request.params["owner"] != world.config.username:
        raise not_found()
    found = world.catalogue.by_version(deployment.version)
    if found is None:
        raise not_found()
    model, version = found
    body = body_of(request)
    given = check_body(body)
    runnable = Runnable(
        model,
        version.program,
        model.full_name,
        version.id,
        deployment=f"{world.config.username}/{deployment.name}",
    )
    deployment.last_used_at = world.now()
    return await _create(world, request, runnable, given, body)


async def _create(
    world: World, request: Request, runnable: Runnable, given: JsonObject, body: JsonObject
) -> Reply:
    check_webhook(body)
    if world.config.out_of_credit:
        raise Refused(no_credit())
    cancel_after_s = parse_cancel_after(request.header("cancel-after"))
    prediction = make(world, runnable, given, body, cancel_after_s)
    wait_s = _wait_asked_for(request)
    if wait_s is None:
        return json_reply(world.document(prediction), 201)
    if await world.ended(prediction, wait_s, request):
        reply = json_reply(await _blocking_document(world, prediction), 201)
    else:
        # Whatever it is doing, it is reported as starting: clients poll on from there.
        document = world.document(prediction)
        document["status"] = "starting"
        reply = json_reply(document, 202)
    return reply.set("preference-applied", request.header("prefer") or "wait")


def no_credit() -> Reply:
    """Return the error for an account without money."""
    return problem(
        402,
        "You have insufficient credit to run this model. Go to "
        "https://replicate.com/account/billing#billing to purchase credit.",
        "Insufficient credit",
        newline=True,
    )


def _wait_asked_for(request: Request) -> int | None:
    """Return the seconds of `Prefer: wait`; a preference out of bounds is not honoured."""
    match = _PREFER_WAIT.fullmatch((request.header("prefer") or "").strip())
    if match is None:
        return None
    seconds = int(match.group(1)) if match.group(1) else _LONGEST_WAIT_S
    return seconds if 1 <= seconds <= _LONGEST_WAIT_S else None


async def _blocking_document(world: World, prediction: Prediction) -> JsonObject:
    """Return what a blocking create answers: a success reads `processing` and has no metrics."""
    document = world.document(prediction)
    if document["status"] != "succeeded":
        return document
    document["status"] = "processing"
    for name in ("metrics", "completed_at"):
        document.pop(name, None)
    if world.config.inline_outputs:
        document["output"] = await _inline_files(world, prediction, document.get("output"))
    return document


async def _inline_files(world: World, prediction: Prediction, output: Json) -> Json:
    replaced: dict[str, str] = {}
    for file in world.script(prediction).files:
        if file.render is None:
            continue
        made = await world.renderings.get(f"{prediction.id}/{file.name}", file)
        if len(made.content) <= world.config.inline_max_bytes:
            url = world.addresses.output(prediction.id, file.name)
            replaced[url] = data_uri(file.media_type, made.content)

    def walk(value: Json) -> Json:
        if isinstance(value, str):
            return replaced.get(value, value)
        if isinstance(value, dict):
            return {key: walk(item) for key, item in value.items()}
        return [walk(item) for item in value] if isinstance(value, list) else value

    return walk(output)


async def get(world: World, request: Request) -> Reply:
    """Answer a prediction, or a training: both live under one name."""
    prediction = world.find(request.params["id"])
    if prediction is None:
        raise not_found()
    return json_reply(world.document(prediction))


async def cancel(world: World, request: Request) -> Reply:
    """Cancel a prediction and answer it; one that has ended stays as it is."""
    prediction = world.find(request.params["id"])
    if prediction is None:
        raise not_found()
    world.cancel(prediction)
    return json_reply(world.document(prediction))


async def list_all(world: World, request: Request) -> Reply:
    """Answer a page of predictions, newest first."""
    source = request.query.get("source")
    if source not in (None, "web", "api"):
        raise Refused(problem(400, "source must be one of: web, api", "Bad Request"))
    after = _time_asked_for(request, "created_after")
    before = _time_asked_for(request, "created_before")
    listed_until = world.now() - world.config.listed_after_s

    def keep(prediction: Prediction) -> bool:
        if prediction.forgotten or prediction.created_at > listed_until:
            return False
        return source is None or prediction.source == source

    return list_reply(
        world,
        request,
        world.predictions.between(after, before),
        lambda prediction: prediction.number,
        lambda prediction: list_item(world.document(prediction), lean=world.config.lean_lists),
        keep,
    )


def _time_asked_for(request: Request, name: str) -> float | None:
    text = request.query.get(name)
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        detail = f"{name} must be an ISO 8601 time"
        raise Refused(problem(400, detail, "Bad Request")) from error
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()
