"""Output files: fetched from upstream once, kept, and handed to readers even while they arrive."""

from gateway.domain.sources import SourceRefused, SourceUnreachable
from gateway.mirror.errors import (
    MirrorClosed,
    OutputBroken,
    OutputError,
    OutputGone,
    OutputUnreachable,
)
from gateway.mirror.files import (
    Finding,
    MirrorEvents,
    NotKept,
    Problem,
    StoredFile,
    Unstored,
    Usage,
    key_of,
)
from gateway.mirror.mirror import Mirror, Spawn
from gateway.mirror.reading import Reading
from gateway.mirror.source import Source, SourceResponse
from gateway.mirror.store import Store

__all__ = [
    "Finding",
    "Mirror",
    "MirrorClosed",
    "MirrorEvents",
    "NotKept",
    "OutputBroken",
    "OutputError",
    "OutputGone",
    "OutputUnreachable",
    "Problem",
    "Reading",
    "Source",
    "SourceRefused",
    "SourceResponse",
    "SourceUnreachable",
    "Spawn",
    "Store",
    "StoredFile",
    "Unstored",
    "Usage",
    "key_of",
]
