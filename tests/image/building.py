"""The image, built by buildah as root in a folder of its own: no daemon, no registry of images.

The public base cannot be had on every machine, so this machine's own Debian, from its own package
sources, stands in for it; BASE=… names another one, for example the public one.
"""

import ast
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.image.commands import Failed, run

ROOT = Path(__file__).resolve().parents[2]
STAND_IN = "localhost/debian-python:stand-in"
IMAGE = "localhost/replicate-gateway:check"
# What the Dockerfile asks of its base.
_PACKAGES = "python3,python3-venv,ca-certificates"
# What nobody reads in a stand-in; unpacking it takes as long as all the rest.
_UNREAD = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What the image says about how it wants to be run."""

    user: str
    command: tuple[str, ...]
    environment: tuple[str, ...]
    folder: str
    volumes: tuple[str, ...]
    ports: tuple[str, ...]
    health: tuple[str, ...]
    stop_signal: str


class Buildah:
    """Buildah with storage of its own below `folder`, which a second run uses again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._program = (
            *("buildah", "--root", folder / "storage", "--runroot", folder / "run"),
            *("--storage-driver", "overlay"),
        )

    def __call__(self, *arguments: object) -> str:
        return run(*self._program, *arguments).strip()

    def make_stand_in(self) -> str:
        """Return the name of an image of this machine's Debian with Python, made once."""
        if self("images", "--quiet", "--filter", f"reference={STAND_IN}"):
            return STAND_IN
        tar = self._folder / "stand-in.tar"
        suite, sources = _package_sources()
        run(
            *("mmdebstrap", "--variant=apt", f"--include={_PACKAGES}"),
            *(f"--dpkgopt=path-exclude={unread}" for unread in _UNREAD),
            *(suite, tar, "-"),
            given=sources,
        )
        container = self("from", "scratch")
        self("add", "--quiet", container, tar, "/")
        self("commit", "--quiet", "--rm", container, STAND_IN)
        tar.unlink()
        return STAND_IN

    def build(self, base: str) -> None:
        """Build the Dockerfile as it stands on `base`."""
        seen = _pip_configuration(self._folder).items()
        self(
            *("bud", "--isolation=chroot", "--network=host", "--layers", "--format=docker"),
            *(f"--volume={here}:{there}:ro" for there, here in seen),
            *("--build-arg", f"BASE={base}", "--tag", IMAGE, "--file", ROOT / "Dockerfile", ROOT),
        )

    def config(self) -> ImageConfig:
        """Return what the built image says about itself."""
        told: dict[str, Any] = json.loads(self("inspect", "--type", "image", IMAGE))
        asked = told["Docker"]["config"]
        return ImageConfig(
            user=asked["User"],
            command=(*asked["Entrypoint"], *asked["Cmd"]),
            environment=tuple(asked["Env"]),
            folder=asked["WorkingDir"],
            volumes=tuple(asked["Volumes"]),
            ports=tuple(asked["ExposedPorts"]),
            health=tuple(asked.get("Healthcheck", {}).get("Test", ())),
            stop_signal=asked.get("StopSignal", "SIGTERM"),
        )

    def mount(self) -> tuple[str, Path]:
        """Return a container of the image and where its files lie."""
        container = self("from", "--pull-never", IMAGE)
        return container, Path(self("mount", container)).resolve()

    def remove(self, container: str) -> None:
        """Take a container away again."""
        self("umount", container)
        self("rm", container)


def _package_sources() -> tuple[str, str]:
    """Return this machine's release and its package sources, a line each. Raises Failed."""
    release = dict(
        line.split("=", 1)
        for line in Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
        if "=" in line
    )
    suite = release.get("VERSION_CODENAME", "").strip('"')
    told = run(
        *("apt-get", "indextargets", "Created-By: Packages", "--format"),
        "$(ORIGIN)|$(SIGNED_BY)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)",
    )
    lines = []
    for line in sorted(set(told.splitlines())):
        origin, signed_by, uri, of, component = line.split("|")
        if origin in {"Debian", "Ubuntu"}:
            option = f"[signed-by={signed_by}] " if signed_by.startswith("/") else ""
            lines.append(f"deb {option}{uri} {of} {component}")
    if not suite or not lines:
        raise Failed("this is no Debian with package sources: name a base, BASE=… make image-check")
    return suite, "\n".join(lines)


def _pip_configuration(folder: Path) -> dict[Path, Path]:
    """Return what the build must see so that pip finds packages where this machine finds them.

    By its place in the build; it is mounted there and does not get into the image.
    """
    settings = {}
    for line in run(sys.executable, "-m", "pip", "config", "list").splitlines():
        name, _, value = line.partition("=")
        settings[name.rpartition(".")[2]] = str(ast.literal_eval(value))
    lines = [f"{name} = {value}" for name, value in settings.items()]
    kept = folder / "pip.conf"
    kept.write_text("\n".join(["[global]", *lines, ""]), encoding="utf-8")
    named = set()
    for word in (word for value in settings.values() for word in value.split()):
        if word.startswith("file:///"):
            # An index of packages points to files beside it.
            named.add(Path(word.removeprefix("file://")).parent)
        elif word.startswith("/"):
            named.add(Path(word))
    return {Path("/etc/pip.conf"): kept, **{path: path for path in named if path.exists()}}
