"""The simulated Replicate as a child: found again at its ports, and known by its earlier ones."""

import json
import socket
from pathlib import Path

import httpx
import pytest

from gateway.cli.commands import Failed
from gateway.cli.simulated import simulated_replicate


@pytest.fixture(autouse=True)
def from_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))


def test_addresses_stay_from_one_start_to_the_next(tmp_path: Path) -> None:
    with simulated_replicate(tmp_path) as first:
        account = httpx.get(
            f"{first.api_url}/v1/account",
            headers={"Authorization": f"Bearer {first.token}"},
            trust_env=False,
        )
        assert account.json()["username"] == "acme"
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{first.api_url}/v1/account", trust_env=False)
    with simulated_replicate(tmp_path) as second:
        assert second == first


def test_where_a_port_was_taken_meanwhile_earlier_urls_keep_their_meaning(tmp_path: Path) -> None:
    with simulated_replicate(tmp_path) as first:
        pass
    port = int(first.delivery_origins[0].rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)), simulated_replicate(tmp_path) as second:
        assert second.delivery_origins[1:] == first.delivery_origins
        assert second.delivery_origins[0] != first.delivery_origins[0]
        assert (second.api_url, second.stream_origins) == (first.api_url, first.stream_origins)


def test_a_memory_that_cannot_be_read_is_made_anew(tmp_path: Path) -> None:
    memory = tmp_path / "simulator.json"
    for text in ("", "[]", '{"api_url": "x", "delivery_origins": [], "stream_origins": []}'):
        memory.write_text(text, encoding="utf-8")
        with simulated_replicate(tmp_path) as found:
            pass
        assert json.loads(memory.read_text())["api_url"] == found.api_url


def test_a_simulation_that_cannot_start_is_told_on_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho out of order >&2\nexit 3\n", encoding="utf-8")
    broken.chmod(0o700)
    monkeypatch.setattr("sys.executable", str(broken))
    with pytest.raises(Failed) as failed, simulated_replicate(tmp_path):
        pass
    assert "the simulated Replicate did not start: out of order" in failed.value.message
    assert len(failed.value.message.splitlines()) == 1
