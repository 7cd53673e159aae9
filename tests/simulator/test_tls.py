"""All public origins at https:, as the official clients want files to be."""

import datetime
import io
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from PIL import Image

from gateway.simulator import Fault, FaultKind, Simulator, SimulatorConfig
from tests.simulator.conftest import Api
from tests.support.clock import ManualClock


def make_certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return cert_file, key_file


@pytest.fixture
async def secure(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Api]:
    cert_file, key_file = make_certificate(tmp_path)
    config = SimulatorConfig(host="localhost", tls_cert_file=cert_file, tls_key_file=key_file)
    trust = ssl.create_default_context(cafile=str(cert_file))
    async with (
        Simulator(config, clock) as simulator,
        httpx.AsyncClient(verify=trust, timeout=20) as client,
    ):
        yield Api(simulator, clock, client)


async def test_every_address_in_a_document_is_https_and_works(secure: Api) -> None:
    done = await secure.finished("black-forest-labs/flux-schnell", {"prompt": "x"})
    assert done["urls"]["get"].startswith("https://localhost:")
    picture = await secure.plain(done["output"][0])
    assert Image.open(io.BytesIO(picture.content)).format == "WEBP"
    assert "event: done" in (await secure.plain(done["urls"]["stream"])).text


async def test_next_links_may_still_begin_with_http(secure: Api) -> None:
    for number in range(101):
        secure.simulator.create("simulated/echo", {"value": number})
    assert (await secure.get("/predictions")).json()["next"].startswith("https://")
    secure.simulator.configure(http_next_links=True)
    assert (await secure.get("/predictions")).json()["next"].startswith("http://localhost:")


async def test_models_fetch_and_connections_break_over_tls_too(secure: Api) -> None:
    first = await secure.finished("simulated/single-picture", {"prompt": "x"})
    fresh = await secure.create("simulated/image-to-image", {"image": first["output"]})
    secure.clock.advance(0.5)
    known = secure.simulator.prediction
    await secure.until(lambda: "Read " in str((known(fresh["id"]) or {}).get("logs")))
    secure.clock.advance(60)
    assert (await secure.read(fresh))["status"] == "succeeded"
    secure.simulator.faults.add(Fault(FaultKind.RESET_AFTER, "account.get"))
    with pytest.raises(httpx.TransportError):
        await secure.get("/account")
