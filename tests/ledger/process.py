"""A process of its own on one ledger, for tests about several of them. Talks in lines on stdout.

race FOLDER LIMIT TIMES NAME     tries TIMES reservations under one quota; prints how many it got
load FOLDER NAME                 writes for ever; prints each write's name once it is acknowledged
"""

import asyncio
import sys
from functools import partial
from pathlib import Path

from gateway.clock import SystemClock
from gateway.domain.usage import Usage
from gateway.ledger import Connection, Ledger, creates, predictions
from tests.support.ledgers import NOW, deciding, prediction, reservation, rule, settlement

SHARED = "team:red"


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def reserve(conn: Connection, name: str, limit: int) -> bool:
    asked = reservation(name, user=name.partition("-")[0], team="red")
    rules = [(rule(limit=limit), SHARED)]
    return isinstance(creates.reserve(conn, asked, rules, None, deciding()), creates.Reserved)


async def race(folder: Path, limit: int, times: int, name: str) -> None:
    async with Ledger("", SystemClock(), folder=folder) as ledger:
        say("ready")
        sys.stdin.readline()
        got = await asyncio.gather(
            *(
                ledger.write(partial(reserve, name=f"{name}-{number}", limit=limit), durable=True)
                for number in range(times)
            )
        )
        say(sum(got))


async def load(folder: Path, name: str) -> None:
    async def one_after_the_other(lane: int) -> None:
        number = 0
        while True:
            this = f"{name}-{lane}-{number}"
            number += 1
            await ledger.write(partial(reserve, name=this, limit=10**9), durable=True)
            say("reserved", this)
            made = prediction(f"p-{this}")
            await ledger.write(
                partial(creates.record, create_id=this, prediction=made, files=(), now=NOW),
                durable=True,
            )
            say("recorded", this)
            end = settlement(usage=Usage(7, 1, 1, 1), document=this.encode())
            await ledger.write(
                partial(predictions.settle, prediction_id=f"p-{this}", settlement=end), durable=True
            )
            say("settled", this)

    async with Ledger("", SystemClock(), folder=folder) as ledger:
        say("ready")
        async with asyncio.TaskGroup() as group:
            for lane in range(8):
                group.create_task(one_after_the_other(lane))


if __name__ == "__main__":
    command, where, *rest = sys.argv[1:]
    if command == "race":
        asyncio.run(race(Path(where), int(rest[0]), int(rest[1]), rest[2]))
    else:
        asyncio.run(load(Path(where), rest[0]))
