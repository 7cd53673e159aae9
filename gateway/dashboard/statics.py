"""Static files under names that hold their content's hash, so that browsers keep them for ever."""

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).parent / "static"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_HASH_LENGTH = 12


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file, plain and compressed."""

    content_type: str
    plain: bytes
    compressed: bytes


class Statics:
    """All static files, read once."""

    def __init__(self, folder: Path = _FOLDER) -> None:
        self._files: dict[str, StaticFile] = {}
        self._addresses: dict[str, str] = {}
        for path in sorted(folder.iterdir()):
            if path.suffix not in _TYPES:
                continue
            plain = path.read_bytes()
            name = f"{hashlib.sha256(plain).hexdigest()[:_HASH_LENGTH]}/{path.name}"
            self._files[name] = StaticFile(
                _TYPES[path.suffix], plain, gzip.compress(plain, 9, mtime=0)
            )
            self._addresses[path.name] = name

    def address(self, name: str) -> str:
        """Return the address of a file below the folder's."""
        return f"/dashboard/static/{self._addresses[name]}"

    def find(self, address: str) -> StaticFile | None:
        """Return the file of an address."""
        return self._files.get(address)
