"""What a checkout installs: the same everywhere, with digests, from whichever mirror is near."""

import re
import tomllib
from pathlib import Path

import pytest

import gateway

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("requirements.lock", "requirements-dev.lock")
_PIN = re.compile(r"^(?P<name>[a-z0-9.-]+)==(?P<version>\S+)(?P<rest>.*)$")


def pins(lock: str) -> dict[str, str]:
    lines = (ROOT / lock).read_text(encoding="utf-8").splitlines()
    found = (_PIN.match(line) for line in lines)
    return {match["name"]: match["version"] for match in found if match}


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_host(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert "://" not in text
    assert " @ " not in text
    options = {line.split()[0] for line in text.splitlines() if line.startswith("-")}
    assert options == set(), "no --index-url, no --find-links, no -r"


@pytest.mark.parametrize("lock", LOCKS)
def test_every_line_of_a_lock_is_an_exact_version_with_digests(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    entries = re.split(r"\n(?=[a-z0-9])", re.sub(r"^\s*#.*\n?", "", text, flags=re.MULTILINE))
    assert len(entries) == len(pins(lock)) > 30
    for entry in entries:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry.splitlines()[0]


def test_the_two_locks_agree() -> None:
    runtime, dev = (pins(lock) for lock in LOCKS)
    assert runtime.items() <= dev.items()


def test_the_locks_hold_everything_that_the_package_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    build, dev = (project["dependency-groups"][group] for group in ("build", "dev"))
    postgres = project["project"]["optional-dependencies"]["postgres"]
    wanted = [*project["project"]["dependencies"], *postgres, *build]
    for lock, asked in zip(LOCKS, (wanted, wanted + dev), strict=True):
        names = {
            re.split(r"[\[<>=~; ]", line)[0].lower() for line in asked if isinstance(line, str)
        }
        assert names <= pins(lock).keys(), lock


def test_the_version_stands_in_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" not in project["project"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", gateway.__version__)


def test_types_are_published() -> None:
    assert (ROOT / "gateway" / "py.typed").is_file()
