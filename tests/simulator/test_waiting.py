"""Waiting on a clock that is moved by hand, pushed forward, or both."""

import asyncio

import pytest

from gateway.simulator.waiting import SteerableClock, first_of
from tests.support.clock import ManualClock


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize("by_hand", [True, False])
async def test_a_sleeper_wakes_when_its_time_has_come_and_not_before(by_hand: bool) -> None:
    hands = ManualClock()
    clock = SteerableClock(hands)
    advance = hands.advance if by_hand else clock.advance
    sleeping = asyncio.ensure_future(clock.sleep(10.0))
    for _ in range(9):
        await settle()
        advance(1.0)
    await settle()
    assert not sleeping.done()
    advance(1.0)
    await asyncio.wait_for(sleeping, 5)


async def test_both_ways_of_moving_time_add_up() -> None:
    hands = ManualClock()
    clock = SteerableClock(hands)
    sleeping = asyncio.ensure_future(clock.sleep(10.0))
    await settle()
    clock.advance(6.0)
    await settle()
    hands.advance(4.0)
    await asyncio.wait_for(sleeping, 5)
    assert clock.now() - hands.now() == pytest.approx(6.0)


async def test_a_push_from_another_thread_wakes() -> None:
    clock = SteerableClock(ManualClock())
    sleeping = asyncio.ensure_future(clock.sleep(10.0))
    await settle()
    await asyncio.to_thread(clock.advance, 10.0)
    await asyncio.wait_for(sleeping, 5)


async def test_time_does_not_go_back() -> None:
    clock = SteerableClock(ManualClock())
    before = clock.now()
    clock.advance(-5.0)
    assert clock.now() == before


async def test_the_first_wins_and_the_others_are_ended() -> None:
    never, now = asyncio.Event(), asyncio.Event()
    now.set()
    before = len(asyncio.all_tasks())
    assert await first_of(never.wait(), now.wait()) == 1
    assert len(asyncio.all_tasks()) == before
