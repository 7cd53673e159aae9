"""What everything has in common that calls others: connections, open from entering to leaving."""

from types import TracebackType
from typing import Self

from gateway.upstream.wire import Wire


class Connected:
    """Closes its wires, and with them their idle connections, when it is left."""

    def __init__(self, *wires: Wire) -> None:
        self._wires = wires

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for wire in self._wires:
            await wire.aclose()
