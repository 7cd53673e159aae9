"""Which certificate is served, and that a change of it drops nobody."""

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.app import Certificates, CertificateUnusable, certificates_of, trust_lines
from gateway.settings import Settings, load
from tests.support.certificates import write_pair
from tests.support.clock import ManualClock

DAY = 86_400.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def settings_of(folder: Path, mode: str) -> Settings:
    env = {
        "GATEWAY_SERVER__TLS__MODE": mode,
        "GATEWAY_STORAGE__DATA_DIR": str(folder / "data"),
        "GATEWAY_SERVER__TLS__CERT_FILE": str(folder / "cert.pem"),
        "GATEWAY_SERVER__TLS__KEY_FILE": str(folder / "key.pem"),
    }
    empty = folder / "gateway.toml"
    empty.touch()
    return load(empty, env)


@pytest.fixture
def files(tmp_path: Path, clock: ManualClock) -> Certificates:
    write_pair(tmp_path / "cert.pem", tmp_path / "key.pem")
    return Certificates(settings_of(tmp_path, "files"), clock)


@contextmanager
def echoing(context: ssl.SSLContext) -> Iterator[int]:
    """Echo what comes over encrypted connections; yields the port."""

    def serve(line: socket.socket) -> None:
        try:
            with context.wrap_socket(line, server_side=True) as encrypted:
                while piece := encrypted.recv(100):
                    encrypted.sendall(piece)
        except OSError:
            line.close()

    def accept() -> None:
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(line,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@contextmanager
def connected(port: int, name: str | None) -> Iterator[ssl.SSLSocket]:
    """Connect without checking, naming this host (None: naming none)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    plain = socket.create_connection(("127.0.0.1", port))
    with context.wrap_socket(plain, server_hostname=name) as line:
        yield line


def served(port: int, name: str | None = "localhost") -> bytes:
    with connected(port, name) as line:
        return line.getpeercert(binary_form=True) or b""


def der(path: Path) -> bytes:
    text = path.read_text()
    return ssl.PEM_cert_to_DER_cert(text[text.index("-----BEGIN CERTIFICATE") :])


@pytest.mark.parametrize("name", ["localhost", None])
def test_changed_files_are_served_to_who_comes_next_and_drop_nobody(
    files: Certificates, tmp_path: Path, name: str | None
) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    with echoing(files.open()) as port:
        before = der(certificate)
        assert served(port, name) == before
        with connected(port, name) as line:
            line.sendall(b"before")
            assert line.recv(100) == b"before"
            write_pair(certificate, key)
            files.refresh()
            assert served(port, name) == der(certificate) != before
            line.sendall(b"after")
            assert line.recv(100) == b"after"


def test_files_that_are_half_replaced_or_broken_leave_the_former_in_force(
    files: Certificates, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    with echoing(files.open()) as port:
        before = der(certificate)
        write_pair(certificate, tmp_path / "new-key.pem")
        for _ in range(3):
            files.refresh()
        assert served(port) == before
        assert caplog.text.count("is not the key of") == 1
        certificate.rename(tmp_path / "cert-elsewhere.pem")
        files.refresh()
        assert served(port) == before
        (tmp_path / "cert-elsewhere.pem").rename(certificate)
        (tmp_path / "new-key.pem").replace(key)
        files.refresh()
        assert served(port) == der(certificate) != before


def test_unchanged_files_are_not_read_again(
    files: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    files.open()
    files.refresh()
    assert "a new certificate is served" not in caplog.text


def test_what_cannot_be_served_is_said_before_anything_is_served(
    files: Certificates, tmp_path: Path
) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    write_pair(certificate, key, passphrase=b"open sesame")
    with pytest.raises(CertificateUnusable, match="pass phrase"):
        files.open()
    key.write_text("nonsense")
    with pytest.raises(CertificateUnusable, match="no certificate with its key"):
        files.open()
    key.unlink()
    with pytest.raises(CertificateUnusable, match="No such file"):
        files.open()


def test_a_private_authoritys_certificate_renews_itself_while_it_is_served(
    tmp_path: Path, clock: ManualClock
) -> None:
    settings = settings_of(tmp_path, "local-ca")
    certificates = Certificates(settings, clock)
    # Another worker of the same machine, which looks at the same files.
    other = Certificates(settings, clock)
    with echoing(certificates.open()) as port, echoing(other.open()) as other_port:
        before = served(port)
        assert served(other_port) == before
        clock.advance(61 * DAY)
        certificates.refresh()
        other.refresh()
        assert served(port) == served(other_port) != before
        trusted = ssl.create_default_context(
            cafile=str(settings.storage.data_dir / "tls" / "ca.pem")
        )
        assert trusted.get_ca_certs()


def test_the_lines_to_trust_it_say_where_the_authority_is_to_any_shell(tmp_path: Path) -> None:
    folder = tmp_path / "it's a folder"
    folder.mkdir()
    settings = settings_of(folder, "local-ca")
    lines = trust_lines(settings)
    variables = ("CURL_CA_BUNDLE", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS")
    script = "\n".join([*lines, *(f'echo "${name}"' for name in variables)])
    said = subprocess.run(
        [str(shutil.which("sh")), "-c", script], env={}, capture_output=True, check=True, text=True
    )
    assert said.stdout.splitlines() == [str(folder / "data" / "tls" / "ca.pem")] * 3


@pytest.mark.parametrize("mode", ["off", "files"])
def test_where_there_is_no_private_authority_nothing_is_to_be_trusted(
    tmp_path: Path, mode: str
) -> None:
    write_pair(tmp_path / "cert.pem", tmp_path / "key.pem")
    settings = settings_of(tmp_path, mode)
    assert trust_lines(settings) == []
    assert (certificates_of(settings, ManualClock()) is None) == (mode == "off")
