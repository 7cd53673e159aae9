"""The state of one simulated account, and the questions that every origin asks of it."""

import asyncio
import hashlib
import hmac
import logging
import threading
from collections import OrderedDict
from collections.abc import Coroutine
from dataclasses import dataclass, replace

import orjson

from gateway.simulator.addresses import Addresses
from gateway.simulator.catalogue import Catalogue, Version, version_id
from gateway.simulator.config import ADDRESS_FIELDS, SimulatorConfig
from gateway.simulator.documents import prediction_document, training_document
from gateway.simulator.faults import Faults
from gateway.simulator.lifecycle import ROUNDING_S, Moment, Prediction, moment, next_change
from gateway.simulator.limits import SlidingWindow
from gateway.simulator.log import RequestLog
from gateway.simulator.predictions import PredictionStore
from gateway.simulator.renderings import Renderings
from gateway.simulator.scripts import FetchedInput, Job, Script
from gateway.simulator.shelf import FLUX_SCHNELL_LORA, LORA_VERSION, stock
from gateway.simulator.uploads import UploadStore
from gateway.simulator.waiting import SteerableClock, first_of
from gateway.simulator.wire import ClientGone, JsonObject, Request

_KEEP_SCRIPTS = 1024
_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class Deployment:
    """A model version that the account keeps running under a name of its own."""

    name: str
    number: int
    model: str
    version: str
    hardware: str
    min_instances: int
    max_instances: int
    released_at: float
    release: int = 1
    last_used_at: float | None = None


class World:
    """Everything that the simulated service knows. Belongs to one event loop."""

    def __init__(self, config: SimulatorConfig, clock: SteerableClock) -> None:
        self.config = config
        self.clock = clock
        self.addresses = Addresses(clock.secret(32))
        self.webhook_key = clock.secret(24)
        self.catalogue = Catalogue(config.username)
        self.predictions = PredictionStore()
        self.trainings = PredictionStore()
        self.deployments: dict[str, Deployment] = {}
        self.uploads = UploadStore()
        self.renderings = Renderings()
        self.log = RequestLog(config.keep_log_entries)
        self.faults = Faults()
        self.creates = SlidingWindow()
        self.reads = SlidingWindow()
        self._lock = threading.RLock()
        """Held where other threads may ask too."""
        self._scripts: OrderedDict[tuple[str, bool], Script] = OrderedDict()
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._jobs: set[asyncio.Task[None]] = set()
        self._numbers = 0
        self._pushed: dict[str, str] = {}
        self.unsettled_trainings: list[Prediction] = []

    def furnish(self) -> None:
        """Fill the shelves, once the addresses are known."""
        self.catalogue = stock(self.config.username, self.addresses.delivery)
        lora = (FLUX_SCHNELL_LORA, LORA_VERSION)
        image = self.catalogue.named("simulated/image-to-image")
        self.add_deployment("flux-fast", *lora, "gpu-h100", 1, 4)
        if image is not None:
            self.add_deployment("restyle", image.full_name, image.versions[0].id, "gpu-t4", 0, 2)

    def configure(self, **changes: object) -> SimulatorConfig:
        """Change dials while it runs. Raises ValueError for those that are fixed, TypeError."""
        fixed = ADDRESS_FIELDS & changes.keys()
        if fixed:
            raise ValueError(f"cannot be changed any more: {', '.join(sorted(fixed))}")
        self.config = replace(self.config, **changes)  # type: ignore[arg-type]  # checked by name
        return self.config

    # --- time -----------------------------------------------------------------------------

    def now(self) -> float:
        """Return the simulation's time."""
        return self.clock.now()

    def moment(self, prediction: Prediction) -> Moment:
        """Return where a prediction stands now."""
        return moment(prediction, self.now(), self.config.output_ttl_s)

    async def ended(self, prediction: Prediction, within_s: float, request: Request) -> bool:
        """Wait for a prediction's end; False if it takes longer. Raises ClientGone."""
        until = self.now() + within_s
        while not self.moment(prediction).terminal:
            now = self.now()
            if until - now <= ROUNDING_S:
                return False
            await self.change(prediction, min(until, next_change(prediction, now)) - now, request)
        return True

    async def change(self, prediction: Prediction, within_s: float, request: Request) -> None:
        """Wait until something happens to a prediction or time has passed. Raises ClientGone."""
        event = asyncio.Event()
        self._waiting.setdefault(prediction.id, set()).add(event)
        try:
            first = await first_of(self.clock.sleep(within_s), event.wait(), request.hung_up())
        finally:
            events = self._waiting.get(prediction.id, set())
            events.discard(event)
            if not events:
                self._waiting.pop(prediction.id, None)
        if first == 2:
            raise ClientGone

    def announce(self, prediction: Prediction) -> None:
        """Wake those who wait for a change of a prediction."""
        for event in self._waiting.get(prediction.id, set()):
            event.set()

    def cancel(self, prediction: Prediction) -> None:
        """Cancel a prediction; one that has ended stays as it is."""
        if not self.moment(prediction).terminal:
            prediction.canceled_at = self.now()
            self.announce(prediction)

    # --- jobs -----------------------------------------------------------------------------

    def start_job(self, job: Coroutine[None, None, None], name: str) -> None:
        """Run something beside the requests until it ends or the simulation does."""
        task = asyncio.get_running_loop().create_task(job, name=name)
        self._jobs.add(task)
        task.add_done_callback(self._job_ended)

    def _job_ended(self, task: asyncio.Task[None]) -> None:
        self._jobs.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOG.error("the simulated job %s broke", task.get_name(), exc_info=error)

    async def close(self) -> None:
        """End the jobs and delete the uploads."""
        jobs = list(self._jobs)
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        self.uploads.close()

    # --- predictions ----------------------------------------------------------------------

    def find(self, wanted: str) -> Prediction | None:
        """Return a prediction or training by id, once it is visible."""
        found = self.predictions.get(wanted) or self.trainings.get(wanted)
        if found is None or self.now() < found.created_at + self.config.visible_after_s:
            return None
        return found

    def job(self, prediction: Prediction, given: JsonObject | None = None) -> Job:
        """Return what the model of a prediction is given."""
        return Job(
            id=prediction.id,
            input=orjson.loads(prediction.input_json) if given is None else given,
            file_url=lambda name: self.addresses.output(prediction.id, name),
            model=prediction.model,
            fetched=prediction.fetched,
        )

    def script(self, prediction: Prediction) -> Script:
        """Return a prediction's script; it is made again when it was dropped from memory."""
        key = (prediction.id, prediction.fetched is None)
        with self._lock:
            script = self._scripts.get(key)
            if script is None:
                script = prediction.program.script(self.job(prediction))
                self._scripts[key] = script
                if len(self._scripts) > _KEEP_SCRIPTS:
                    self._scripts.popitem(last=False)
        return script

    def fetched(self, prediction: Prediction, outcome: FetchedInput) -> None:
        """Note how a model fared with fetching its input."""
        prediction.fetched = outcome
        script = self.script(prediction)
        prediction.fails = script.error is not None
        prediction.metrics = dict(script.metrics)
        prediction.fetched_at = self.now()
        self.announce(prediction)

    def document(self, prediction: Prediction) -> JsonObject:
        """Return a prediction or training as `predictions.get` answers it now."""
        if prediction.destination is not None:
            return self.training_document(prediction)
        return prediction_document(
            prediction,
            self.moment(prediction),
            self.script(prediction),
            self.addresses,
            lean_fresh=self.config.lean_fresh,
        )

    def training_document(self, training: Prediction) -> JsonObject:
        """Return a training as `trainings.get` answers it now."""
        self.settle_trainings()
        return training_document(
            training,
            self.moment(training),
            self.script(training),
            self.addresses,
            self._pushed.get(training.id),
        )

    def settle_trainings(self) -> None:
        """Push the versions of trainings that have succeeded since this was last asked."""
        if not self.unsettled_trainings:
            return
        with self._lock:
            running: list[Prediction] = []
            for training in self.unsettled_trainings:
                reached = self.moment(training)
                if not reached.terminal:
                    running.append(training)
                elif reached.status == "succeeded":
                    self._push(training)
            self.unsettled_trainings = running

    def _push(self, training: Prediction) -> None:
        model = self.catalogue.named(training.destination or "")
        trained = self.catalogue.by_version(training.shown_version)
        if model is None or trained is None:
            return
        version = Version(version_id(training.id), trained[1].program, training.ends_at)
        self.catalogue.add_version(model, version)
        self._pushed[training.id] = f"{model.full_name}:{version.id}"

    # --- deployments and the account --------------------------------------------------------

    def next_number(self) -> int:
        """Return a number for things that are listed by age."""
        self._numbers += 1
        return self._numbers

    def add_deployment(
        self, name: str, model: str, version: str, hardware: str, low: int, high: int
    ) -> Deployment:
        """Create a deployment of the account."""
        deployment = Deployment(
            name, self.next_number(), model, version, hardware, low, high, self.now()
        )
        self.deployments[name] = deployment
        return deployment

    def knows_token(self, authorization: str | None) -> bool:
        """Return whether these credentials are the account's."""
        scheme, _, token = (authorization or "").partition(" ")
        right = hmac.compare_digest(token.strip().encode(), self.config.token.encode())
        return right and scheme.lower() in ("bearer", "token")

    def cookie(self) -> str:
        """Return what answers set, as a content delivery network does."""
        text = hashlib.sha256(f"{self.addresses.api}".encode()).hexdigest()[:32]
        return f"__cf_bm={text}; path=/; HttpOnly; SameSite=None"
