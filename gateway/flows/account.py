"""The upstream account's name, which every prediction is recorded with."""

import asyncio
import hashlib
import logging
from functools import partial

from gateway.domain.foreign_json import load_foreign
from gateway.domain.json_text import InvalidJson
from gateway.ledger import Ledger, published
from gateway.upstream import OPERATIONS, Upstream, Urgency
from gateway.upstream.errors import AccountUnknown

_log = logging.getLogger(__name__)


class Account:
    """Asks upstream once whose token it is; the ledger remembers it for the next start."""

    def __init__(self, ledger: Ledger, upstream: Upstream, token: str) -> None:
        self._ledger = ledger
        self._upstream = upstream
        # A fact of the ledger must not hold the token, nor anything to try tokens against quickly.
        digest = hashlib.scrypt(token.encode(), salt=b"account", n=2**12, r=8, p=1, dklen=12)
        self._fact = f"account:{digest.hex()}"
        self._name: str | None = None
        self._asking = asyncio.Lock()

    @property
    def known(self) -> str | None:
        """The account's name if it was found out already."""
        return self._name

    async def __call__(self) -> str:
        """Return the account's username.

        Raises:
            AccountUnknown: upstream must be asked and does not answer with an account.
            UpstreamError: it must be asked and cannot be.
        """
        if self._name is not None:
            return self._name
        async with self._asking:
            if self._name is None:
                self._name = await self._find_out()
        return self._name

    async def _find_out(self) -> str:
        known = await self._ledger.read(partial(published.recall, name=self._fact))
        if known is not None:
            return known
        answer = await self._upstream.call(
            OPERATIONS["account.get"], "/v1/account", urgency=Urgency.ACT
        )
        name = _username(answer.body) if answer.status == 200 else None
        if name is None:
            raise AccountUnknown(f"upstream answered {answer.status} when asked for the account")
        _log.info("the upstream account is %s", name)
        return await self._ledger.write(partial(published.remember, name=self._fact, value=name))


def _username(body: bytes) -> str | None:
    try:
        document = load_foreign(body)
    except InvalidJson:
        return None
    name = document.get("username") if isinstance(document, dict) else None
    return name if isinstance(name, str) and name else None
