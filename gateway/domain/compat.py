"""Where the official clients need to be told something in words that they know."""

import re

# The official clients name themselves: replicate-python/1.0.7, replicate-javascript/1.4.0,
# replicate/go…; the generated 2.x client calls itself Replicate/Python 2.0.0, its async half
# AsyncReplicate/Python.
_OFFICIAL = re.compile(r"(?:async)?replicate[-/]", re.IGNORECASE)


def aborted_as(setting: str, user_agent: str | None) -> str:
    """Return how this client reads the status `aborted`.

    The official clients loop or crash on it, so under "auto" they read `canceled`; whoever does not
    look like one of them reads what upstream wrote.
    """
    if setting != "auto":
        return setting
    return "canceled" if user_agent and _OFFICIAL.match(user_agent) else "aborted"
