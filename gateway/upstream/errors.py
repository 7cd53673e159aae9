"""How a request to upstream can fail to bring an answer that may be passed on.

No message here quotes a URL, a header or a body: queries are signed and bodies are people's.
"""


class UpstreamError(Exception):
    """Base of all. `sent` is the question that decides about money.

    False: upstream has certainly not carried the request out. True: it may have.
    """

    sent: bool = True


class UpstreamUnreachable(UpstreamError):
    """No connection could be made, so nothing was sent."""

    sent = False


class UpstreamBroken(UpstreamError):
    """The connection broke, or talked no HTTP, after the request had gone out."""


class UpstreamTimeout(UpstreamError):
    """Upstream was silent for too long: while connecting (`sent` is False) or afterwards."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class UpstreamTokenRefused(UpstreamError):
    """Upstream does not accept the gateway's own token: a 401, or a 403 that says so."""

    sent = False

    def __init__(self, status: int) -> None:
        super().__init__(f"upstream answered {status}: it does not accept the token")
        self.status = status


class UpstreamGarbage(UpstreamError):
    """An answer that cannot be passed on: not JSON where JSON is due, undecodable, or too large.

    A 4xx of this kind is still a refusal (`sent` is False).
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"upstream answered {status}: {reason}")
        self.status = status
        self.reason = reason
        self.sent = not 400 <= status < 500


class AllowanceExhausted(UpstreamError):
    """The account's allowance had no room within the time that the request could wait.

    `retry_after` is an honest guess in whole seconds, at least 1: what stands in line now, at the
    rate at which upstream lets it through.
    """

    sent = False

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"the account's allowance is used up for another {retry_after} s")
        self.retry_after = retry_after


class AccountUnknown(UpstreamError):
    """Upstream answered, but did not say whose account it is; what was to follow was not sent."""

    sent = False


class StreamRefused(UpstreamError):
    """Asked for a stream of events, upstream answered something else (`status`)."""

    def __init__(self, status: int, reason: str = "") -> None:
        super().__init__(reason or f"upstream answered {status} instead of a stream")
        self.status = status
