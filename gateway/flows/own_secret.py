"""The caller's own webhook signing secret, in the form that the official verifiers read."""

from functools import partial

from gateway.domain import problems
from gateway.domain.json_text import encode
from gateway.flows.answer import Answer, Caller, Refused
from gateway.flows.present import JSON
from gateway.ledger import Ledger, users


class OwnSecret:
    """Tells users the secret that their webhooks are signed with; upstream's is nobody's."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def __call__(self, caller: Caller) -> Answer:
        """Answer with the secret.

        Raises:
            Refused: 404 for a user who was removed a moment ago.
        """
        user = await self._ledger.read(partial(users.get_user, name_or_id=caller.identity.user_id))
        if user is None:
            raise Refused(problems.not_found("user"))
        body = encode({"key": user.webhook_secret})
        return Answer(200, (JSON, ("cache-control", "no-store")), body)
