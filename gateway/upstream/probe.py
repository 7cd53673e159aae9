"""One question to one address, for whoever examines a set-up: what answers there, and if not, why.

Asked a few times by a person, so it needs no pool, and names the cause of a failure in words that a
person can do something with. Blocks: call it in a thread.
"""

import http.client
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

_LARGEST = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Probed:
    """What answered. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class ProbeFailed(Exception):
    """Nothing answered; the message says why. `untrusted`: something does, with a certificate that
    is not believed. `refused`: nobody listens there.
    """

    def __init__(self, why: str, *, untrusted: bool = False, refused: bool = False) -> None:
        super().__init__(why)
        self.untrusted = untrusted
        self.refused = refused


def probe(
    url: str,
    *,
    context: ssl.SSLContext | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 5.0,
) -> Probed:
    """Ask with GET; follows nothing, uses no proxy. Raises ProbeFailed."""
    where = urlsplit(url)
    host = where.hostname or ""
    line: http.client.HTTPConnection
    if where.scheme == "https":
        line = http.client.HTTPSConnection(host, where.port, timeout=timeout_s, context=context)
    else:
        line = http.client.HTTPConnection(host, where.port, timeout=timeout_s)
    try:
        line.request("GET", where.path or "/", headers=dict(headers or {}))
        answer = line.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Probed(answer.status, found, answer.read(_LARGEST))
    except ssl.SSLCertVerificationError as error:
        raise ProbeFailed(error.verify_message, untrusted=True) from error
    except ssl.SSLError as error:
        raise ProbeFailed(f"no TLS is spoken there ({error.reason or error})") from error
    except socket.gaierror as error:
        raise ProbeFailed(f"there is no address for {host}") from error
    except ConnectionRefusedError as error:
        raise ProbeFailed("nobody listens there", refused=True) from error
    except TimeoutError as error:
        raise ProbeFailed(f"no answer in {timeout_s:g} s") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ProbeFailed(str(error) or type(error).__name__) from error
    finally:
        line.close()
