"""Operations on deployments."""

from gateway.simulator.creation import Refused, not_found
from gateway.simulator.documents import iso_micros
from gateway.simulator.listing import list_reply
from gateway.simulator.model_routes import SKUS, check_plain
from gateway.simulator.prediction_routes import body_of
from gateway.simulator.schemas import InputSchema, choice, integer, string
from gateway.simulator.wire import JsonObject, Reply, Request, json_reply, problem
from gateway.simulator.world import Deployment, World

_IDLE_S = 900.0
_SCALING = {
    "version": string("What it runs"),
    "hardware": choice("What it runs on", "cpu", SKUS),
    "min_instances": integer("At least so many", 0, minimum=0, maximum=5),
    "max_instances": integer("At most so many", 1, minimum=0, maximum=20),
}
_CREATE = InputSchema(
    {"name": string("Its name"), "model": string("What it runs"), **_SCALING},
    required=("name", "model", "version", "hardware", "min_instances", "max_instances"),
)
_UPDATE = InputSchema(_SCALING)


def account_page(world: World) -> JsonObject:
    """Return what `account.get` answers."""
    name = world.config.username
    return {
        "type": "organization",
        "username": name,
        "name": f"{name.title()} Corp, Inc.",
        "avatar_url": f"https://cdn.replicate.com/avatars/{name}.png",
        "github_url": f"https://github.com/{name}",
    }


def _page(world: World, deployment: Deployment) -> JsonObject:
    return {
        "owner": world.config.username,
        "name": deployment.name,
        "current_release": {
            "number": deployment.release,
            "model": deployment.model,
            "version": deployment.version,
            "created_at": iso_micros(deployment.released_at),
            "created_by": account_page(world),
            "configuration": {
                "hardware": deployment.hardware,
                "min_instances": deployment.min_instances,
                "max_instances": deployment.max_instances,
            },
        },
    }


def _find(world: World, request: Request) -> Deployment:
    deployment = world.deployments.get(request.params["name"])
    if deployment is None or request.params["owner"] != world.config.username:
        raise not_found()
    return deployment


def _check_version(world: World, version: str, model: str) -> None:
    found = world.catalogue.by_version(version)
    if found is None or found[0].full_name != model:
        raise Refused(problem(404, "The specified model version does not exist", newline=True))


async def list_all(world: World, request: Request) -> Reply:
    """Answer a page of deployments, newest first."""
    return list_reply(
        world,
        request,
        sorted(world.deployments.values(), key=lambda deployment: deployment.number),
        lambda deployment: deployment.number,
        lambda deployment: _page(world, deployment),
    )


async def create(world: World, request: Request) -> Reply:
    """Make a deployment."""
    body = body_of(request)
    check_plain(_CREATE, body)
    name, model, version = str(body["name"]), str(body["model"]), str(body["version"])
    world.settle_trainings()
    _check_version(world, version, model)
    if name in world.deployments:
        detail = "A deployment with that name already exists"
        raise Refused(problem(409, detail, "Deployment already exists"))
    low, high = body["min_instances"], body["max_instances"]
    deployment = world.add_deployment(
        name,
        model,
        version,
        str(body["hardware"]),
        low if isinstance(low, int) else 0,
        high if isinstance(high, int) else 1,
    )
    return json_reply(_page(world, deployment))


async def get(world: World, request: Request) -> Reply:
    """Answer a deployment."""
    return json_reply(_page(world, _find(world, request)))


async def update(world: World, request: Request) -> Reply:
    """Change a deployment: a new release."""
    deployment = _find(world, request)
    body = body_of(request)
    check_plain(_UPDATE, body)
    if "version" in body:
        _check_version(world, str(body["version"]), deployment.model)
    for name in _UPDATE.properties:
        if name in body:
            setattr(deployment, name, body[name])
    deployment.release += 1
    deployment.released_at = world.now()
    return json_reply(_page(world, deployment))


async def delete(world: World, request: Request) -> Reply:
    """Delete a deployment that has not been used for a quarter of an hour."""
    deployment = _find(world, request)
    used = deployment.last_used_at
    if used is not None and world.now() - used < _IDLE_S:
        detail = "Deployments must be offline and unused for at least 15 minutes to be deleted."
        raise Refused(problem(400, detail, "Bad Request"))
    del world.deployments[deployment.name]
    return Reply(204)
