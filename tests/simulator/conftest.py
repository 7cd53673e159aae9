"""A simulator with a clock moved by hand, and clients of its origins."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any, TypeVar

import httpx
import pytest

from gateway.simulator import Simulator, SimulatorConfig
from tests.support.clock import ManualClock

T = TypeVar("T")
_MOST_TURNS = 2000


class Api:
    """Talks to a simulator as an HTTP client does, and moves its clock."""

    def __init__(self, simulator: Simulator, clock: ManualClock, client: httpx.AsyncClient) -> None:
        self.simulator = simulator
        self.clock = clock
        self.client = client

    async def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.simulator.token}", **more.pop("headers", {})}
        url = path if "://" in path else f"{self.simulator.api_url}/v1{path}"
        return await self.client.request(method, url, headers=headers, **more)

    async def get(self, path: str, **more: Any) -> httpx.Response:
        return await self.request("GET", path, **more)

    async def post(self, path: str, **more: Any) -> httpx.Response:
        return await self.request("POST", path, **more)

    async def plain(self, url: str, **more: Any) -> httpx.Response:
        """Read an address without a token."""
        return await self.client.get(url, **more)

    async def create(self, model: str, given: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Create a prediction of an official model, or by version if the name has no slash."""
        if "/" in model:
            answer = await self.post(f"/models/{model}/predictions", json={"input": given}, **more)
        else:
            body = {"version": model, "input": given}
            answer = await self.post("/predictions", json=body, **more)
        assert answer.status_code == 201, answer.text
        document: dict[str, Any] = answer.json()
        return document

    async def read(self, document: dict[str, Any]) -> dict[str, Any]:
        answer = await self.get(document["urls"]["get"])
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def finished(
        self, model: str, given: dict[str, Any], seconds: float = 60.0
    ) -> dict[str, Any]:
        """Create a prediction, let time pass, and read it."""
        document = await self.create(model, given)
        self.clock.advance(seconds)
        return await self.read(document)

    async def passing(self, awaitable: Awaitable[T], step: float = 0.1) -> T:
        """Await something while time passes by itself."""
        task = asyncio.ensure_future(awaitable)
        for _ in range(_MOST_TURNS):
            await asyncio.wait([task], timeout=0.002)
            if task.done():
                return task.result()
            self.clock.advance(step)
        task.cancel()
        raise AssertionError("it never came to an end")

    async def until(self, wanted: Any) -> None:
        """Wait (on the machine's clock, not the simulation's) until something is so."""
        for _ in range(_MOST_TURNS):
            if wanted():
                return
            await asyncio.sleep(0.002)
        raise AssertionError("it never became so")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def config() -> SimulatorConfig:
    return SimulatorConfig()


@pytest.fixture
async def simulator(clock: ManualClock, config: SimulatorConfig) -> AsyncIterator[Simulator]:
    async with Simulator(config, clock) as running:
        yield running


@pytest.fixture
async def api(simulator: Simulator, clock: ManualClock) -> AsyncIterator[Api]:
    # Plain HTTP to loopback: reading the trust store would take longer than most tests.
    async with httpx.AsyncClient(timeout=20, verify=False) as client:  # noqa: S501 - as said above
        yield Api(simulator, clock, client)
