"""`python -m gateway.cli.probe`: the container's health check; ends with 1 if nobody answers.

It asks the gateway that runs with this very configuration, file and environment alike. No command
of its own: from outside a container, `curl …/healthz` is the same.
"""

import http.client
import ipaddress
import ssl
import sys

from gateway.settings import Settings, SettingsError, load

_PATIENCE_S = 4.0


def alive(settings: Settings) -> bool:
    """Return whether the gateway of these settings answers that it lives."""
    server = settings.server
    if server.tls.mode == "off":
        connection = http.client.HTTPConnection(_host(server.host), server.port, _PATIENCE_S)
    else:
        # Whose certificate it is, is not the question here.
        unchecked = ssl.create_default_context()
        unchecked.check_hostname = False
        unchecked.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(
            _host(server.host), server.port, timeout=_PATIENCE_S, context=unchecked
        )
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _host(listening: str) -> str:
    """Return where to ask a server that listens there: everywhere includes here."""
    try:
        address = ipaddress.ip_address(listening)
    except ValueError:
        return listening or "127.0.0.1"
    if not address.is_unspecified:
        return listening
    return "127.0.0.1" if address.version == 4 else "::1"


def main() -> int:
    """Return the exit status."""
    try:
        return 0 if alive(load(None, for_upstream=False)) else 1
    except SettingsError:
        return 1  # the gateway itself has said why it does not start


if __name__ == "__main__":
    sys.exit(main())
