"""The output origin: the files that predictions leave behind, and the pictures of model pages."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.utils import formatdate
from functools import partial

from gateway.simulator.blobs import PIECE_BYTES, read_blob
from gateway.simulator.faults import Fault
from gateway.simulator.file_reading import UnsatisfiableRange, parse_range
from gateway.simulator.log import LoggedRequest
from gateway.simulator.pictures import MEDIA_TYPES, Card, draw_card
from gateway.simulator.scripts import OutputFile
from gateway.simulator.wire import Reply, Request
from gateway.simulator.world import World

_PUBLIC_FOLDERS = ("/models_models_featured_image/", "/pbxt/examples/")


@dataclass(frozen=True, slots=True)
class Delivered:
    """A file that is there to be sent."""

    seed: str
    media_type: str
    size: int
    etag: str
    content: bytes | None
    """None for a large one, whose bytes follow from the seed."""
    made_at: float
    pace: float = 0.0


class Delivery:
    """Answers of the output origin."""

    name = "delivery"

    def __init__(self, world: World) -> None:
        self._world = world

    def operation(self, request: Request) -> str:
        """Return `delivery.get` or `delivery.head`."""
        return f"delivery.{request.method.lower()}"

    def reads_body(self, _entry: LoggedRequest) -> bool:
        """Return False."""
        return False

    async def answer(self, request: Request, _entry: LoggedRequest, _fault: Fault | None) -> Reply:
        """Send a file, or the range of it that is wanted."""
        if request.method not in ("GET", "HEAD"):
            return Reply(405, b"Method Not Allowed", [("allow", "GET, HEAD")])
        file = await self._find(request.path)
        if file is None:
            return Reply(404, b"Not Found", [("content-type", "text/plain")])
        headers = [
            ("content-type", file.media_type),
            ("etag", file.etag),
            ("accept-ranges", "bytes"),
            ("cache-control", "public, max-age=3600"),
            ("last-modified", formatdate(file.made_at, usegmt=True)),
        ]
        if file.etag in (request.header("if-none-match") or ""):
            return Reply(304, headers=headers)
        wanted = None
        if request.header("if-range") in (None, file.etag):
            try:
                wanted = parse_range(request.header("range"), file.size)
            except UnsatisfiableRange:
                headers[0] = ("content-range", f"bytes */{file.size}")
                return Reply(416, headers=headers)
        if wanted is None:
            return self._send(200, file, headers, 0, file.size)
        start, stop = wanted
        headers.append(("content-range", f"bytes {start}-{stop - 1}/{file.size}"))
        return self._send(206, file, headers, start, stop)

    def _send(
        self,
        status: int,
        file: Delivered,
        headers: list[tuple[str, str]],
        start: int,
        stop: int,
    ) -> Reply:
        pace = file.pace or self._world.config.trickle_bytes_per_s
        if file.content is not None and not pace:
            return Reply(status, file.content[start:stop], headers)
        pieces = self._pieces(file, start, stop, pace)
        return Reply(status, headers=headers, pieces=pieces, length=stop - start)

    async def _pieces(
        self, file: Delivered, start: int, stop: int, pace: float
    ) -> AsyncIterator[bytes]:
        step = max(1, min(PIECE_BYTES, int(pace / 10))) if pace else PIECE_BYTES
        for begin in range(start, stop, step):
            end = min(stop, begin + step)
            if file.content is not None:
                yield file.content[begin:end]
            else:
                yield b"".join(read_blob(file.seed, begin, end))
            if pace and end < stop:
                await self._world.clock.sleep((end - begin) / pace)

    async def _find(self, path: str) -> Delivered | None:
        if path.startswith(_PUBLIC_FOLDERS) and path.endswith(".webp"):
            name = path.split("/")[-2]
            card = Card(name, "replicate.com", 512, 512, "webp", seed=name)
            file = OutputFile(path, MEDIA_TYPES["webp"], partial(draw_card, card))
            return await self._deliver(path, file, 0.0)
        found = self._world.addresses.read_output(path)
        if found is None:
            return None
        prediction = self._world.predictions.get(found[0]) or self._world.trainings.get(found[0])
        if prediction is None:
            return None
        reached = self._world.moment(prediction)
        if reached.status != "succeeded" or reached.removed or reached.completed_at is None:
            return None
        files = self._world.script(prediction).files
        for output in files:
            if output.name == found[1]:
                key = f"{prediction.id}/{output.name}"
                return await self._deliver(key, output, reached.completed_at)
        return None

    async def _deliver(self, key: str, file: OutputFile, made_at: float) -> Delivered:
        if file.render is None:
            size = file.random_size or 0
            mark = hashlib.md5(f"{key}/{size}".encode(), usedforsecurity=False).hexdigest()
            return Delivered(
                key, file.media_type, size, f'"{mark}"', None, made_at, file.trickle_bytes_per_s
            )
        made = await self._world.renderings.get(key, file)
        size = len(made.content)
        return Delivered(key, file.media_type, size, f'"{made.md5}"', made.content, made_at)

    def finish(self, _request: Request, reply: Reply) -> None:
        """Add the headers of a content delivery network."""
        reply.set("server", "cloudflare")
        reply.set("set-cookie", self._world.cookie())
