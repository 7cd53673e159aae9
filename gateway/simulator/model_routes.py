"""Operations on models and their versions."""

import re

from gateway.simulator.catalogue import Model, Version
from gateway.simulator.creation import Refused, input_invalid, not_found
from gateway.simulator.listing import list_reply, page_of
from gateway.simulator.model_pages import example, model_page, version_page
from gateway.simulator.prediction_routes import body_of
from gateway.simulator.schemas import InputSchema, Violation, choice, string
from gateway.simulator.wire import Json, JsonObject, Reply, Request, json_reply, problem
from gateway.simulator.world import World

HARDWARE = (
    ("CPU", "cpu"),
    ("Nvidia T4 GPU", "gpu-t4"),
    ("Nvidia L40S GPU", "gpu-l40s"),
    ("Nvidia A100 (80GB) GPU", "gpu-a100-large"),
    ("Nvidia H100 GPU", "gpu-h100"),
)
SKUS = tuple(sku for _, sku in HARDWARE)
_NAME = re.compile(r"[a-z0-9]+(?:[-_.][a-z0-9]+)*")
_TEXT = {
    "description": string("What it does"),
    "github_url": string("Its source"),
    "paper_url": string("Its paper"),
    "license_url": string("Its licence"),
}
_CREATE = InputSchema(
    {
        "owner": string("The account"),
        "name": string("The name"),
        "visibility": choice("Who sees it", "private", ("public", "private")),
        "hardware": choice("What it runs on", "cpu", SKUS),
        "cover_image_url": string("Its picture"),
        **_TEXT,
    },
    required=("owner", "name", "visibility", "hardware"),
)
_UPDATE = InputSchema({**_TEXT, "readme": string("Its page"), "weights_url": string("Its weights")})
_SORTS = {
    "model_created_at": lambda model: model.created_at,
    "latest_version_created_at": lambda model: (
        model.versions[0].created_at if model.versions else model.created_at
    ),
}


def check_plain(schema: InputSchema, body: JsonObject) -> None:
    """Check a body that is no prediction's. Raises Refused."""
    found = [
        Violation(violation.kind, violation.field.removeprefix("input."), violation.description)
        for violation in schema.violations(body)
    ]
    if found:
        raise input_invalid(found)


def _find(world: World, request: Request) -> Model:
    world.settle_trainings()
    model = world.catalogue.find(request.params["owner"], request.params["name"])
    if model is None:
        raise not_found()
    return model


def _own(world: World, request: Request) -> Model:
    model = _find(world, request)
    if model.owner != world.config.username:
        detail = "You do not have permission to perform this action."
        raise Refused(problem(403, detail, "Forbidden"))
    return model


def _find_version(model: Model, request: Request) -> Version:
    version = model.version(request.params["version"])
    if version is None:
        raise not_found()
    return version


def _text(body: JsonObject, name: str) -> str | None:
    value = body.get(name)
    return value if isinstance(value, str) else None


async def list_all(world: World, request: Request) -> Reply:
    """Answer a page of public models."""
    sort = request.query.get("sort_by", "latest_version_created_at")
    direction = request.query.get("sort_direction", "desc")
    if sort not in _SORTS or direction not in ("asc", "desc"):
        raise Refused(problem(400, "Invalid sort_by or sort_direction", "Bad Request"))
    public = [model for model in world.catalogue if model.visibility == "public"]
    # A page runs from the end to the beginning, so descending means ascending here.
    ordered = sorted(public, key=_SORTS[sort], reverse=direction == "asc")
    return list_reply(
        world,
        request,
        list(enumerate(ordered)),
        lambda pair: pair[0],
        lambda pair: model_page(world, pair[1]),
    )


async def create(world: World, request: Request) -> Reply:
    """Make an empty model of the account."""
    body = body_of(request)
    check_plain(_CREATE, body)
    owner, name = str(body["owner"]), str(body["name"])
    if owner != world.config.username:
        detail = f"You do not have permission to create a model for {owner}."
        raise Refused(problem(403, detail, "Forbidden"))
    if not _NAME.fullmatch(name):
        raise input_invalid([Violation("pattern", "name", "name has forbidden characters")])
    if world.catalogue.find(owner, name) is not None:
        detail = "A model with that name and owner already exists"
        raise Refused(problem(409, detail, "Model already exists"))
    model = Model(
        owner,
        name,
        _text(body, "description"),
        world.now(),
        "public" if body["visibility"] == "public" else "private",
        hardware=str(body["hardware"]),
        github_url=_text(body, "github_url"),
        paper_url=_text(body, "paper_url"),
        license_url=_text(body, "license_url"),
        cover_image_url=_text(body, "cover_image_url"),
    )
    return json_reply(model_page(world, world.catalogue.add(model)), 201)


async def search(world: World, request: Request) -> Reply:
    """Answer the public models that contain the words of a text body."""
    # One official client sends the text as a JSON string.
    words = request.body.decode("utf-8", "replace").strip().strip('"').lower().split()
    found: list[Json] = [model_page(world, model) for model in matching(world, words)]
    return page_of(found)


def matching(world: World, words: list[str]) -> list[Model]:
    """Return the public models whose name or description contains all the words."""
    return [
        model
        for model in world.catalogue
        if model.visibility == "public"
        and all(word in f"{model.full_name} {model.description}".lower() for word in words)
    ]


async def get(world: World, request: Request) -> Reply:
    """Answer one model."""
    return json_reply(model_page(world, _find(world, request)))


async def update(world: World, request: Request) -> Reply:
    """Change what a model's page says."""
    model = _own(world, request)
    body = body_of(request)
    check_plain(_UPDATE, body)
    for name in _UPDATE.properties:
        if name in body:
            setattr(model, name, body[name])
    return json_reply(model_page(world, model))


async def delete(world: World, request: Request) -> Reply:
    """Delete a private model of the account that has no versions."""
    model = _own(world, request)
    if model.visibility != "private":
        raise Refused(problem(400, "Only private models can be deleted.", "Bad Request"))
    if model.versions:
        detail = "The model has versions; delete them before the model."
        raise Refused(problem(400, detail, "Bad Request"))
    world.catalogue.remove(model)
    return Reply(204)


async def examples(world: World, request: Request) -> Reply:
    """Answer a model's example predictions."""
    shown = example(world, _find(world, request))
    return page_of([] if shown is None else [shown])


async def readme(world: World, request: Request) -> Reply:
    """Answer a model's page as Markdown."""
    model = _find(world, request)
    if model.readme is None:
        raise not_found("README not found")
    return Reply(200, model.readme.encode(), [("content-type", "text/plain; charset=utf-8")])


async def versions(world: World, request: Request) -> Reply:
    """Answer a model's versions, newest first."""
    model = _find(world, request)
    oldest_first = list(enumerate(reversed(model.versions)))
    return list_reply(
        world,
        request,
        oldest_first,
        lambda pair: pair[0],
        lambda pair: version_page(pair[1]),
    )


async def version(world: World, request: Request) -> Reply:
    """Answer one version."""
    return json_reply(version_page(_find_version(_find(world, request), request)))


async def delete_version(world: World, request: Request) -> Reply:
    """Delete a version of a private model of the account that nothing depends on."""
    model = _own(world, request)
    doomed = _find_version(model, request)
    if model.visibility != "private":
        detail = "Only versions of private models can be deleted."
        raise Refused(problem(400, detail, "Bad Request"))
    if any(deployment.version == doomed.id for deployment in world.deployments.values()):
        detail = "The version has an associated deployment."
        raise Refused(problem(400, detail, "Bad Request"))
    world.catalogue.remove_version(model, doomed)
    return Reply(202)
