import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import pytest

from gateway.clock import Clock, SystemClock
from gateway.upstream.allowance import Allowance
from gateway.upstream.client import Upstream
from gateway.upstream.hooks import Hooks
from gateway.upstream.wire import tls_context


class Connect(Protocol):
    def __call__(
        self,
        base_url: str,
        *,
        clock: Clock = ...,
        read_timeout_s: float = ...,
        connect_timeout_s: float = ...,
        max_queue_s: float = ...,
        creates_per_minute: float = ...,
        hooks: Hooks | None = ...,
        max_answer_bytes: int = ...,
    ) -> AbstractAsyncContextManager[Upstream]: ...


@pytest.fixture(scope="session")
def context() -> ssl.SSLContext:
    return tls_context()


@pytest.fixture
def connect(context: ssl.SSLContext) -> Callable[..., AbstractAsyncContextManager[Upstream]]:
    @contextlib.asynccontextmanager
    async def connected(
        base_url: str,
        *,
        clock: Clock | None = None,
        read_timeout_s: float = 5.0,
        connect_timeout_s: float = 2.0,
        max_queue_s: float = 5.0,
        creates_per_minute: float = 60_000,
        hooks: Hooks | None = None,
        max_answer_bytes: int = 1_000_000,
    ) -> AsyncIterator[Upstream]:
        clock = clock or SystemClock()
        allowance = Allowance(
            creates_per_minute=creates_per_minute,
            requests_per_minute=60_000,
            max_queue_s=max_queue_s,
            clock=clock,
            hooks=hooks,
        )
        upstream = Upstream(
            base_url=base_url,
            token="r8_secret",
            connect_timeout_s=connect_timeout_s,
            read_timeout_s=read_timeout_s,
            allowance=allowance,
            clock=clock,
            hooks=hooks,
            max_answer_bytes=max_answer_bytes,
            context=context,
        )
        async with upstream:
            yield upstream

    return connected
