import asyncio
import contextlib
import datetime
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.upstream import webhook_sender
from gateway.upstream.webhook_sender import Delivered, Failed, WebhookSender
from tests.upstream.wild import Conversation, WildServer, always, each, says, wild

BODY = b'{"id":"a"}'
HEADERS = (("Webhook-Id", "msg_1"), ("Content-Type", "application/json"))


@contextlib.asynccontextmanager
async def sender(
    context: ssl.SSLContext, *, allow_private: bool = True, timeout_s: float = 1
) -> AsyncIterator[WebhookSender]:
    async with WebhookSender(
        timeout_s=timeout_s, allow_private=allow_private, context=context
    ) as opened:
        yield opened


async def test_a_webhook_is_posted_with_its_headers_and_body(context: ssl.SSLContext) -> None:
    async with wild(always(b"thanks", status=202)) as server, sender(context) as opened:
        for _ in range(2):
            result = await opened.deliver(f"{server.origin}/hook?a=%2F", HEADERS, BODY)
            assert result == Delivered(202)
        seen = server.requests[0]
        assert seen.line == "POST /hook?a=%2F HTTP/1.1"
        assert seen.body == BODY
        assert seen.header("webhook-id") == "msg_1"
        assert seen.header("host") == f"127.0.0.1:{server.port}"
        assert server.connections == 2


@pytest.mark.parametrize("status", [301, 302, 307, 400, 404, 500, 503])
async def test_whatever_is_not_2xx_is_a_failure_and_redirects_are_not_followed(
    context: ssl.SSLContext, status: int
) -> None:
    async with wild(always(status=status, headers=("Location: /elsewhere",))) as server:
        async with sender(context) as opened:
            result = await opened.deliver(f"{server.origin}/hook", HEADERS, BODY)
        assert isinstance(result, Failed)
        assert result.status == status
        assert len(server.requests) == 1


async def hang(talk: Conversation) -> None:
    await asyncio.sleep(60)


async def reset(talk: Conversation) -> None:
    talk.reset()


async def garbage(talk: Conversation) -> None:
    await talk.send(b"hello\r\n\r\n")


@pytest.mark.parametrize("step", [hang, reset, garbage])
async def test_what_a_receiver_does_never_raises(context: ssl.SSLContext, step: object) -> None:
    async def handler(talk: Conversation) -> None:
        await talk.request()
        await step(talk)  # type: ignore[operator]  # a step

    async with wild(handler) as server, sender(context, timeout_s=0.3) as opened:
        result = await opened.deliver(f"{server.origin}/hook", HEADERS, BODY)
    assert isinstance(result, Failed)
    assert result.status is None


async def test_an_endless_answer_is_not_read(context: ssl.SSLContext) -> None:
    async def endless(talk: Conversation) -> None:
        await talk.answer(b"", headers=("Content-Length: 100000000000",))
        with contextlib.suppress(ConnectionError):
            while True:
                await talk.send(b"x" * 100_000)

    async with wild(each(endless)) as server, sender(context) as opened:
        async with asyncio.timeout(3):
            result = await opened.deliver(f"{server.origin}/hook", HEADERS, BODY)
    assert result == Delivered(200)


@pytest.mark.parametrize(
    "url",
    ["https://127.0.0.1:{port}/", "https://[::ffff:127.0.0.1]:{port}/", "http://example.com/", "?"],
)
async def test_an_address_inside_is_refused_by_its_spelling(
    context: ssl.SSLContext, url: str
) -> None:
    async with wild(each(says())) as server, sender(context, allow_private=False) as opened:
        result = await opened.deliver(url.format(port=server.port), HEADERS, BODY)
        assert isinstance(result, Failed)
        assert server.connections == 0


async def test_a_public_name_that_resolves_to_an_address_inside_is_not_connected_to(
    context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with wild(each(says())) as server, sender(context, allow_private=False) as opened:
        inside = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [inside])
        url = f"https://innocent.example:{server.port}/hook"
        result = await opened.deliver(url, HEADERS, BODY)
        assert result == Failed("the URL's host has an address that is not public")
        assert server.connections == 0


def make_authority(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return a server's context with a certificate for `name`, and a client's that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    file = folder / "both.pem"
    file.write_bytes(
        pem
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    return server, ssl.create_default_context(cadata=pem.decode())


async def test_the_checked_address_is_connected_to_with_the_names_host_and_sni(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving, trusting = make_authority(tmp_path, "innocent.example")
    names: list[str | None] = []
    serving.sni_callback = lambda _, name, __: names.append(name)
    checked: list[str] = []

    def allow_loopback(address: str, *, allow_private: bool) -> bool:
        assert not allow_private
        checked.append(address)
        return True

    monkeypatch.setattr(webhook_sender, "address_allowed", allow_loopback)
    server: WildServer
    async with (
        wild(each(says()), context=serving) as server,
        sender(trusting, allow_private=False) as opened,
    ):
        there = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [there])
        url = f"https://innocent.example:{server.port}/hook"
        assert await opened.deliver(url, HEADERS, BODY) == Delivered(200)
        assert server.requests[0].header("host") == f"innocent.example:{server.port}"
    assert names == ["innocent.example"]
    assert checked == ["127.0.0.1"]


async def test_a_certificate_for_another_name_is_not_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving, trusting = make_authority(tmp_path, "somebody.example")
    monkeypatch.setattr(webhook_sender, "address_allowed", lambda *_, **__: True)
    async with (
        wild(each(says()), context=serving) as server,
        sender(trusting, allow_private=False) as opened,
    ):
        there = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [there])
        url = f"https://innocent.example:{server.port}/hook"
        assert isinstance(await opened.deliver(url, HEADERS, BODY), Failed)
        assert server.requests == []
