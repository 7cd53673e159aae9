"""Programs that some tests need beside Python, and what happens where they are missing."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

# The program that each marker of pyproject.toml stands for; of several names any one will do.
PROGRAMS: Mapping[str, tuple[str, ...]] = {
    "postgres": ("pg_ctl",),
    "node": ("node",),
    "browser": ("chromedriver",),  # it comes with Chromium, or needs it, wherever it is packaged
    "prometheus": ("prometheus",),
}


def program(marker: str) -> Path | None:
    """Return the program behind a marker, or None where it is not installed.

    Debian keeps PostgreSQL's server programs off the path, one folder for each version.
    """
    for name in PROGRAMS[marker]:
        found = shutil.which(name)
        if found:
            return Path(found)
        debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
        if debian:
            return debian[-1]
    return None


def must_be_there() -> bool:
    """Return whether a missing program is a failure, as it is in CI, where nobody reads skips."""
    return os.environ.get("CI", "").lower() == "true"
