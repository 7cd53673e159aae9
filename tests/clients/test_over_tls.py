"""Official clients over a private authority: what `serve` printed is all that was done for it.

They run in a closed network of their own, in which nothing but the encrypted gateway is there.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.conftest import leaks_not_looked_for
from tests.clients.examples import FLUX, FLUX_INPUT, LORA, LORA_INPUT, LORA_VERSION
from tests.support.closed_network import ClosedNetwork, addresses, closed_network_or_none
from tests.support.process import ROOT, Processes, processes
from tests.support.tools import must_be_there, program

pytestmark = pytest.mark.xdist_group("official clients")

JS = Path(__file__).parent / "js"
PLACE = 1  # the other clients' network may be there too
TOML = f"""
[server]
workers = 2
public_aliases = ["https://{addresses(PLACE)[0]}"]
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
    with processes(TOML, host="0.0.0.0", speed=4) as both:
        yield both


@pytest.fixture(scope="module")
def cable(encrypted: Processes) -> Iterator[ClosedNetwork | None]:
    with closed_network_or_none(encrypted.port, PLACE) as made:
        yield made


@pytest.fixture
def network(cable: ClosedNetwork | None) -> Iterator[ClosedNetwork | None]:
    """The closed network, out of which nobody may have tried to get when the test is over."""
    if cable is not None:
        cable.attempts()
    yield cable
    if cable is None:
        leaks_not_looked_for()
    else:
        assert cable.attempts() == [], "the client tried to reach more than the gateway"


@pytest.fixture
def address(encrypted: Processes, network: ClosedNetwork | None) -> str:
    """The gateway's origin, as the clients reach it."""
    host = "127.0.0.1" if network is None else network.gateway
    return f"https://{host}:{encrypted.port}"


@pytest.fixture(scope="module")
def key(encrypted: Processes) -> str:
    return encrypted.add_user("ann")


def after_the_printed_lines(
    gateway: Processes, network: ClosedNetwork | None, command: list[str], **env: str
) -> str:
    """Paste what `serve` printed into a shell, then run a command in it; returns what it says."""
    lines = [line for line in gateway.log().splitlines() if line.startswith("export ")]
    assert len(lines) == 3
    shell = ["sh", "-c", "\n".join([*lines, 'exec "$@"']), "sh", *command]
    done = subprocess.run(
        shell if network is None else network.inside(*shell),
        cwd=JS,
        env={"PATH": os.environ["PATH"], "EXAMPLES": json.dumps(EXAMPLES), **env},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_python_returns_file_outputs_and_reads_them(
    encrypted: Processes, network: ClosedNetwork | None, address: str, key: str
) -> None:
    said = after_the_printed_lines(
        encrypted,
        network,
        [sys.executable, "-c", PYTHON],
        REPLICATE_BASE_URL=f"{address}/replicate",
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
    encrypted: Processes, network: ClosedNetwork | None, address: str, key: str, job: str
) -> None:
    if not (JS / "node_modules" / "replicate").is_dir():
        if must_be_there():
            pytest.fail("the JavaScript client is not installed: npm ci --prefix tests/clients/js")
        pytest.skip("the JavaScript client is not installed")
    said = after_the_printed_lines(
        encrypted,
        network,
        [str(program("node")), "run.mjs", job],
        BASE_URL=f"{address}/replicate/v1",
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
    # These names mean another machine in the closed network.
    assert after_the_printed_lines(encrypted, None, ["curl", "-fsS", url]) == "ok\n"


def test_one_who_leaves_the_closed_network_is_caught(
    encrypted: Processes, cable: ClosedNetwork | None
) -> None:
    if cable is None:
        pytest.skip("no closed network can be made here")
    cable.attempts()
    leak = ["bash", "-c", "exec 3<>/dev/tcp/192.0.2.9/443 || true"]
    after_the_printed_lines(encrypted, cable, leak)
    assert cable.attempts() == ["tcp 192.0.2.9 443"]
