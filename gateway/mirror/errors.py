"""What can go wrong for somebody who wants a file. None of the messages names its URL."""


class OutputError(Exception):
    """A file cannot be had; the subclasses say why, because each is answered differently."""


class OutputGone(OutputError):
    """Upstream no longer has the file (404 or 410), and it is not stored here."""


class OutputUnreachable(OutputError):
    """Upstream could not be reached, or refused; ``status`` is None if it never answered."""

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason, status)
        self.reason = reason
        self.status = status

    def __str__(self) -> str:
        return self.reason


class OutputBroken(OutputError):
    """The bytes ended too early: the response that carries them must be broken off, not ended."""


class MirrorClosed(RuntimeError):
    """The mirror is shutting down and takes on nothing new."""
