"""What machines ask about the gateway itself: alive, ready, and the numbers."""

import asyncio
import contextlib
import json
import logging
import os
import shutil
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from gateway.clock import Clock
from gateway.domain import http_problems, problems
from gateway.domain.instance import NONCE_HEADER, PROOF_HEADER, proof
from gateway.domain.plans import Identity, Role
from gateway.metrics import CONTENT_TYPE
from gateway.web.origin import came_through_proxy, is_loopback
from gateway.web.problem_response import ProblemError, problem_response
from gateway.web.request_facts import authorization, facts, header

_log = logging.getLogger(__name__)

Check = Callable[[], Awaitable[str | None]]
"""Looks at one thing; returns what is wrong with it, None if nothing is. May raise."""

_CHECK_WITHIN_S = 3.0
_REMEMBER_S = 1.0
MIN_FREE_BYTES = 64 * 1024 * 1024
"""Less free space than this, and neither documents nor the ledger's log can be written for long."""


class Alive:
    """Answers 200: the loop runs. To a nonce also with the proof that it is this gateway."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    async def healthz(self, request: Request) -> Response:
        """Answer at once; nothing is looked at."""
        response = Response(b"ok\n", media_type="text/plain")
        nonce = header(request.scope, NONCE_HEADER.encode())
        answer = None if nonce is None else proof(self._secret, nonce)
        if answer is not None:
            response.headers[PROOF_HEADER] = answer
        return response


class Readiness:
    """Answers whether this process can serve: 200, or a 503 that names what cannot be used.

    `draining` says that the gateway is shutting down, which makes it unready. Results are kept for
    a second, so that asking often does not wear out what is asked about.
    """

    def __init__(
        self, clock: Clock, checks: Mapping[str, Check], draining: Callable[[], bool]
    ) -> None:
        self._clock = clock
        self._checks = checks
        self._draining = draining
        self._faults: dict[str, str] = {}
        self._looked_at = float("-inf")
        self._looking = asyncio.Lock()

    async def readyz(self, _: Request) -> Response:
        """Answer whether new requests can be served."""
        if self._draining():
            return problem_response(problems.shutting_down())
        faults = await self.faults()
        if faults:
            return problem_response(http_problems.not_ready(faults))
        body = json.dumps({"status": "ready", "checks": dict.fromkeys(self._checks, "ok")})
        return Response(body.encode(), media_type="application/json")

    async def faults(self) -> dict[str, str]:
        """Return what is wrong, by the check's name; empty when all is well."""
        async with self._looking:  # who comes meanwhile gets the result of the one look
            if self._clock.monotonic() - self._looked_at >= _REMEMBER_S:
                names = list(self._checks)
                found = await asyncio.gather(*(self._look(name) for name in names))
                self._faults = {
                    name: fault for name, fault in zip(names, found, strict=True) if fault
                }
                self._looked_at = self._clock.monotonic()
            return self._faults

    async def _look(self, name: str) -> str | None:
        try:
            async with asyncio.timeout(_CHECK_WITHIN_S):
                fault = await self._checks[name]()
        except TimeoutError:
            fault = f"no answer in {_CHECK_WITHIN_S:g} s"
        except Exception as error:  # noqa: BLE001 - whatever it is, the check has failed
            fault = f"{type(error).__name__}: {error}"
        if fault is not None:
            _log.warning("not ready: %s: %s", name, fault)
        return fault


def disk_check(folder: Path, min_free_bytes: int = MIN_FREE_BYTES) -> Check:
    """Return the check that `folder` can be written to and has room."""

    def look() -> str | None:
        probe = folder / f".writable-{os.getpid()}"
        try:
            probe.write_bytes(b"x")
        except OSError as error:
            return f"cannot be written to: {error.strerror}"
        finally:
            with contextlib.suppress(OSError):
                probe.unlink()
        free = shutil.disk_usage(folder).free
        if free < min_free_bytes:
            return f"only {free:,} bytes are free"
        return None

    async def check() -> str | None:
        return await asyncio.to_thread(look)

    return check


class MetricsPage:
    """Serves the metrics: without a key to this machine, otherwise to admins.

    `render` may take long and is called in a thread; who asks meanwhile gets the same page. On the
    `metrics_port` listener the page is `open_page`, for everybody who can reach it.
    """

    def __init__(
        self,
        render: Callable[[], bytes],
        identify: Callable[[str | None], Awaitable[Identity | None]],
        contact: Callable[[], str],
    ) -> None:
        self._render = render
        self._identify = identify
        self._contact = contact
        self._rendering = asyncio.Lock()
        self._rendered = 0
        self._page = b""

    async def page(self, request: Request) -> Response:
        """Answer on the main port; raises ProblemError 401 or 403."""
        scope = request.scope
        if not is_loopback(scope) or came_through_proxy(scope):
            identity = await self._identify(authorization(scope))
            if identity is None:
                raise ProblemError(problems.unauthenticated())
            facts(scope).identified(identity.user_name)
            if not identity.may_administer:
                raise ProblemError(problems.role_required(Role.ADMIN, self._contact()))
        return await self.open_page(request)

    async def open_page(self, _: Request) -> Response:
        """Answer without asking who it is."""
        seen = self._rendered
        async with self._rendering:
            # A rendering that began after this request came is good for it, whoever began it; the
            # one that was under way at that moment is not.
            if self._rendered <= seen + 1:
                self._page = await asyncio.to_thread(self._render)
                self._rendered += 1
        return Response(
            self._page, headers={"content-type": CONTENT_TYPE, "cache-control": "no-store"}
        )
