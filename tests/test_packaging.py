"""What a checkout installs: the same everywhere, with digests, from whichever mirror is near."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

import gateway
from gateway.settings import load

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


def test_the_image_sets_settings_that_exist_and_runs_as_nobody_special() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    variables = dict(re.findall(r"\b(GATEWAY_\w+)=(\S+)", text))
    settings = load(None, variables)
    assert settings.server.host == "0.0.0.0"
    assert settings.storage.data_dir == Path("/data")
    assert re.search(r"^USER [1-9]\d*", text, flags=re.MULTILINE)
    assert re.search(r"^ARG PYTHON=3\.\d+\.\d+-slim-\w+$", text, flags=re.MULTILINE)


def find_python(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the search with a path that holds nothing but what the folder holds."""
    bash = shutil.which("bash")
    assert bash is not None
    return subprocess.run(
        [bash, str(ROOT / ".ci" / "find-python")],
        env={"PATH": str(folder), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def fake_python(folder: Path, script: str) -> None:
    program = folder / "python3"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)


def test_without_a_python_the_cure_is_one_line(tmp_path: Path) -> None:
    found = find_python(tmp_path)
    assert (found.returncode, found.stdout) == (1, "")
    assert len(found.stderr.splitlines()) == 1
    assert "apt install python3 python3-venv" in found.stderr


def test_a_python_that_is_too_old_is_passed_over(tmp_path: Path) -> None:
    fake_python(tmp_path, "exit 1")
    assert "Python 3.11 or newer is needed" in find_python(tmp_path).stderr
    assert "PYTHON=python3 is not" in find_python(tmp_path, PYTHON="python3").stderr


def test_a_python_without_venv_names_the_package_that_brings_it(tmp_path: Path) -> None:
    fake_python(
        tmp_path, 'case "$2" in *ensurepip*) exit 1;; *version_info\\[:2\\]*) echo 3.11;; esac'
    )
    found = find_python(tmp_path)
    assert found.returncode == 1
    assert "apt install python3.11-venv" in found.stderr


def test_a_fit_python_is_found(tmp_path: Path) -> None:
    fake_python(tmp_path, "exit 0")
    found = find_python(tmp_path)
    assert (found.returncode, found.stdout.strip()) == (0, str(tmp_path / "python3"))
