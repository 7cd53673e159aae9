"""The private authority as others see it: where it is kept, and how clients are made to trust it.

What makes and signs certificates is in `authority`, which only those load who do: the library for
it is as large as a web framework.
"""

from pathlib import Path

from gateway.settings import Settings

CA_FILE = "ca.pem"
"""What clients are given."""


class AuthorityUnusable(Exception):
    """What is kept in the folder is not, or not wholly, an authority; the message says which."""


def ca_folder(settings: Settings) -> Path:
    """Return where the private authority is kept."""
    return settings.storage.data_dir / "tls"


def trust_lines(settings: Settings, ca_file: Path | None = None) -> list[str]:
    """Return the lines that make curl, Python and Node trust this gateway's authority.

    Each is complete and can be pasted into a shell of this machine; on another machine the file is
    a copy, `ca_file`. Empty unless `server.tls.mode` is "local-ca": others need nothing done.
    """
    if settings.server.tls.mode != "local-ca":
        return []
    path = str((ca_file or ca_folder(settings) / CA_FILE).absolute())
    quoted = path if _plain(path) else "'" + path.replace("'", "'\\''") + "'"
    return [
        f"export CURL_CA_BUNDLE={quoted}       # curl",
        f"export SSL_CERT_FILE={quoted}        # Python: httpx, and the official client on it",
        f"export NODE_EXTRA_CA_CERTS={quoted}  # Node.js",
    ]


def _plain(path: str) -> bool:
    return all(char.isalnum() or char in "/._-+:@%" for char in path)
