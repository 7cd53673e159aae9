"""What one would use instead of the gateway: two small applications on the same server.

`raw` is the floor: an application without a framework, prebuilt bytes, nothing is checked. It also
serves one file, in pieces as large as the gateway's. `passthrough` is the proxy that one writes in
an afternoon: Starlette, httpx, the token put in, nothing kept. Both are started by
`uvicorn benchmarks.peers:…`; their surroundings come from the environment.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

UPSTREAM = os.environ.get("BENCH_UPSTREAM", "")
DELIVERY = os.environ.get("BENCH_DELIVERY", "")
TOKEN = os.environ.get("BENCH_TOKEN", "")
_BODY_FILE = os.environ.get("BENCH_BODY", "")
_FILE = os.environ.get("BENCH_FILE", "")
_PIECE = 1 << 20

_BODY = Path(_BODY_FILE).read_bytes() if _BODY_FILE else b""
_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(_BODY)).encode()),
    ],
}
_END = {"type": "http.response.body", "body": _BODY}


async def raw(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        return
    if scope["path"] != "/file":
        await send(_START)
        await send(_END)
        return
    size = await asyncio.to_thread(os.path.getsize, _FILE)
    headers = [(b"content-length", str(size).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    file = await asyncio.to_thread(open, _FILE, "rb")
    with file:
        while piece := await asyncio.to_thread(file.read, _PIECE):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def _client(app: Starlette) -> AsyncIterator[None]:
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        app.state.client = client
        yield


async def _forward(request: Request) -> Response:
    answer = await request.app.state.client.request(
        request.method,
        f"{UPSTREAM}/{request.path_params['path']}",
        content=await request.body(),
        headers={
            "authorization": f"Bearer {TOKEN}",
            "content-type": request.headers.get("content-type", "application/json"),
        },
    )
    kind = answer.headers.get("content-type")
    return Response(answer.content, answer.status_code, media_type=kind)


async def _deliver(request: Request) -> Response:
    client: httpx.AsyncClient = request.app.state.client
    wanted = client.build_request("GET", f"{DELIVERY}/{request.path_params['path']}")
    answer = await client.send(wanted, stream=True)
    headers = {"content-length": answer.headers["content-length"]}
    return StreamingResponse(
        answer.aiter_raw(), answer.status_code, headers, background=BackgroundTask(answer.aclose)
    )


passthrough = Starlette(
    routes=[
        Route("/replicate/delivery/{path:path}", _deliver),
        Route("/replicate/{path:path}", _forward, methods=["GET", "POST"]),
    ],
    lifespan=_client,
)
