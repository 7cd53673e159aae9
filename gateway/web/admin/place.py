"""Where the administration lives, and who makes a change in it."""

from gateway.flows.administer import Actor
from gateway.web.endpoints import Call

PREFIX = "/admin/v1"


def actor_of(call: Call) -> Actor:
    """Return who makes a change, and from where."""
    return Actor(f"admin API: {call.identity.user_name}", call.client)
