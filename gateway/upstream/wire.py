"""One request over one connection: httpx's transport seam over aiohttp, exact about what happened.

httpx's own pool scans all connections on every request, so its cost grows with the square of what
is in flight, and blocking creates keep hundreds in flight. `httpx-aiohttp` stays flat. Three things
it does are not good enough here, and are done anew below:

- it lets the URL be quoted again, and a signed query must arrive as it was signed;
- it calls a connection that was closed after the request a failed connect, and whether a request
  went out decides about money;
- it hands bodies on in pieces of 16 KB, which is dear for large files.

The transport is called directly, without `httpx.AsyncClient`: that one keeps a cookie jar, which
would carry one user's cookies into another's request, and costs as much as the request itself.
"""

import asyncio
import contextlib
import io
import ssl
from collections.abc import AsyncIterator, Iterator
from typing import Final

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport
from yarl import URL

from gateway.upstream.errors import UpstreamBroken, UpstreamTimeout, UpstreamUnreachable

# Idle connections are kept shorter than servers and balancers keep theirs.
_KEEPALIVE_S: Final = 15.0
_DNS_CACHE_S: Final = 30
# Locations of signed files and cookies of a CDN are longer than aiohttp's 8 KB.
_LONGEST_HEADER: Final = 65_536
_LARGE_BODY: Final = 1024 * 1024
_GUARD_SLACK_S: Final = 1.0


def tls_context() -> ssl.SSLContext:
    """Return the context for talking to the world: made once and shared, it takes 20 ms to load."""
    return httpx.create_ssl_context(trust_env=False)


class Wire(AiohttpTransport):
    """Sends requests; no cookies, no redirects, no proxies of the environment, no decoding.

    `reuse=False` makes a connection for each request: one that is kept may be closed by the other
    end just as the next request goes out, and then nobody knows whether it was carried out.

    Raises UpstreamUnreachable, UpstreamTimeout and UpstreamBroken, here and from the body's stream.
    A request's `extensions["timeout"]["read"]` is the longest silence allowed, in seconds;
    `extensions["target"]` its URL in the very spelling that is to go out, where httpx has another.
    """

    def __init__(
        self,
        *,
        context: ssl.SSLContext,
        connect_timeout_s: float,
        reuse: bool = True,
        buffer: int = 65_536,
        socket_factory: aiohttp.SocketFactoryType | None = None,
    ) -> None:
        super().__init__(verify=context, trust_env=False, client=self._open_session)
        self._connect_timeout_s = connect_timeout_s
        self._reuse = reuse
        self._buffer = buffer
        self._socket_factory = socket_factory

    def _open_session(self) -> aiohttp.ClientSession:
        checked = self._socket_factory is not None
        connector = aiohttp.TCPConnector(
            limit=0,
            ssl=self.ssl_context,
            ttl_dns_cache=_DNS_CACHE_S,
            # One address after the other where each is looked at before it is connected to.
            happy_eyeballs_delay=None if checked else 0.25,
            socket_factory=self._socket_factory,
            **({"keepalive_timeout": _KEEPALIVE_S} if self._reuse else {"force_close": True}),
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            read_bufsize=self._buffer,
            max_line_size=_LONGEST_HEADER,
            max_field_size=_LONGEST_HEADER,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it and return when the answer's head has come."""
        if not isinstance(self.client, aiohttp.ClientSession):
            self.client = self._open_session()
        silence_s: float = request.extensions["timeout"]["read"]
        target: str = request.extensions.get("target") or str(request.url)
        outgoing = Outgoing(request.stream, silence_s) if not _has_bytes(request) else None
        try:
            with translated():
                async with asyncio.timeout(
                    self._connect_timeout_s + silence_s + _GUARD_SLACK_S
                ) as guard:
                    if outgoing is not None:
                        outgoing.guard = guard
                    response = await self.client.request(
                        request.method,
                        URL(target, encoded=True),
                        headers=[
                            one
                            for one in request.headers.multi_items()
                            if one[0] != "transfer-encoding"  # aiohttp chooses
                        ],
                        data=outgoing or _in_pieces(request.content),
                        allow_redirects=False,
                        timeout=aiohttp.ClientTimeout(
                            total=None,
                            connect=self._connect_timeout_s,
                            sock_connect=self._connect_timeout_s,
                            sock_read=silence_s,
                        ),
                    )
        except (UpstreamBroken, UpstreamTimeout):
            if outgoing is not None and outgoing.failure is not None:
                raise outgoing.failure from None
            raise
        finally:
            if outgoing is not None:
                outgoing.guard = None
        return httpx.Response(
            response.status,
            headers=response.raw_headers,
            stream=_Incoming(response),
            request=request,
        )


class Outgoing:
    """A body that is sent as it comes in.

    While its source is slow, upstream is not to blame: the guard runs only while upstream takes.
    `failure` is the source's own exception, which would otherwise look like upstream's.
    """

    def __init__(self, source: httpx.SyncByteStream | httpx.AsyncByteStream, silence_s: float):
        if not isinstance(source, httpx.AsyncByteStream):
            raise TypeError("a body is bytes or an asynchronous iterator")
        self._source = source
        self._silence_s = silence_s
        self.guard: asyncio.Timeout | None = None
        self.failure: Exception | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._wait_for_upstream(waiting=False)
        try:
            async for chunk in self._source:
                self._wait_for_upstream(waiting=True)
                yield chunk
                self._wait_for_upstream(waiting=False)
        except Exception as failure:
            self.failure = failure
            raise
        self._wait_for_upstream(waiting=True)

    def _wait_for_upstream(self, *, waiting: bool) -> None:
        if self.guard is not None and not self.guard.expired():
            now = asyncio.get_running_loop().time()
            self.guard.reschedule(now + self._silence_s if waiting else None)


class _Incoming(httpx.AsyncByteStream):
    """A body as it arrives: whatever is there, at once."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        content = self._response.content
        while True:
            with translated():
                chunk = await content.readany()
            if not chunk:
                return
            yield chunk

    async def aclose(self) -> None:
        """Give the connection back if the body was read to its end, else close it."""
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()


def _in_pieces(body: bytes) -> bytes | io.BytesIO | None:
    # Written in one piece, a large body would hold up everybody else on the loop.
    return io.BytesIO(body) if len(body) > _LARGE_BODY else body or None


def _has_bytes(request: httpx.Request) -> bool:
    try:
        return request.content is not None
    except httpx.RequestNotRead:
        return False


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn aiohttp's exceptions into the room's own, without their texts, which may quote URLs."""
    try:
        yield
    except aiohttp.ConnectionTimeoutError:
        raise UpstreamTimeout("no connection in time", sent=False) from None
    except aiohttp.ClientConnectorError as failure:
        reason = failure.os_error.strerror or type(failure.os_error).__name__
        raise UpstreamUnreachable(f"no connection: {reason}") from None
    except TimeoutError:  # aiohttp's SocketTimeoutError is one, and so is the guard's
        raise UpstreamTimeout("no answer in time", sent=True) from None
    except (aiohttp.ClientError, OSError) as failure:
        raise UpstreamBroken(f"the connection broke: {type(failure).__name__}") from None
