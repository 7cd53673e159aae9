"""The image run as deployment.md says, by an OCI runtime: a user of its own, nothing to write to.

runc does what Docker's own runtime does with the same description: a read-only root, no
capability, no way to new privileges, namespaces; so what is shown here is enforced by the kernel.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from tests.image.building import ImageConfig
from tests.image.commands import Failed, run

_TMPFS_OPTIONS = ["nosuid", "nodev", "mode=1777"]
_CAPABILITY_SETS = ("bounding", "effective", "inheritable", "permitted", "ambient")


class Container:
    """One container; `volume` is a folder that takes the place of the image's own volume."""

    def __init__(
        self,
        folder: Path,
        root: Path,
        config: ImageConfig,
        volume: Path,
        environment: Mapping[str, str],
    ) -> None:
        self._name = f"image-check-{os.getpid()}-{folder.name}"
        self._config = config
        self._runc = ("runc", "--root", folder / "runc")
        folder.mkdir(parents=True)
        self._log = folder / "log"
        self._bundle = folder
        description = _description(root, config, volume, environment)
        (folder / "config.json").write_text(json.dumps(description), encoding="utf-8")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*map(str, self._runc), "run", f"--bundle={folder}", self._name],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def log(self) -> str:
        """Return what it wrote."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def alive(self) -> None:
        """Raise Failed if it has ended."""
        if self._process.poll() is not None:
            raise Failed(f"the container ended:\n{self.log()[-4000:]}")

    def execute(self, *command: str, user: str | None = None) -> str:
        """Run a command in it, as `docker exec` does. Raises Failed."""
        options = () if user is None else ("--user", user)
        return run(*self._runc, "exec", *options, self._name, *command, within_s=60).strip()

    def main_process(self) -> dict[str, str]:
        """Return what the kernel says about the gateway's process."""
        state = json.loads(run(*self._runc, "state", self._name))
        status = Path(f"/proc/{state['pid']}/status").read_text(encoding="ascii")
        return dict(re.findall(r"^(\w+):\s+(.*)$", status, re.MULTILINE))

    def stop(self, within_s: float) -> int:
        """End it as `docker stop` does; return its exit status. Raises Failed."""
        run(*self._runc, "kill", self._name, self._config.stop_signal)
        try:
            return self._process.wait(within_s)
        except subprocess.TimeoutExpired as error:
            raise Failed(f"it did not end within {within_s:g} s") from error

    def close(self) -> None:
        """Take it away, whatever it does."""
        if self._process.poll() is None:
            run(*self._runc, "delete", "--force", self._name)
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(20)


def new_volume(folder: Path, root: Path, inside: str) -> Path:
    """Return an empty volume, owned as the image says: what Docker makes of a new one."""
    volume = folder / f"volume-{time.monotonic_ns()}"
    original = root / inside.lstrip("/")
    shutil.copytree(original, volume)
    about = original.stat()
    os.chown(volume, about.st_uid, about.st_gid)
    volume.chmod(about.st_mode & 0o7777)
    return volume


def _description(
    root: Path, config: ImageConfig, volume: Path, environment: Mapping[str, str]
) -> dict[str, object]:
    uid, gid = config.user.split(":")
    given = [f"{name}={value}" for name, value in environment.items()]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": int(uid), "gid": int(gid)},
            "args": config.command,
            "env": [*config.environment, *given],
            "cwd": config.folder,
            "noNewPrivileges": True,
            "capabilities": {of: [] for of in _CAPABILITY_SETS},
        },
        "root": {"path": str(root), "readonly": True},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {
                "destination": "/dev",
                "type": "tmpfs",
                "source": "tmpfs",
                "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
            },
            {
                "destination": "/tmp",  # noqa: S108  # the container's own
                "type": "tmpfs",
                "source": "tmpfs",
                "options": _TMPFS_OPTIONS,
            },
            {
                "destination": config.volumes[0].rstrip("/"),
                "type": "bind",
                "source": str(volume),
                "options": ["bind", "rw", "nosuid", "nodev"],
            },
        ],
        # Not a network of its own: the simulated Replicate is on this machine's loopback.
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")],
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"],
        },
    }
