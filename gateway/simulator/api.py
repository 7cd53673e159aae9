"""The API origin: token, allowance, operation, answer."""

from collections.abc import Awaitable, Callable, Mapping

from gateway.simulator import (
    account_routes,
    deployment_routes,
    file_routes,
    model_routes,
    prediction_routes,
    training_routes,
)
from gateway.simulator.breaking import throttled, unauthenticated
from gateway.simulator.creation import not_found
from gateway.simulator.faults import Fault
from gateway.simulator.limits import Allowance
from gateway.simulator.log import LoggedRequest
from gateway.simulator.operations import BY_NAME, Counted, Operation, find_operation
from gateway.simulator.wire import Reply, Request
from gateway.simulator.world import World

Handler = Callable[[World, Request], Awaitable[Reply]]
_LOW_CREDIT_PER_MINUTE = 6
_LOW_CREDIT_PER_SECOND = 1

_STREAM_BODIES = frozenset(name for name, operation in BY_NAME.items() if operation.streams_body)

HANDLERS: Mapping[str, Handler] = {
    "account.get": account_routes.account,
    "collections.list": account_routes.collections,
    "collections.get": account_routes.collection,
    "deployments.list": deployment_routes.list_all,
    "deployments.create": deployment_routes.create,
    "deployments.get": deployment_routes.get,
    "deployments.update": deployment_routes.update,
    "deployments.delete": deployment_routes.delete,
    "deployments.predictions.create": prediction_routes.create_by_deployment,
    "files.list": file_routes.list_all,
    "files.create": file_routes.create,
    "files.get": file_routes.get,
    "files.delete": file_routes.delete,
    "files.download": file_routes.download,
    "hardware.list": account_routes.hardware,
    "models.list": model_routes.list_all,
    "models.create": model_routes.create,
    "models.search": model_routes.search,
    "models.get": model_routes.get,
    "models.update": model_routes.update,
    "models.delete": model_routes.delete,
    "models.examples.list": model_routes.examples,
    "models.predictions.create": prediction_routes.create_by_model,
    "models.readme.get": model_routes.readme,
    "models.versions.list": model_routes.versions,
    "models.versions.get": model_routes.version,
    "models.versions.delete": model_routes.delete_version,
    "trainings.create": training_routes.create,
    "predictions.list": prediction_routes.list_all,
    "predictions.create": prediction_routes.create,
    "predictions.get": prediction_routes.get,
    "predictions.cancel": prediction_routes.cancel,
    "search": account_routes.search,
    "trainings.list": training_routes.list_all,
    "trainings.get": training_routes.get,
    "trainings.cancel": training_routes.cancel,
    "webhooks.default.secret.get": account_routes.webhook_secret,
}


class Api:
    """Answers of the API."""

    name = "api"

    def __init__(self, world: World) -> None:
        self._world = world

    def operation(self, request: Request) -> str:
        """Return the operation's name, empty for a path that the API does not have."""
        found = find_operation(request.method, request.path)
        if found is None:
            return ""
        operation, request.params = found
        return operation.name

    def reads_body(self, entry: LoggedRequest) -> bool:
        """Return whether this is an upload."""
        return entry.operation in _STREAM_BODIES

    async def answer(self, request: Request, entry: LoggedRequest, _fault: Fault | None) -> Reply:
        """Check token and allowance, then do the operation."""
        operation = BY_NAME.get(entry.operation)
        if operation is None:
            raise not_found()
        if operation.needs_token and not self._world.knows_token(request.header("authorization")):
            return unauthenticated()
        allowance = self._take(operation)
        if allowance is not None and not allowance.admitted:
            reply = throttled(allowance.reset_s, allowance.retry_after_s)
        else:
            reply = await HANDLERS[operation.name](self._world, request)
        if allowance is not None:
            reply.set("ratelimit-remaining", str(allowance.remaining))
            reply.set("ratelimit-reset", str(allowance.reset_s))
        return reply

    def _take(self, operation: Operation) -> Allowance | None:
        world = self._world
        config = world.config
        if operation.counted is Counted.FREE or not config.enforce_rate_limits:
            return None
        if operation.counted is Counted.OTHER:
            return world.reads.take(world.now(), config.requests_per_minute)
        if config.low_credit:
            return world.creates.take(world.now(), _LOW_CREDIT_PER_MINUTE, _LOW_CREDIT_PER_SECOND)
        return world.creates.take(world.now(), config.creates_per_minute)

    def finish(self, request: Request, reply: Reply) -> None:
        """Add the headers of a content delivery network, and compress if that is wanted."""
        reply.set("vary", "accept-encoding")
        reply.set("set-cookie", self._world.cookie())
        reply.set("server", "cloudflare")
        reply.set("cf-cache-status", "DYNAMIC")
        if "gzip" in (request.header("accept-encoding") or ""):
            reply.compress()
