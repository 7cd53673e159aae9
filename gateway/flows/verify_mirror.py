"""Compare what is kept with what the ledger says, and both with what was stored."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from gateway.clock import Clock
from gateway.ledger import Ledger, files
from gateway.mirror import Finding, Mirror, key_of

_PAGE = 500

NOBODYS = "belongs to no prediction"
MISSING = "bytes missing"


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one file; `url` is None when nobody knows it."""

    key: str
    url: str | None
    what: str


@dataclass(slots=True)
class Verified:
    """How many files were looked at, and what is wrong."""

    checked: int = 0
    faults: list[Fault] = field(default_factory=list)


class VerifyMirror:
    """Looks at every file. With `repair` damaged bytes go and are fetched again while upstream has
    them, and so do bytes that belong to nobody.
    """

    def __init__(self, ledger: Ledger, mirror: Mirror, clock: Clock) -> None:
        self._ledger = ledger
        self._mirror = mirror
        self._clock = clock

    async def __call__(
        self, *, repair: bool = False, progress: Callable[[], None] = lambda: None
    ) -> Verified:
        """Verify; takes as long as reading everything does."""
        found = Verified()
        begun = self._clock.now()
        kept: dict[str, str | None] = {}
        async for finding in self._mirror.verify():
            kept[finding.key] = _fault(finding)
            found.checked += 1
            progress()
        url = ""
        while page := await self._ledger.read(partial(files.after, url=url, limit=_PAGE)):
            url = page[-1].url
            for file in page:
                key = key_of(file.url)
                known = key in kept
                fault = kept.pop(key, None)
                if file.state == "gone" and known:
                    found.faults.append(Fault(key, file.url, "should be gone"))
                elif fault is not None:
                    found.faults.append(Fault(key, file.url, fault))
                elif file.state == "stored" and not known and (file.stored_at or 0) < begun:
                    found.faults.append(Fault(key, file.url, MISSING))
        # A file that arrived meanwhile has its row by now.
        found.faults += [Fault(key, None, fault or NOBODYS) for key, fault in kept.items()]
        if repair:
            for each in found.faults:
                await self._repair(each)
        return found

    async def _repair(self, fault: Fault) -> None:
        await self._mirror.delete_key(fault.key)
        if fault.url is not None:
            await self._ledger.write(
                partial(files.want_again, url=fault.url, now=self._clock.now())
            )


def _fault(finding: Finding) -> str | None:
    return None if finding.problem is None else finding.problem.value.replace("_", " ")
