"""Names that people choose for users."""

import re

_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")


def user_name_fault(name: str) -> str | None:
    """Say why a new user cannot have this name: it would not fit a label or a path."""
    if _USER.fullmatch(name) is not None:
        return None
    return 'must be up to 64 letters, digits and ". _ @ + -", beginning with a letter or a digit'
