import asyncio
import itertools
import logging
from collections.abc import Callable

import pytest

from gateway.workers import Kick, Tasks, run_forever
from tests.support.clock import ManualClock


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to that")


async def test_work_is_held_by_name_until_it_ends() -> None:
    tasks = Tasks(ManualClock())
    go = asyncio.Event()

    async def work() -> int:
        await go.wait()
        return 7

    task = tasks.spawn(work(), "seven")
    assert tasks.names == ["seven"]
    go.set()
    assert await task == 7
    await until(lambda: len(tasks) == 0)


async def test_the_failure_of_work_nobody_waits_for_is_logged_and_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failed: list[str] = []
    tasks = Tasks(ManualClock(), failed.append)

    async def work() -> None:
        raise LookupError("lost")

    tasks.spawn(work(), "finder")
    await until(lambda: failed == ["finder"])
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert "finder" in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[0] is LookupError


async def test_closing_waits_for_work_also_for_what_it_starts_meanwhile() -> None:
    clock = ManualClock()
    tasks = Tasks(clock)
    go = asyncio.Event()
    done: list[str] = []

    async def second() -> None:
        await asyncio.sleep(0)
        done.append("second")

    async def first() -> None:
        await go.wait()
        tasks.spawn(second(), "second")
        done.append("first")

    tasks.spawn(first(), "first")
    closing = asyncio.ensure_future(tasks.close(60))
    await until(lambda: clock.sleepers == 1)
    assert not closing.done()
    go.set()
    await closing
    assert done == ["first", "second"]


async def test_closing_cancels_what_does_not_finish_within_the_grace() -> None:
    clock = ManualClock()
    tasks = Tasks(clock)
    stuck = tasks.spawn(asyncio.Event().wait(), "stuck")
    closing = asyncio.ensure_future(tasks.close(75))
    await until(lambda: clock.sleepers == 1)
    clock.advance(74)
    await asyncio.sleep(0)
    assert not stuck.done()
    clock.advance(2)
    await closing
    assert stuck.cancelled()


async def test_loops_run_until_the_last_work_has_ended_and_are_not_waited_for() -> None:
    clock = ManualClock()
    tasks = Tasks(clock)
    go = asyncio.Event()
    loop = tasks.spawn(asyncio.Event().wait(), "loop", endless=True)
    tasks.spawn(go.wait(), "work")
    closing = asyncio.ensure_future(tasks.close(75))
    await until(lambda: clock.sleepers == 1)
    assert not loop.done()
    go.set()
    await closing
    assert loop.cancelled()


async def test_nothing_can_be_started_after_closing() -> None:
    tasks = Tasks(ManualClock())
    await tasks.close(0)
    with pytest.raises(RuntimeError, match="late"):
        tasks.spawn(asyncio.sleep(0), "late")


async def test_a_loop_calls_its_step_when_the_seconds_it_asked_for_have_passed() -> None:
    clock = ManualClock()
    tasks = Tasks(clock)
    steps: list[float] = []

    async def step() -> float:
        steps.append(clock.monotonic())
        return 10

    tasks.spawn(run_forever("loop", step, clock), "loop", endless=True)
    await until(lambda: clock.sleepers == 1)
    clock.advance(9)
    await asyncio.sleep(0.001)
    assert steps == [0]
    clock.advance(1)
    await until(lambda: len(steps) == 2)
    assert steps == [0, 10]
    await tasks.close(0)


async def test_a_kick_wakes_the_loop_at_once_and_a_kick_during_a_step_is_not_lost() -> None:
    clock = ManualClock()
    tasks = Tasks(clock)
    kick = Kick()
    steps = 0

    async def step() -> float:
        nonlocal steps
        steps += 1
        if steps == 2:
            kick.kick()
        return 3600

    tasks.spawn(run_forever("loop", step, clock, kick=kick), "loop", endless=True)
    await until(lambda: clock.sleepers == 1)
    kick.kick()
    await until(lambda: steps == 3)
    for _ in range(10):
        await asyncio.sleep(0)
    assert steps == 3
    await tasks.close(0)


async def test_a_loop_kicked_in_every_step_leaves_others_their_turn() -> None:
    clock = ManualClock()
    tasks = Tasks(clock)
    kick = Kick()

    async def step() -> float:
        kick.kick()
        return 0

    tasks.spawn(run_forever("loop", step, clock, kick=kick), "loop", endless=True)
    async with asyncio.timeout(5):
        for _ in range(10):
            await asyncio.sleep(0)
    await tasks.close(0)


async def test_a_loop_outlives_failing_steps_and_backs_off() -> None:
    clock = ManualClock()
    tasks = Tasks(clock)
    failed: list[str] = []
    at: list[float] = []

    async def step() -> float:
        at.append(clock.monotonic())
        if len(at) <= 8:
            raise OSError("no")
        return 3600

    tasks.spawn(run_forever("loop", step, clock, on_failure=failed.append), "loop", endless=True)
    await until(lambda: clock.sleepers == 1)
    for _ in range(4000):
        if len(at) == 9:
            break
        clock.advance(0.25)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    gaps = [after - before for before, after in itertools.pairwise(at)]
    assert failed == ["loop"] * 8
    limits = (1, 2, 4, 8, 16, 30, 30, 30)
    assert all(limit / 2 <= gap <= limit + 0.5 for gap, limit in zip(gaps, limits, strict=True)), (
        gaps
    )
    await tasks.close(0)


async def test_a_loop_survives_a_cancellation_met_inside_a_step_but_obeys_its_own() -> None:
    clock = ManualClock()
    tasks = Tasks(clock)
    steps = 0

    async def step() -> float:
        nonlocal steps
        steps += 1
        if steps == 1:
            raise asyncio.CancelledError
        return 3600

    loop = tasks.spawn(run_forever("loop", step, clock), "loop", endless=True)
    await until(lambda: clock.sleepers == 1)
    clock.advance(2)
    await until(lambda: steps == 2)
    loop.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loop
