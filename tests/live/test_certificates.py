"""Certificates of a running gateway: replaced without a restart, and without dropping anybody."""

import shutil
import signal
import ssl
from pathlib import Path

import pytest

from tests.support.certificates import write_pair
from tests.support.crowd import at_once, make_users
from tests.support.process import Processes, processes

TOML = """
[server]
workers = {workers}
[server.tls]
mode = "files"
cert_file = "{folder}/cert.pem"
key_file = "{folder}/key.pem"
"""


def served(gateway: Processes) -> str:
    return ssl.get_server_certificate(("127.0.0.1", gateway.port), timeout=10)


@pytest.mark.parametrize("workers", [1, 3])
def test_replaced_certificate_files_are_served_and_kept_connections_live_on(
    tmp_path: Path, workers: int
) -> None:
    write_pair(tmp_path / "cert.pem", tmp_path / "key.pem")
    first = (tmp_path / "cert.pem").read_text()
    shutil.copy(tmp_path / "cert.pem", tmp_path / "first.pem")
    toml = TOML.format(workers=workers, folder=tmp_path)
    with processes(toml) as gateway:
        [key] = make_users(gateway, ["ann"])
        assert served(gateway) == first
        trusting_the_first = ssl.create_default_context(cafile=str(tmp_path / "first.pem"))
        path = "/replicate/v1/predictions"
        with gateway.client(key, verify=trusting_the_first) as kept:
            assert kept.get(path).status_code == 200
            write_pair(tmp_path / "cert.pem", tmp_path / "key.pem")
            second = (tmp_path / "cert.pem").read_text()
            gateway.signal(signal.SIGHUP)
            gateway.wait_for(lambda: gateway.log().count("a new certificate") == workers)
            assert set(at_once(12, lambda _: served(gateway))) == {second}
            # On a new connection it would not be trusted: this is the one from before.
            assert kept.get(path).status_code == 200


def test_without_a_signal_they_are_noticed_as_well(tmp_path: Path) -> None:
    write_pair(tmp_path / "cert.pem", tmp_path / "key.pem")
    with processes(TOML.format(workers=1, folder=tmp_path)) as gateway:
        write_pair(tmp_path / "cert.pem", tmp_path / "key.pem")
        second = (tmp_path / "cert.pem").read_text()
        gateway.wait_for(lambda: served(gateway) == second)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_key_of_another_certificate_stops_the_start_with_a_reason(
    tmp_path: Path, workers: int
) -> None:
    write_pair(tmp_path / "cert.pem", tmp_path / "other-key.pem")
    write_pair(tmp_path / "other-cert.pem", tmp_path / "key.pem")
    toml = TOML.format(workers=workers, folder=tmp_path)
    with (
        pytest.raises(AssertionError, match=r"key\.pem is not the key of .*cert\.pem"),
        processes(toml),
    ):
        pass
