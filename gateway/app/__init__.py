"""The only place where services are made and tied together."""

from gateway.app.assembly import Gateway
from gateway.app.policy import policy_of

__all__ = ["Gateway", "policy_of"]
