import asyncio
from collections import Counter
from collections.abc import Coroutine

import pytest

from gateway.upstream.allowance import Allowance
from gateway.upstream.bucket import Correction, Grant
from gateway.upstream.errors import AllowanceExhausted
from gateway.upstream.hooks import Hooks
from gateway.upstream.line import Urgency
from gateway.upstream.share import Kind, Share
from tests.support.clock import ManualClock


async def settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def pass_time(clock: ManualClock, seconds: float, step: float = 0.1) -> None:
    for _ in range(round(seconds / step)):
        clock.advance(step)
        await settle()


class Scene:
    """An allowance by a clock moved by hand, and a record of who was admitted when."""

    def __init__(
        self, creates: float = 60, max_queue_s: float = 15, share: Share | None = None
    ) -> None:
        self.clock = ManualClock()
        self.depths: list[int] = []
        self.allowance = Allowance(
            creates_per_minute=creates,
            requests_per_minute=600,
            max_queue_s=max_queue_s,
            clock=self.clock,
            share=share,
            hooks=Hooks(on_queue_depth=self.depths.append),
        )
        self.admitted: list[tuple[str, float]] = []
        self.refused: list[tuple[str, int]] = []

    async def create(self, name: str, user: str | None = None, **more: object) -> None:
        urgency = more.pop("urgency", Urgency.ACT)
        kind = more.pop("kind", Kind.CREATE)
        began = self.clock.monotonic()
        try:
            await self.allowance.admit(kind, urgency, user or name, **more)  # type: ignore[arg-type]  # by name
        except AllowanceExhausted as full:
            self.refused.append((name, full.retry_after))
        else:
            self.admitted.append((name, self.clock.monotonic() - began))

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.admitted]

    def start(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(work)


async def test_within_the_allowance_nobody_waits() -> None:
    scene = Scene(creates=600)
    await asyncio.gather(*(scene.create("a") for _ in range(30)))
    assert len(scene.admitted) == 30
    assert scene.depths == []


async def test_a_single_request_is_not_starved_by_somebody_elses_burst() -> None:
    scene = Scene(creates=600, max_queue_s=15)
    tasks = [scene.start(scene.create("A")) for _ in range(500)]
    for _ in range(10):
        tasks.append(scene.start(scene.create("B")))
        await pass_time(scene.clock, 2)
    await asyncio.gather(*tasks)
    waits = [wait for name, wait in scene.admitted if name == "B"]
    assert len(waits) == 10
    assert max(waits) <= 0.35
    counted = Counter(name for name, _ in scene.admitted)
    # A gets what is left of the rate while its requests wait, and honest refusals for the rest.
    assert 140 <= counted["A"] <= 200
    assert len(scene.refused) == 500 - counted["A"]


async def test_within_one_user_it_is_first_come_first_served() -> None:
    scene = Scene(creates=60)
    tasks = [scene.start(scene.create(f"a{n}", "a")) for n in range(8)]
    await pass_time(scene.clock, 10)
    await asyncio.gather(*tasks)
    assert scene.names == [f"a{n}" for n in range(8)]


async def test_users_take_turns() -> None:
    scene = Scene(creates=60)
    tasks = [scene.start(scene.create("first")) for _ in range(3)]
    await settle()
    names = ["a1", "a2", "a3", "b1", "b2", "c1"]
    tasks += [scene.start(scene.create(name, name[0])) for name in names]
    await pass_time(scene.clock, 12)
    await asyncio.gather(*tasks)
    assert scene.names[3:] == ["a1", "b1", "c1", "a2", "b2", "a3"]


async def test_cancels_go_before_reads_and_reads_before_polls() -> None:
    scene = Scene()
    scene.allowance = Allowance(
        creates_per_minute=60, requests_per_minute=60, max_queue_s=60, clock=scene.clock
    )
    tasks = [
        scene.start(scene.create("full", kind=Kind.REQUEST, urgency=Urgency.POLL)) for _ in range(3)
    ]
    await settle()
    for name, urgency in [("poll", 2), ("read", 1), ("cancel", 0), ("read", 1), ("poll", 2)]:
        tasks.append(scene.start(scene.create(name, kind=Kind.REQUEST, urgency=Urgency(urgency))))
        await settle()
    await pass_time(scene.clock, 10)
    await asyncio.gather(*tasks)
    assert scene.names[3:] == ["cancel", "read", "read", "poll", "poll"]


async def test_a_crowd_of_readers_does_not_keep_everything_else_from_being_followed() -> None:
    scene = Scene()
    tasks = []
    for _ in range(600):
        # Readers come faster than they can be served, and polls give up soon.
        for name, urgency in [("read", Urgency.READ)] * 2 + [("poll", Urgency.POLL)]:
            deadline = scene.clock.now() + 2
            asking = scene.create(name, kind=Kind.REQUEST, urgency=urgency, deadline=deadline)
            tasks.append(scene.start(asking))
        await pass_time(scene.clock, 0.1)
    await pass_time(scene.clock, 3)
    await asyncio.gather(*tasks)
    served = Counter(scene.names[100:500])
    assert served["poll"] == pytest.approx(40, abs=2)
    assert served["read"] == 400 - served["poll"]


async def test_after_the_longest_wait_the_answer_says_honestly_when_to_come_back() -> None:
    scene = Scene(creates=6, max_queue_s=15)
    tasks = [scene.start(scene.create(f"u{n}")) for n in range(5)]
    await pass_time(scene.clock, 16)
    await asyncio.gather(*tasks)
    assert scene.names == ["u0", "u1"]
    assert [name for name, _ in scene.refused] == ["u2", "u3", "u4"]
    retry_after = scene.refused[0][1]
    # At 15 s two of six a minute are gone: the next one comes at 20 s.
    assert retry_after == 5
    await pass_time(scene.clock, retry_after - 0.5)
    task = scene.start(scene.create("again"))
    await settle()
    assert task.done()
    assert scene.names[-1] == "again"


async def test_who_hangs_up_leaves_the_line_and_costs_nobody_anything() -> None:
    scene = Scene(creates=60)
    tasks = [scene.start(scene.create("full")) for _ in range(3)]
    await settle()
    leaving = [scene.start(scene.create(f"gone{n}")) for n in range(5)]
    await settle()
    staying = scene.start(scene.create("stays"))
    await settle()
    assert scene.allowance.waiting(Kind.CREATE) == 6
    for task in leaving:  # the one that serves the line among them
        task.cancel()
    await settle()
    assert scene.allowance.waiting(Kind.CREATE) == 1
    await pass_time(scene.clock, 1.1)
    await asyncio.gather(staying, *tasks)
    assert scene.names[3:] == ["stays"]
    assert scene.depths[-1] == 0


class CancellingShare:
    """Grants one token when told, and cancels a task between that grant and its waking up."""

    def __init__(self) -> None:
        self.victim: asyncio.Task[None] | None = None

    async def take(self, kind: Kind, want: int, now: float) -> Grant:
        if self.victim is None or not want:
            return Grant(0, now + 1, 60)
        asyncio.get_running_loop().call_soon(self.victim.cancel)
        self.victim = None
        return Grant(1, now + 1, 60)

    async def correct(self, kind: Kind, word: Correction, now: float) -> None:
        return None


async def test_a_turn_given_to_somebody_who_leaves_in_that_moment_goes_to_the_next() -> None:
    share = CancellingShare()
    scene = Scene(share=share)
    leader = scene.start(scene.create("leader", "a"))
    await settle()
    leaving = scene.start(scene.create("leaving", "a", again=True))
    await settle()
    share.victim = leaving
    await pass_time(scene.clock, 0.6)
    assert leaving.cancelled()
    await leader
    assert scene.names == ["leader"]


async def test_the_clients_own_429_puts_a_create_in_front_of_its_users_others() -> None:
    scene = Scene(creates=60)
    tasks = [scene.start(scene.create("full")) for _ in range(3)]
    await settle()
    tasks += [scene.start(scene.create(f"a{n}", "a")) for n in range(3)]
    await settle()
    tasks.append(scene.start(scene.create("again", "a", again=True)))
    await pass_time(scene.clock, 5)
    await asyncio.gather(*tasks)
    assert scene.names[3:] == ["again", "a0", "a1", "a2"]


async def test_what_upstream_says_slows_everybody_down() -> None:
    scene = Scene(creates=600)
    await scene.allowance.note(Kind.CREATE, Correction(0, 7.0))
    task = scene.start(scene.create("a"))
    await pass_time(scene.clock, 6.9)
    assert scene.admitted == []
    await pass_time(scene.clock, 0.2)
    await task
    assert scene.names == ["a"]


async def test_the_deadline_of_a_latecomer_is_kept_while_the_line_is_blocked() -> None:
    scene = Scene(creates=600, max_queue_s=15)
    await scene.allowance.note(Kind.CREATE, Correction(0, 60.0))
    patient = scene.start(scene.create("patient"))
    await settle()
    hasty = scene.start(scene.create("hasty", deadline=scene.clock.now() + 2))
    await pass_time(scene.clock, 2.5)
    assert scene.refused == [("hasty", 59)]  # 58 s of block, and the patient one goes first
    patient.cancel()
    await asyncio.gather(patient, hasty, return_exceptions=True)


class DeafShare(CancellingShare):
    """Cannot take in corrections."""

    async def correct(self, kind: Kind, word: Correction, now: float) -> None:
        raise OSError("gone")


async def test_a_correction_that_cannot_be_kept_costs_no_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene(share=DeafShare())
    await scene.allowance.note(Kind.CREATE, Correction(remaining=3))
    assert "not corrected" in caplog.text


class BrokenShare:
    """Stands for a ledger that is gone."""

    def __init__(self) -> None:
        self.broken = False

    async def take(self, kind: Kind, want: int, now: float) -> Grant:
        if self.broken:
            raise OSError("gone")
        return Grant(0, now + 1, 60)

    async def correct(self, kind: Kind, word: Correction, now: float) -> None:
        return None


async def test_a_share_that_fails_fails_everybody_in_line_instead_of_hanging_them() -> None:
    share = BrokenShare()
    scene = Scene(share=share)
    tasks = [scene.start(scene.create(f"u{n}")) for n in range(3)]
    await settle()
    share.broken = True
    await pass_time(scene.clock, 1)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [OSError] * 3


@pytest.mark.parametrize("seconds", [0.0])
async def test_a_queue_of_no_length_refuses_at_once(seconds: float) -> None:
    scene = Scene(creates=6, max_queue_s=seconds)
    await scene.create("a")
    await scene.create("b")
    assert (scene.names, scene.refused) == (["a"], [("b", 10)])
