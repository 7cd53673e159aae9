"""How a simulated model reads a file that its input names: over HTTP, like a real one.

Only the simulation's own uploads and outputs, and `data:` URIs: no traffic leaves the machine.
"""

import asyncio
import base64
import binascii
import hashlib
import ssl
from urllib.parse import quote, urlencode, urlsplit

from gateway.simulator.pictures import thumbnail
from gateway.simulator.scripts import FetchedInput
from gateway.simulator.world import World

INTERNAL_HEADER = "x-simulated-model"
_SIGNED_FOR_S = 300
_TIMEOUT_S = 20.0


class NotFetched(Exception):
    """The file could not be had."""


async def fetch_input(world: World, url: str) -> FetchedInput:
    """Fetch a picture; whatever goes wrong is told in the outcome."""
    try:
        content = await _fetch(world, url)
    except NotFetched as error:
        return FetchedInput(error=str(error))
    small = await asyncio.to_thread(thumbnail, content)
    if small is None:
        return FetchedInput(error="cannot identify image file")
    digest = hashlib.sha256(content).hexdigest()
    return FetchedInput(None, small, len(content), digest)


async def _fetch(world: World, url: str) -> bytes:
    if url.startswith("data:"):
        return _inline(url)
    address = url
    upload_prefix = world.addresses.v1("/files/")
    if url.startswith(upload_prefix):
        address = _signed(world, url.removeprefix(upload_prefix))
    elif not url.startswith(f"{world.addresses.delivery}/"):
        raise NotFetched(f"cannot fetch {url}: not a host that this simulation may read")
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            status, content = await _get(address)
    except (OSError, TimeoutError, ValueError) as error:
        raise NotFetched(f"cannot fetch {url}: {error!r}") from error
    if status != 200:
        raise NotFetched(f"cannot fetch {url}: HTTP {status}")
    return content


def _inline(url: str) -> bytes:
    head, _, text = url.partition(",")
    if not head.endswith(";base64"):
        raise NotFetched("only base64 data URIs are read")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise NotFetched("the data URI is not base64") from error


def _signed(world: World, file_id: str) -> str:
    owner, expiry = world.config.username, int(world.now()) + _SIGNED_FOR_S
    query = {
        "owner": owner,
        "expiry": str(expiry),
        "signature": world.addresses.signature(owner, file_id, expiry),
    }
    return world.addresses.v1(f"/files/{quote(file_id)}/download?{urlencode(query)}")


async def _get(url: str) -> tuple[int, bytes]:
    """Do one GET on a connection of its own; answers with a length only."""
    parts = urlsplit(url)
    context: ssl.SSLContext | None = None
    if parts.scheme == "https":
        # Its own origin, with whatever certificate it was given.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=context)
    try:
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        lines = [
            f"GET {target} HTTP/1.1",
            f"Host: {parts.netloc}",
            f"{INTERNAL_HEADER}: 1",
            "Connection: close",
        ]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(head[0].split(" ")[1])
        fields = (line.partition(":") for line in head[1:])
        headers = {name.strip().lower(): value.strip() for name, _, value in fields}
        return status, await reader.readexactly(int(headers.get("content-length", "0")))
    except asyncio.IncompleteReadError as error:
        raise ValueError("the file broke off") from error
    finally:
        writer.close()
