"""The container's health check asks the gateway that its configuration means."""

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli.probe import alive, main
from gateway.settings import load
from tests.support.process import ROOT, free_port, processes


@pytest.mark.parametrize("tls", ["off", "local-ca"])
def test_port_and_tls_come_from_the_file(tls: str, tmp_path: Path) -> None:
    port = free_port()
    # The port stands in the file alone: the command line does not say it.
    toml = f'[server]\nhost = "0.0.0.0"\nport = {port}\n'
    if tls != "off":
        toml += '[server.tls]\nmode = "local-ca"\n'
    with processes(toml) as gateway:
        gateway.stop()
        gateway.port = port
        gateway.start()
        asked = subprocess.run(
            [sys.executable, "-m", "gateway.cli.probe"],
            cwd=ROOT,
            env={"GATEWAY_CONFIG": str(gateway.config)},
            timeout=60,
            capture_output=True,
            check=False,
        )
        assert (asked.returncode, asked.stdout, asked.stderr) == (0, b"", b"")
        gateway.stop()
        assert not alive(load(gateway.config, {}))


def test_a_configuration_that_cannot_be_read_is_not_healthy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty = tmp_path / "gateway.toml"
    faulty.write_text("[server]\nport = 0.5\n")
    monkeypatch.setenv("GATEWAY_CONFIG", str(faulty))
    assert main() == 1


def test_the_image_asks_by_it() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert 'CMD ["python", "-m", "gateway.cli.probe"]' in text
