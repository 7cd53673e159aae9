"""Noticing that a client has left while a long response is being sent.

The server swallows what is sent to a connection that is gone, without a word and without slowing
the sender down: a file or a stream would be read to its end for nobody. It tells of the departure
only to whoever asks for the next message of the request.
"""

import asyncio
from collections.abc import Coroutine

from starlette.requests import ClientDisconnect
from starlette.types import Receive


async def while_connected(receive: Receive, work: Coroutine[object, object, None]) -> None:
    """Run `work` (the sending of a response) and cancel it as soon as the client leaves.

    The body of the request must have been read, since whatever else arrives is dropped.

    Raises:
        ClientDisconnect: the client left; `work` has ended when this is raised.
    """
    async with asyncio.TaskGroup() as group:
        sending = group.create_task(work, name="response")
        listening = group.create_task(_departure(receive), name="departure")
        await asyncio.wait((sending, listening), return_when=asyncio.FIRST_COMPLETED)
        left = not sending.done()
        sending.cancel()
        listening.cancel()
    if left:
        raise ClientDisconnect


async def _departure(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
