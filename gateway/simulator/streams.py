"""The stream origin: predictions as server-sent events, from any event on."""

from collections.abc import AsyncIterator

import orjson

from gateway.simulator.faults import Fault, FaultKind
from gateway.simulator.lifecycle import Moment, Prediction, next_change, shown_s
from gateway.simulator.log import LoggedRequest
from gateway.simulator.wire import BrokenOff, JsonObject, Reply, Request, problem
from gateway.simulator.world import World

HEARTBEAT_S = 15.0


def event(name: str, event_id: str, data: str) -> bytes:
    """Return one event as it goes over the wire; data of several lines takes several fields."""
    lines = "".join(f"data: {line}\n" for line in data.split("\n"))
    return f"event: {name}\nid: {event_id}\n{lines}\n".encode()


class Streams:
    """Answers of the stream origin."""

    name = "streams"

    def __init__(self, world: World) -> None:
        self._world = world

    def operation(self, _request: Request) -> str:
        """Return `streams.read`."""
        return "streams.read"

    def reads_body(self, _entry: LoggedRequest) -> bool:
        """Return False."""
        return False

    async def answer(self, request: Request, _entry: LoggedRequest, fault: Fault | None) -> Reply:
        """Follow a prediction."""
        if request.method != "GET":
            return Reply(405, b"Method Not Allowed", [("allow", "GET")])
        wanted = self._world.addresses.read_stream(request.path)
        prediction = self._world.predictions.get(wanted) if wanted is not None else None
        if prediction is None or self._world.moment(prediction).removed:
            return problem(404, "Stream not found")
        events = self._events(prediction, request)
        if fault is not None and fault.kind == FaultKind.STREAM_CUT:
            events = _cut(events, fault.after_events)
        headers = [("content-type", "text/event-stream"), ("cache-control", "no-store")]
        return Reply(200, headers=headers, pieces=events)

    def finish(self, _request: Request, reply: Reply) -> None:
        """Add the headers of a content delivery network."""
        reply.set("server", "cloudflare")
        reply.set("set-cookie", self._world.cookie())

    async def _events(self, prediction: Prediction, request: Request) -> AsyncIterator[bytes]:
        """Yield the events after the reader's last one, as they happen."""
        world = self._world
        prefix = str(int(prediction.created_at))
        sent = _position(prefix, request.header("last-event-id"))
        number = 0
        while True:
            reached = world.moment(prediction)
            steps = world.script(prediction).steps
            so_far_s = shown_s(prediction, reached)
            started = reached.started_at is not None
            while started and number < len(steps) and steps[number].at_s <= so_far_s:
                step = steps[number]
                number += 1
                if number > sent:
                    yield event(step.kind, f"{prefix}:{number}", step.data)
            if reached.terminal:
                break
            now = world.now()
            due = next_change(prediction, now)
            if number < len(steps):
                due = min(due, prediction.starts_at + steps[number].at_s * prediction.pace)
            left_s = max(due - now, 1e-4)
            await world.change(prediction, min(left_s, HEARTBEAT_S), request)
            if left_s > HEARTBEAT_S:
                yield b": still here\n\n"
        for position, (name, data) in enumerate(self._ending(prediction, reached), len(steps) + 1):
            if position > sent or name == "done":
                yield event(name, f"{prefix}:{position}", orjson.dumps(data).decode())

    def _ending(self, prediction: Prediction, reached: Moment) -> list[tuple[str, JsonObject]]:
        if reached.status == "succeeded":
            return [("done", {})]
        if reached.status == "failed":
            error = self._world.script(prediction).error
            return [("error", {"detail": error}), ("done", {"reason": "error"})]
        return [("done", {"reason": "canceled"})]


def _position(prefix: str, last_event_id: str | None) -> int:
    """Return how many events a reader has had; one that is not of this stream had none."""
    head, _, number = (last_event_id or "").partition(":")
    return int(number) if head == prefix and number.isdigit() else 0


async def _cut(events: AsyncIterator[bytes], after: int) -> AsyncIterator[bytes]:
    left = after
    async for piece in events:
        if left <= 0:
            raise BrokenOff
        left -= 1
        yield piece
    raise BrokenOff
