"""The gateway's errors about HTTP itself, before anybody asks what the request is for.

In the shape and by the rules of :mod:`gateway.domain.problems`.
"""

from collections.abc import Mapping

from gateway.domain.problems import Problem, printable

_FINAL = (("x-should-retry", "false"),)


def not_http() -> Problem:
    """400: what came is no request of HTTP/1.1."""
    return Problem(
        400, "Invalid request", "This is not a request that HTTP/1.1 knows", headers=_FINAL
    )


def head_too_large(limit: int) -> Problem:
    """431: request line and headers are longer than the server reads."""
    return Problem(
        431,
        "Request header fields too large",
        f"Request line and headers must not exceed {limit:,} bytes",
        headers=_FINAL,
    )


def invalid_host() -> Problem:
    """400: the Host header (or a trusted proxy's word for it) is no host."""
    return Problem(400, "Invalid host", "The Host header does not name a host", headers=_FINAL)


def key_in_address() -> Problem:
    """400: a key stands in the path or the query. It is in somebody's log by now."""
    return Problem(
        400,
        "Key in the address",
        "A key of this gateway stands in the address, where everything on the way can read it. "
        "Send it in the header, as in Authorization: Bearer hk-…, and replace this key: "
        "whoever can read a log may have it",
        headers=_FINAL,
    )


def unsupported_encoding() -> Problem:
    """415: the body is compressed. Neither the official clients nor the official API do that."""
    return Problem(
        415,
        "Unsupported content encoding",
        "Send the body uncompressed: without Content-Encoding",
        headers=(("Accept-Encoding", "identity"), *_FINAL),
    )


def body_timed_out(idle_s: float) -> Problem:
    """408: the client announced a body and then sent nothing of it for too long."""
    return Problem(
        408,
        "Request timed out",
        f"Nothing of the body arrived for {idle_s:g} s",
        headers=(("Connection", "close"), *_FINAL),
    )


def not_ready(faults: Mapping[str, str]) -> Problem:
    """503 of `/readyz`: what cannot be used, by name."""
    named = {name: printable(fault) for name, fault in faults.items()}
    return Problem(
        503,
        "Not ready",
        "; ".join(f"{name}: {fault}" for name, fault in named.items()),
        headers=(("Retry-After", "1"),),
        extra={"checks": named},
    )
