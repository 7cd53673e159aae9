"""`make image-check`: builds the image, runs it read-only as its own user, gets a picture.

Needs root, buildah, runc and mmdebstrap, all from Debian (`.ci/image-tools` installs them). What is
missing is a failure, never a step left out. BASE=… builds on another base than this machine's
Debian; FRESH=1 begins without what an earlier check left in build/image-check.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
import httpx

from tests.image.building import IMAGE, ROOT, Buildah, ImageConfig
from tests.image.commands import Failed, demand
from tests.image.container import Container, new_volume
from tests.support.process import free_port

T = TypeVar("T")

FOLDER = ROOT / "build" / "image-check"
PATIENCE_S = 120.0
API = "/replicate/v1"
TERMINAL = {"succeeded", "failed", "canceled", "aborted"}
# A file made where the image's own files lie; says by what number the system refuses.
_TRY_TO_WRITE = """
import errno, sys
try:
    open(sys.argv[1], "w").close()
except OSError as error:
    print(errno.errorcode[error.errno])
else:
    print("written")
"""


def wait_for(done: Callable[[], T], what: str) -> T:
    """Ask until something true comes back. Raises Failed."""
    until = time.monotonic() + PATIENCE_S
    while not (result := done()):
        if time.monotonic() > until:
            raise Failed(f"not within {PATIENCE_S:g} s: {what}")
        time.sleep(0.1)
    return result


@contextmanager
def simulated_replicate() -> Iterator[dict[str, str]]:
    """Run the simulated Replicate beside the container; yield its addresses."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway.simulator", "--speed", "20"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def running(
    folder: Path, root: Path, config: ImageConfig, volume: Path, environment: dict[str, str]
) -> Iterator[tuple[Container, httpx.Client]]:
    """Run the image until the block ends, from when it is ready; yield it and a way to it."""
    port = free_port()
    environment = {
        **environment,
        # Two containers may share this machine's network.
        "GATEWAY_SERVER__HOST": "127.0.0.1",
        "GATEWAY_SERVER__PORT": str(port),
    }
    container = Container(folder, root, config, volume, environment)
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60)

    def ready() -> bool:
        container.alive()
        try:
            return client.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    try:
        wait_for(ready, "200 from /readyz")
        demand(True, "200 from /readyz")
        yield container, client
    except (Failed, httpx.HTTPError, AssertionError):
        click.echo(container.log()[-4000:], err=True)
        raise
    finally:
        client.close()
        container.close()


def picture(client: httpx.Client, key: str) -> str:
    """Make a picture and get it through the gateway; return its URL. Raises Failed."""
    client.headers["Authorization"] = f"Bearer {key}"
    made = client.post(
        f"{API}/models/simulated/single-picture/predictions",
        json={"input": {"prompt": "a lighthouse"}},
    )
    demand(made.status_code == 201, f"a create is accepted ({made.status_code})")

    def ended() -> dict[str, Any] | None:
        told: dict[str, Any] = client.get(f"{API}/predictions/{made.json()['id']}").json()
        return told if told["status"] in TERMINAL else None

    done = wait_for(ended, "the end of a prediction")
    demand(done and done["status"] == "succeeded", "the prediction succeeds")
    assert done is not None
    url = done["output"] if isinstance(done["output"], str) else done["output"][0]
    demand(url.startswith(str(client.base_url)), "its output is an address of the gateway")
    _get_picture(client, url)
    return url


def _get_picture(client: httpx.Client, url: str) -> None:
    answer = client.get(url)
    kind = answer.headers.get("content-type", "")
    demand(
        answer.status_code == 200 and kind.startswith("image/") and len(answer.content) > 100,
        f"a picture comes through it ({answer.status_code} {kind}, {len(answer.content)} bytes)",
    )


def check_description(config: ImageConfig) -> None:
    """Demand of the image what orchestrators look at."""
    user = config.user.partition(":")[0]
    demand(user.isdigit() and int(user) > 0, f"its user is a number and not root ({config.user})")
    demand(config.volumes == ("/data",), "its volume is /data")
    demand(config.ports == ("8080/tcp",), "it tells its port")
    demand(config.health[:1] == ("CMD",), "it has a health check")
    demand(config.stop_signal == "SIGTERM", "it is ended by SIGTERM")


def check_confinement(container: Container, config: ImageConfig) -> None:
    """Demand that the running process may do nothing but what it must."""
    process = container.main_process()
    uid = config.user.partition(":")[0]
    demand(process["Uid"].split() == [uid] * 4, f"it runs as user {uid}")
    demand(int(process["CapBnd"], 16) == 0, "it has no capability and can get none")
    demand(process["NoNewPrivs"] == "1", "it can get no new privileges")
    for place in ("/opt/gateway/written", "/etc/written", "/usr/written", "/written"):
        # As root, whom only the file system itself can refuse.
        said = container.execute("python", "-c", _TRY_TO_WRITE, place, user="0:0")
        demand(said == "EROFS", f"{place} cannot be written, not even by root ({said})")
    for place in ("/data/written", "/tmp/written"):  # noqa: S108  # the container's own
        said = container.execute("python", "-c", _TRY_TO_WRITE, place)
        demand(said == "written", f"{place} can be written")


def check_run(folder: Path, root: Path, config: ImageConfig) -> None:
    """Run it before a simulated Replicate, stop it, run it again on the same volume."""
    volume = new_volume(folder, root, config.volumes[0])
    with simulated_replicate() as addresses:
        environment = {
            "REPLICATE_API_TOKEN": addresses["token"],
            "GATEWAY_UPSTREAM__BASE_URL": addresses["api_url"],
            "GATEWAY_UPSTREAM__DELIVERY_ORIGINS": json.dumps([addresses["delivery_origin"]]),
            "GATEWAY_UPSTREAM__STREAM_ORIGINS": json.dumps([addresses["stream_origin"]]),
        }
        with running(folder / "first", root, config, volume, environment) as (container, client):
            check_confinement(container, config)
            container.execute(*config.health[1:])
            demand(True, "its own health check finds it well")
            container.execute("replicate-gateway", "users", "add", "ann")
            key = container.execute("replicate-gateway", "keys", "create", "ann")
            demand(key.startswith("hk-"), "a key is made beside it")
            url = picture(client, key)
            status = container.stop(30)
            demand(status == 0, f"it ends in good order when it is told to ({status})")
        with running(folder / "second", root, config, volume, environment) as (_, client):
            client.headers["Authorization"] = f"Bearer {key}"
            demand(True, "it starts again on the same volume")
            _get_picture(client, str(httpx.URL(url).raw_path, "ascii"))


def check_first_start(folder: Path, root: Path, config: ImageConfig) -> None:
    """Run it as somebody does who has no token yet."""
    volume = new_volume(folder, root, config.volumes[0])
    with running(folder / "third", root, config, volume, {}) as (_, client):
        picture(client, (volume / "demo" / "demo-key").read_text(encoding="ascii").strip())


def check() -> None:
    """Do it all. Raises Failed."""
    if os.geteuid() != 0:
        raise Failed("containers are made as root here: sudo make image-check")
    lacking = [name for name in ("buildah", "runc", "mmdebstrap") if shutil.which(name) is None]
    if lacking:
        raise Failed(f"missing: {', '.join(lacking)} (Debian has them: .ci/image-tools)")
    FOLDER.mkdir(parents=True, exist_ok=True)
    buildah = Buildah(FOLDER)
    if os.environ.get("FRESH"):
        buildah("rmi", "--all", "--force")
    begun = time.monotonic()

    def step(what: str) -> None:
        click.echo(f"== {what} ({time.monotonic() - begun:.0f} s)")

    base = os.environ.get("BASE") or ""
    if not base:
        step("This machine's Debian with Python, in the place of the public base")
        base = buildah.make_stand_in()
    step(f"The Dockerfile on {base}")
    buildah.build(base)
    config = buildah.config()
    check_description(config)
    container, root = buildah.mount()
    folder = Path(tempfile.mkdtemp(prefix="image-check-"))
    folder.chmod(0o711)
    try:
        step("Run: read-only, as its own user, with a volume")
        check_run(folder, root, config)
        step("Run: without a token")
        check_first_start(folder, root, config)
    finally:
        buildah.remove(container)
        shutil.rmtree(folder, ignore_errors=True)
    step(f"{IMAGE} keeps its promises")


if __name__ == "__main__":
    try:
        check()
    except (Failed, httpx.HTTPError) as error:
        sys.exit(f"image-check FAILED: {error}")
