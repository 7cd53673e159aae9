"""What a model does with an input, laid out beforehand.

How long it takes, what it says when, what comes out: everything that a prediction shows at any
moment follows from its script.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from gateway.simulator.schemas import InputSchema
from gateway.simulator.wire import Json, JsonObject

StreamKind = Literal["files", "streams"]


@dataclass(frozen=True, slots=True)
class Step:
    """Something that a running model shows, this many seconds after it started."""

    at_s: float
    kind: Literal["logs", "output"]
    data: str


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A file that a model leaves behind.

    Its bytes are made when first asked for, or are random ones that are never all in memory.
    """

    name: str
    media_type: str
    render: Callable[[], bytes] | None = None
    random_size: int | None = None
    trickle_bytes_per_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Script:
    """A prediction's whole course if nobody interferes. Seconds are at speed 1."""

    queue_s: float
    run_s: float
    result: Json = None
    error: str | None = None
    steps: tuple[Step, ...] = ()
    partial_output: bool = False
    """`output` grows by the output steps while running (text); else it appears at the end."""
    metrics: Mapping[str, Json] = field(default_factory=dict)
    files: tuple[OutputFile, ...] = ()


@dataclass(frozen=True, slots=True)
class FetchedInput:
    """How a model fared with fetching a file: a small picture of it, or what went wrong."""

    error: str | None
    thumbnail: bytes = b""
    size: int = 0
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """What a model is given."""

    id: str
    input: JsonObject
    file_url: Callable[[str], str]
    model: str = ""
    fetched: FetchedInput | None = None

    def share(self, purpose: str) -> float:
        """Return a number in [0, 1) that is always the same for this prediction and purpose."""
        digest = hashlib.blake2b(f"{self.id}/{purpose}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64

    @property
    def seed(self) -> int:
        """Return the seed asked for, or one of the prediction's own."""
        given = self.input.get("seed")
        return given if isinstance(given, int) else int(self.share("seed") * 65536)

    def around(self, seconds: float) -> float:
        """Return a duration within ten percent of this one."""
        return seconds * (0.9 + 0.2 * self.share("pace"))

    def text(self, name: str, default: str) -> str:
        """Return a text of the input."""
        value = self.input.get(name)
        return value if isinstance(value, str) else default

    def number(self, name: str, default: float) -> float:
        """Return a number of the input."""
        value = self.input.get(name)
        return value if isinstance(value, int | float) else default

    def count(self, name: str, default: int) -> int:
        """Return a whole number of the input."""
        return int(self.number(name, default))


class Program(Protocol):
    """A model's behaviour."""

    schema: InputSchema
    output_schema: JsonObject
    stream: StreamKind | None

    def script(self, job: Job) -> Script:
        """Lay out what happens for this input: the same every time."""

    def fetches(self, job: Job) -> str | None:
        """Return the address that the model fetches before it starts, if any."""


_TEXT: JsonObject = {"type": "string", "title": "Output"}


class PlainProgram:
    """A model that fetches nothing and streams nothing."""

    schema = InputSchema({})
    output_schema: JsonObject = _TEXT
    stream: StreamKind | None = None

    def fetches(self, _job: Job) -> str | None:
        """Return None."""
        return None


def sampler_logs(seed: int, steps: int, run_s: float, images: int) -> tuple[Step, ...]:
    """Return what a sampler prints: its seed, a progress bar and a summary."""
    shown = sorted({0, max(1, steps // 2), steps})
    lines = [Step(0.02 * run_s, "logs", f"Using seed: {seed}\nrunning quantized prediction\n")]
    for done in shown:
        percent = 100 * done // steps
        bar = ("█" * (percent // 10)).ljust(10)
        pace = steps / run_s if done else 0.0
        speed = f"00:00, {pace:5.2f}it/s" if done else "?, ?it/s"
        line = f"{percent:3d}%|{bar}| {done}/{steps} [00:00<{speed}]\n"
        lines.append(Step((0.05 + 0.85 * done / steps) * run_s, "logs", line))
    summary = f"Total safe images: {images} out of {images}\n"
    return (*lines, Step(0.95 * run_s, "logs", summary))
