"""The simulated service as one object: its origins, its log, its faults, its dials."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Self

from gateway.clock import Clock
from gateway.simulator.api import Api
from gateway.simulator.config import ADDRESS_FIELDS, SimulatorConfig
from gateway.simulator.control import Control
from gateway.simulator.creation import make, resolve_version
from gateway.simulator.delivery import Delivery
from gateway.simulator.documents import metrics
from gateway.simulator.faults import Faults
from gateway.simulator.lifecycle import Prediction
from gateway.simulator.log import RequestLog
from gateway.simulator.origin import Origin
from gateway.simulator.server import BoundOrigin
from gateway.simulator.streams import Streams
from gateway.simulator.waiting import SteerableClock
from gateway.simulator.wire import Json, JsonObject
from gateway.simulator.world import World

ORIGINS = ("api", "delivery", "streams", "control")


@dataclass(frozen=True, slots=True)
class Usage:
    """What one prediction used, by the service's own books."""

    id: str
    model: str
    """As asked for."""
    status: str
    created_at: float
    predict_time: float
    images: int
    input_tokens: int
    output_tokens: int
    deployment: str | None
    training: bool

    def as_json(self) -> JsonObject:
        """Return this row for the control origin."""
        return dict(asdict(self))


@dataclass(frozen=True, slots=True)
class UsageTotals:
    """Sums over all predictions and trainings."""

    predictions: int
    predict_time: float
    images: int
    input_tokens: int
    output_tokens: int
    by_status: dict[str, int]
    by_model: dict[str, int]


class Simulator:
    """A simulated Replicate on real sockets, in the running event loop.

    An asynchronous context manager. Log, faults, dials and state may be used from any thread;
    `stop_origin` and `start_origin` are coroutines of the simulator's own loop (`loop`).
    """

    def __init__(self, config: SimulatorConfig, clock: Clock) -> None:
        self._clock = SteerableClock(clock)
        self._world = World(config, self._clock)
        self._bound: dict[str, BoundOrigin] = {}
        self._stack = AsyncExitStack()
        self.loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> Self:
        """Bind the origins. Raises OSError if a port is taken."""
        config, world = self._world.config, self._world
        self.loop = asyncio.get_running_loop()
        apps: dict[str, tuple[object, int]] = {
            "api": (Origin(world, Api(world)), config.api_port),
            "delivery": (Origin(world, Delivery(world)), config.delivery_port),
            "streams": (Origin(world, Streams(world)), config.stream_port),
            "control": (Control(self), config.control_port),
        }
        async with AsyncExitStack() as stack:
            stack.push_async_callback(world.close)
            for name, (app, port) in apps.items():
                tls = (config.tls_cert_file, config.tls_key_file)
                cert_file, key_file = tls if name != "control" else (None, None)
                bound = BoundOrigin(app, config.host, port, cert_file, key_file)
                stack.push_async_callback(bound.stop)
                await bound.start()
                self._bound[name] = bound
            addresses = world.addresses
            addresses.api = self._url("api", config.scheme)
            addresses.delivery = self._url("delivery", config.scheme)
            addresses.streams = self._url("streams", config.scheme)
            addresses.control = self._url("control", "http")
            world.furnish()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close everything; connections that are open are broken."""
        await self._stack.aclose()

    def _url(self, name: str, scheme: str) -> str:
        host = self._world.config.host
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self._bound[name].port}"

    # --- addresses ------------------------------------------------------------------------

    @property
    def api_url(self) -> str:
        """Return the API's origin, without `/v1`."""
        return self._world.addresses.api

    @property
    def delivery_origin(self) -> str:
        """Return the origin of output files."""
        return self._world.addresses.delivery

    @property
    def stream_origin(self) -> str:
        """Return the origin of server-sent events."""
        return self._world.addresses.streams

    @property
    def control_url(self) -> str:
        """Return the origin that steers the simulation."""
        return self._world.addresses.control

    @property
    def token(self) -> str:
        """Return the token that is accepted."""
        return self._world.config.token

    def addresses(self) -> JsonObject:
        """Return the four origins and the token, as the process prints them."""
        return {
            "api_url": self.api_url,
            "delivery_origin": self.delivery_origin,
            "stream_origin": self.stream_origin,
            "control_url": self.control_url,
            "token": self.token,
        }

    # --- steering -------------------------------------------------------------------------

    @property
    def log(self) -> RequestLog:
        """Return everything that was received."""
        return self._world.log

    @property
    def faults(self) -> Faults:
        """Return the switches of what goes wrong."""
        return self._world.faults

    @property
    def config(self) -> SimulatorConfig:
        """Return the dials as they are now."""
        return self._world.config

    def config_json(self) -> JsonObject:
        """Return the dials that can be changed."""
        return {
            name: value
            for name, value in asdict(self._world.config).items()
            if name not in ADDRESS_FIELDS
        }

    def configure(self, **changes: object) -> SimulatorConfig:
        """Change dials while it runs. Raises ValueError, TypeError for those there are not."""
        return self._world.configure(**changes)

    def now(self) -> float:
        """Return the simulation's time."""
        return self._clock.now()

    def advance(self, seconds: float) -> None:
        """Push the simulation's time forward."""
        self._clock.advance(seconds)

    def running(self) -> dict[str, bool]:
        """Return which origins accept connections."""
        return {name: bound.running for name, bound in self._bound.items()}

    async def stop_origin(self, name: str) -> None:
        """Let an origin refuse connections: `api`, `delivery` or `streams`."""
        if name not in ORIGINS[:3]:
            raise ValueError(f"no such origin: {name}")
        await self._bound[name].stop()

    async def start_origin(self, name: str) -> None:
        """Put an origin up again, at the same address."""
        if name not in ORIGINS[:3]:
            raise ValueError(f"no such origin: {name}")
        await self._bound[name].start()

    # --- state ----------------------------------------------------------------------------

    def _all(self) -> Iterator[Prediction]:
        yield from list(self._world.predictions.in_order())
        yield from list(self._world.trainings.in_order())

    def _known(self, wanted: str) -> Prediction | None:
        return self._world.predictions.get(wanted) or self._world.trainings.get(wanted)

    def prediction(self, wanted: str) -> JsonObject | None:
        """Return a prediction or training as the API would answer it now."""
        found = self._known(wanted)
        return None if found is None else self._world.document(found)

    def prediction_ids(self) -> list[str]:
        """Return the ids of all predictions, oldest first."""
        return [prediction.id for prediction in list(self._world.predictions.in_order())]

    def documents(self) -> list[JsonObject]:
        """Return all predictions, oldest first, as the API would answer them now."""
        return [
            self._world.document(prediction)
            for prediction in list(self._world.predictions.in_order())
        ]

    def create(self, version: str, given: JsonObject, source: str = "web") -> str:
        """Make a prediction as somebody else on the same account would, and return its id.

        `version` is what `predictions.create` takes. Raises Refused. From the simulator's own
        thread only.
        """
        runnable = resolve_version(self._world, version)
        return make(self._world, runnable, given, {}, source=source).id

    def expire(self, wanted: str) -> bool:
        """Remove a prediction's data now instead of after its hour; False if it is unknown."""
        found = self._known(wanted)
        if found is not None:
            found.expired_at = self.now()
        return found is not None

    def forget(self, wanted: str) -> bool:
        """Let the service no longer know a prediction; False if it did not."""
        found = self._known(wanted)
        if found is not None:
            found.forgotten = True
        return found is not None

    def cancel(self, wanted: str) -> bool:
        """Cancel a prediction as somebody else would; False if it is unknown."""
        found = self._known(wanted)
        if found is None or self.loop is None:
            return False
        self.loop.call_soon_threadsafe(self._world.cancel, found)
        return True

    def webhooks(self) -> dict[str, str]:
        """Return the webhook addresses that arrived with creates, by prediction id."""
        return {found.id: found.webhook for found in self._all() if found.webhook is not None}

    def signed_download(self, file_id: str, seconds: float = 300.0) -> str:
        """Return the address at which an upload can be read without a token."""
        addresses, owner = self._world.addresses, self._world.config.username
        expiry = int(self.now() + seconds)
        signature = addresses.signature(owner, file_id, expiry).replace("+", "%2B")
        signature = signature.replace("/", "%2F").replace("=", "%3D")
        query = f"expiry={expiry}&owner={owner}&signature={signature}"
        return addresses.v1(f"/files/{file_id}/download?{query}")

    def usage(self) -> list[Usage]:
        """Return what every prediction and training has used until now."""
        return [self._usage_of(prediction) for prediction in self._all()]

    def _usage_of(self, prediction: Prediction) -> Usage:
        reached = self._world.moment(prediction)
        measured = metrics(prediction, reached)

        def whole(name: str) -> int:
            value: Json = measured.get(name)
            return value if isinstance(value, int) else 0

        spent: Json = measured.get("predict_time")
        return Usage(
            id=prediction.id,
            model=prediction.model,
            status=reached.status,
            created_at=prediction.created_at,
            predict_time=float(spent) if isinstance(spent, int | float) else 0.0,
            images=whole("image_count"),
            input_tokens=whole("input_token_count"),
            output_tokens=whole("output_token_count"),
            deployment=prediction.deployment,
            training=prediction.destination is not None,
        )

    def usage_totals(self) -> UsageTotals:
        """Return the sums of `usage`."""
        rows = self.usage()
        by_status: dict[str, int] = {}
        by_model: dict[str, int] = {}
        for row in rows:
            by_status[row.status] = by_status.get(row.status, 0) + 1
            by_model[row.model] = by_model.get(row.model, 0) + 1
        return UsageTotals(
            predictions=len(rows),
            predict_time=sum(row.predict_time for row in rows),
            images=sum(row.images for row in rows),
            input_tokens=sum(row.input_tokens for row in rows),
            output_tokens=sum(row.output_tokens for row in rows),
            by_status=by_status,
            by_model=by_model,
        )
