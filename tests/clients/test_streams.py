"""Streams as the official clients read them."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from replicate.client import Client

from tests.clients.conftest import Run, installed
from tests.clients.examples import FLUX
from tests.support.tools import program

pytestmark = pytest.mark.xdist_group("official clients")

LLAMA = "meta/meta-llama-3-8b-instruct"
JS = Path(__file__).parent / "js"


@pytest.fixture
def client(base: str, key: str) -> Iterator[Client]:
    client = Client(api_token=key, base_url=base)
    yield client
    client._client.close()


@pytest.mark.usefixtures("closed")
def test_python_streams_words_as_they_come(client: Client) -> None:
    events = list(client.stream(LLAMA, input={"prompt": "hi"}))
    words = "".join(str(event) for event in events)
    assert words.startswith("You said 'hi':")
    assert [event.event.value for event in events][-1] == "done"
    assert len(events) > 10
    assert len({event.id for event in events}) == len(events)


@pytest.mark.usefixtures("closed")
async def test_python_streams_words_asynchronously(client: Client) -> None:
    events = [event async for event in await client.async_stream(LLAMA, input={"prompt": "hi"})]
    assert "".join(str(event) for event in events).startswith("You said 'hi':")
    await client._async_client.aclose()


@pytest.mark.usefixtures("closed")
def test_python_streams_the_addresses_of_files_that_work_at_once(client: Client, base: str) -> None:
    events = list(client.stream(FLUX, input={"prompt": "a fox"}))
    (address,) = [event.data for event in events if event.event.value == "output"]
    assert address.startswith(f"{base}/delivery/")
    assert httpx.get(address, trust_env=False).headers["content-type"] == "image/webp"


@pytest.mark.usefixtures("closed")
def test_python_runs_a_model_that_answers_piece_by_piece(client: Client) -> None:
    assert "".join(client.run(LLAMA, input={"prompt": "hi"})).startswith("You said 'hi':")


def javascript(run: Run, base: str, key: str, job: str, **env: str) -> Any:
    installed(JS, "node_modules/replicate/package.json")
    given = {"PATH": os.environ["PATH"], "BASE_URL": f"{base}/v1", "KEY": key, **env}
    return json.loads(run(str(program("node")), "stream.mjs", job, cwd=JS, env=given))


@pytest.mark.node
def test_javascript_streams_words(run: Run, base: str, key: str) -> None:
    events = javascript(run, base, key, "text")
    words = "".join(event["data"] for event in events if event["event"] == "output")
    assert words.startswith("You said 'hi':")
    assert events[-1]["event"] == "done"


@pytest.mark.node
def test_javascript_streams_files(run: Run, base: str, key: str) -> None:
    # Over plain http the client gives addresses; over https it makes files of them itself.
    events = javascript(run, base, key, "files")
    files = [event["data"] for event in events if event["event"] == "output"]
    assert len(files) == 2
    assert all(file.startswith(f"{base}/delivery/") for file in files)
    # By this it tells that a stream is one of files.
    address = javascript(run, base, key, "fileStream")["stream"]
    assert address.startswith(f"{base.removesuffix('/replicate')}/v1/files/")
