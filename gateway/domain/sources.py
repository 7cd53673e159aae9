"""What a fetch of an output file can end in, besides bytes.

These names are shared by the room that fetches (upstream) and the rooms that want the bytes, so
that none of them has to import another. A source's answer itself is described where it is consumed.
"""


class SourceUnreachable(Exception):
    """The source was not reached, broke off or fell silent. Another attempt may succeed."""


class SourceRefused(Exception):
    """The source answered, and what it said is not the file.

    `status` is the HTTP status of that answer: 404 and 410 mean that the file is gone; 403 is also
    what an address outside the configured delivery origins gets, without anybody being asked.
    """

    def __init__(self, status: int, reason: str = "") -> None:
        super().__init__(reason or f"the source answered {status}")
        self.status = status
