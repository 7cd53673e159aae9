"""What a checkout installs: the same everywhere, with digests, from whichever mirror is near."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import httpx
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
    base = r"^ARG BASE=\S+/python:3\.\d+\.\d+-slim-\w+@sha256:[0-9a-f]{64}$"
    assert re.search(base, text, flags=re.MULTILINE)


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


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as it would be published, built without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    leave_out = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "gateway", source / "gateway", ignore=leave_out)
    builder = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    subprocess.run([*builder, "--directory", str(folder)], cwd=source, check=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_everything_that_is_read_at_run_time(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        packed = set(file.namelist())
    tracked = subprocess.run(
        ["git", "ls-files", "gateway"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    there = {name for name in tracked if (ROOT / name).exists()}
    assert there <= packed
    assert any("migrations/versions/0001" in name for name in packed)
    assert not any(name.startswith(("tests/", "docs/", "benchmarks/")) for name in packed)


def test_the_installed_wheel_runs_a_demo_in_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    # What the package needs comes from the environment of the tests, since there is no network.
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps"]
    subprocess.run([*command, "--no-index", "--quiet", str(wheel)], check=True)
    beside = sysconfig.get_path("purelib")
    (site / "beside.pth").write_text(beside + "\n", encoding="utf-8")
    empty = tmp_path / "empty"
    empty.mkdir()
    script = tmp_path / "venv" / "bin" / "replicate-gateway"
    environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    told = subprocess.run(
        [python, "-c", "import gateway; print(gateway.__file__)"],
        cwd=empty,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.startswith(str(site)), "the checkout must not stand in for the wheel"
    with (tmp_path / "log").open("wb") as log:
        running = subprocess.Popen(
            [script, "demo", "--port", "0"],
            cwd=empty,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    try:
        assert running.stdout is not None
        said = ""
        while "python3 -c" not in said:
            line = running.stdout.readline().decode()
            assert line, (tmp_path / "log").read_text()
            said += line
        base = re.search(r"Base URL\s+(\S+)", said)
        key = re.search(r"hk-\w+", said)
        assert base is not None
        assert key is not None
        with httpx.Client(
            headers={"Authorization": f"Bearer {key[0]}"}, timeout=60, trust_env=False
        ) as client:
            made = client.post(
                f"{base[1]}/v1/models/black-forest-labs/flux-schnell/predictions",
                json={"input": {"prompt": "a lighthouse"}},
                headers={"Prefer": "wait"},
            )
            assert made.status_code == 201
            origin = base[1].removesuffix("/replicate")
            assert client.get(f"{origin}/readyz").status_code == 200
    finally:
        running.terminate()
        ended = running.wait(30)
        if running.stdout is not None:
            running.stdout.close()
    assert ended == 0
    assert (empty / "data" / "demo" / "ledger.sqlite3").is_file()


SHELLS = {"bash": "complete", "zsh": "compdef", "fish": "complete --no-files"}


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_gets_a_completion_that_names_the_commands(shell: str) -> None:
    program = shutil.which("replicate-gateway", path=sysconfig.get_path("scripts"))
    assert program is not None

    def completed(instruction: str, **variables: str) -> str:
        return subprocess.run(
            [program],
            env={"_REPLICATE_GATEWAY_COMPLETE": f"{shell}_{instruction}", **variables},
            capture_output=True,
            text=True,
            check=False,
        ).stdout

    if shell != "bash" or shutil.which("bash"):
        assert SHELLS[shell] in completed("source", PATH=os.environ["PATH"])
    given = {"fish": {"COMP_WORDS": "replicate-gateway users ", "COMP_CWORD": ""}}.get(
        shell, {"COMP_WORDS": "replicate-gateway users ", "COMP_CWORD": "2"}
    )
    offered = completed("complete", **given)
    assert "add" in offered
    assert "disable" in offered


def test_the_unit_starts_what_there_is_and_shuts_the_rest_out() -> None:
    text = (ROOT / "docs" / "replicate-gateway.service").read_text(encoding="utf-8")
    start = re.search(r"^ExecStart=\S+/(replicate-gateway) serve", text, flags=re.MULTILINE)
    assert start is not None
    variables = dict(re.findall(r"^Environment=(GATEWAY_\w+)=(\S+)$", text, flags=re.MULTILINE))
    assert variables.pop("GATEWAY_CONFIG").startswith("/etc/")
    settings = load(None, variables)
    assert settings.storage.data_dir == Path("/var/lib/replicate-gateway")
    grace = re.search(r"^TimeoutStopSec=(\d+)", text, flags=re.MULTILINE)
    assert grace is not None
    assert int(grace[1]) > settings.server.shutdown_grace_s
    for line in ("NoNewPrivileges=yes", "ProtectSystem=strict", "PrivateTmp=yes", "UMask=0077"):
        assert line in text.splitlines()
