"""Official clients over a private authority: what `serve` printed is all that was done for it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.examples import FLUX, FLUX_INPUT, LORA, LORA_INPUT, LORA_VERSION
from tests.support.process import ROOT, Processes, processes
from tests.support.tools import must_be_there, program

pytestmark = pytest.mark.xdist_group("official clients")

JS = Path(__file__).parent / "js"
TOML = """
[server]
workers = 2
[server.tls]
mode = "local-ca"
[upstream]
poll_interval_ms = 100
"""
EXAMPLES = {
    "flux": FLUX,
    "fluxInput": FLUX_INPUT,
    "lora": f"{LORA}:{LORA_VERSION}",
    "loraInput": LORA_INPUT,
}
PYTHON = """
import json, os, replicate
from replicate.helpers import FileOutput
told = json.loads(os.environ["EXAMPLES"])
client = replicate.Client()
for model, given, wait in (
    (told["flux"], told["fluxInput"], True), (told["lora"], told["loraInput"], False)
):
    [picture] = client.run(model, input=given, wait=wait)
    assert isinstance(picture, FileOutput), type(picture)
    print(picture.url[:6], picture.read()[:4].hex())
"""


@pytest.fixture(scope="module")
def encrypted() -> Iterator[Processes]:
    with processes(TOML, speed=4) as both:
        yield both


@pytest.fixture(scope="module")
def key(encrypted: Processes) -> str:
    return encrypted.add_user("ann")


def after_the_printed_lines(gateway: Processes, command: list[str], **env: str) -> str:
    """Paste what `serve` printed into a shell, then run a command in it; returns what it says."""
    lines = [line for line in gateway.log().splitlines() if line.startswith("export ")]
    assert len(lines) == 3
    script = "\n".join([*lines, 'exec "$@"'])
    done = subprocess.run(
        ["sh", "-c", script, "sh", *command],
        cwd=JS,
        env={"PATH": os.environ["PATH"], "EXAMPLES": json.dumps(EXAMPLES), **env},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_python_returns_file_outputs_and_reads_them(encrypted: Processes, key: str) -> None:
    said = after_the_printed_lines(
        encrypted,
        [sys.executable, "-c", PYTHON],
        REPLICATE_BASE_URL=encrypted.base,
        REPLICATE_API_TOKEN=key,
        REPLICATE_POLL_INTERVAL="0.1",
        PYTHONPATH=str(ROOT),
    )
    blocking, polling = said.splitlines()
    assert blocking.split()[1].startswith("ffd8ff")
    assert polling == f"https: {b'RIFF'.hex()}"


@pytest.mark.node
@pytest.mark.parametrize("job", ["block", "poll"])
def test_javascript_returns_file_outputs_and_reads_them(
    encrypted: Processes, key: str, job: str
) -> None:
    if not (JS / "node_modules" / "replicate").is_dir():
        if must_be_there():
            pytest.fail("the JavaScript client is not installed: npm ci --prefix tests/clients/js")
        pytest.skip("the JavaScript client is not installed")
    said = after_the_printed_lines(
        encrypted,
        [str(program("node")), "run.mjs", job],
        BASE_URL=f"{encrypted.base}/v1",
        KEY=key,
    )
    found = json.loads(said)
    assert not found["isString"]
    if job == "poll":
        assert found["url"].startswith("https://")
        assert bytes(found["head"][:4]) == b"RIFF"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_curl_trusts_every_name_of_this_machine(encrypted: Processes, host: str) -> None:
    url = f"https://{host}:{encrypted.port}/healthz"
    assert after_the_printed_lines(encrypted, ["curl", "-fsS", url]) == "ok\n"
