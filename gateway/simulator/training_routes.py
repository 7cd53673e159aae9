"""Operations on trainings."""

from gateway.simulator.creation import (
    Refused,
    Runnable,
    check_body,
    check_webhook,
    make,
    not_found,
    version_refused,
)
from gateway.simulator.documents import list_item
from gateway.simulator.lifecycle import Prediction
from gateway.simulator.listing import list_reply
from gateway.simulator.prediction_routes import body_of, no_credit
from gateway.simulator.wire import Reply, Request, json_reply, problem
from gateway.simulator.world import World


async def create(world: World, request: Request) -> Reply:
    """Start a training of a version."""
    world.settle_trainings()
    model = world.catalogue.find(request.params["owner"], request.params["name"])
    version = model.version(request.params["version"]) if model is not None else None
    if model is None or version is None:
        raise not_found()
    body = body_of(request)
    given = check_body(body, "destination")
    check_webhook(body)
    if version.trainer is None:
        raise version_refused()
    destination = world.catalogue.named(str(body["destination"]))
    if destination is None or destination.owner != world.config.username:
        raise Refused(problem(404, "The specified training destination does not exist"))
    if world.config.out_of_credit:
        raise Refused(no_credit())
    runnable = Runnable(
        model, version.trainer, model.full_name, version.id, destination=destination.full_name
    )
    training = make(world, runnable, given, body)
    return json_reply(world.training_document(training), 201)


def _find(world: World, request: Request) -> Prediction:
    training = world.find(request.params["id"])
    if training is None or training.destination is None:
        raise not_found()
    return training


async def get(world: World, request: Request) -> Reply:
    """Answer a training."""
    return json_reply(world.training_document(_find(world, request)))


async def cancel(world: World, request: Request) -> Reply:
    """Cancel a training and answer it."""
    training = _find(world, request)
    world.cancel(training)
    return json_reply(world.training_document(training))


async def list_all(world: World, request: Request) -> Reply:
    """Answer a page of trainings, newest first."""
    return list_reply(
        world,
        request,
        world.trainings.in_order(),
        lambda training: training.number,
        lambda training: list_item(world.training_document(training), lean=world.config.lean_lists),
        lambda training: not training.forgotten,
    )
