import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest

from gateway.domain.keys import digest, make_key
from gateway.domain.plans import Identity, Metric, Per, Plan, Policy, QuotaRule, Role, Team
from gateway.ledger import Connection, Ledger, LedgerUnavailable
from gateway.ledger import keys as ledger_keys
from gateway.ledger import users as ledger_users
from gateway.ledger.published import publish
from gateway.web.identity import BELIEVE_FOR_S, UNSURE, KeyRing
from gateway.workers import Tasks
from tests.support.clock import ManualClock

T = TypeVar("T")


class WatchedLedger(Ledger):
    """The real one, whose reads are counted, held up or made to fail."""

    reads = 0
    answers = 0
    down = False
    hold: asyncio.Event | None = None

    async def read(self, fn: Callable[[Connection], T]) -> T:
        self.reads += 1
        if self.down:
            raise LedgerUnavailable("out of order")
        answer = await super().read(fn)
        self.answers += 1
        if self.hold is not None:
            await self.hold.wait()
        return answer

    async def answered(self, times: int) -> None:
        """Return when so many questions have been answered, whether or not it is held up."""
        async with asyncio.timeout(20):
            while self.answers < times:  # noqa: ASYNC110 - the ledger's threads set no event
                await asyncio.sleep(0.001)

    async def write(self, fn: Callable[[Connection], T], *, durable: bool = False) -> T:
        if self.down:
            raise LedgerUnavailable("out of order")
        return await super().write(fn, durable=durable)


@dataclass
class Office:
    """One ledger with users in it, and one worker's key ring."""

    clock: ManualClock
    ledger: WatchedLedger
    tasks: Tasks
    ring: KeyRing = field(init=False)

    def __post_init__(self) -> None:
        self.ring = self.new_ring()

    def new_ring(self) -> KeyRing:
        return KeyRing(self.ledger, self.clock, self.tasks)

    async def user(self, name: str, team: str | None = None, role: Role = Role.MEMBER) -> None:
        await self.ledger.write(
            lambda conn: ledger_users.add_user(
                conn,
                id=f"id-{name}",
                name=name,
                team=team,
                role=role,
                now=self.clock.now(),
                webhook_secret="whsec_x",
            )
        )

    async def key(self, user: str, expires_at: float | None = None) -> str:
        key = make_key(self.clock.secret(27))
        await self.ledger.write(
            lambda conn: ledger_keys.add_key(
                conn,
                id=f"key-{user}",
                user_id=f"id-{user}",
                digest=digest(key),
                hint="",
                expires_at=expires_at,
                now=self.clock.now(),
            )
        )
        return f"Bearer {key}"

    async def revoke(self, user: str) -> None:
        at = self.clock.now()
        await self.ledger.write(lambda conn: ledger_keys.revoke_key(conn, f"key-{user}", at))

    async def publish(self, policy: Policy) -> None:
        text = policy.to_json()
        await self.ledger.write(lambda conn: publish(conn, text, self.clock.now()))


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    clock = ManualClock()
    tasks = Tasks(clock)
    async with WatchedLedger("", clock, folder=tmp_path) as ledger:
        yield Office(clock, ledger, tasks)
        await tasks.close(0)


async def test_a_key_is_its_users_identity(office: Office) -> None:
    await office.user("ada", team="lab", role=Role.MANAGE)
    key = await office.key("ada")
    identity = await office.ring.identify(key)
    assert identity is not None
    assert (identity.user_id, identity.user_name, identity.team) == ("id-ada", "ada", "lab")
    assert identity.role is Role.MANAGE
    assert identity.key_id == "key-ada"


async def test_a_known_key_costs_no_question(office: Office) -> None:
    await office.user("ada")
    key = await office.key("ada")
    identity = await office.ring.identify(key)
    before = office.ledger.reads
    assert office.ring.identify_now(key) == identity
    assert await office.ring.identify(key) == identity
    assert office.ledger.reads == before


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Basic abc", "Bearer hk-short", "hk-" + "a" * 43, "Bearer hk-" + "a" * 43],
)
async def test_what_cannot_be_a_key_is_nobody_without_asking(
    office: Office, header: str | None
) -> None:
    assert office.ring.identify_now(header) is None
    assert await office.ring.identify(header) is None
    assert office.ledger.reads == 0


async def test_old_clients_word_for_a_key_is_understood(office: Office) -> None:
    await office.user("ada")
    key = await office.key("ada")
    assert await office.ring.identify(key.replace("Bearer", "Token")) is not None


async def test_an_unknown_key_is_asked_for_once(office: Office) -> None:
    stranger = f"Bearer {make_key(office.clock.secret(27))}"
    assert await office.ring.identify(stranger) is None
    before = office.ledger.reads
    for _ in range(10):
        assert await office.ring.identify(stranger) is None
    assert office.ring.identify_now(stranger) is None
    assert office.ledger.reads == before


async def test_many_who_come_with_one_key_at_once_cost_one_question(office: Office) -> None:
    await office.user("ada")
    key = await office.key("ada")
    found = await asyncio.gather(*(office.ring.identify(key) for _ in range(50)))
    assert {identity.user_name for identity in found if identity} == {"ada"}
    assert office.ledger.reads == 1


async def test_one_who_gives_up_does_not_take_the_answer_from_the_others(office: Office) -> None:
    await office.user("ada")
    key = await office.key("ada")
    office.ledger.hold = asyncio.Event()
    first = asyncio.ensure_future(office.ring.identify(key))
    second = asyncio.ensure_future(office.ring.identify(key))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    office.ledger.hold.set()
    assert await second is not None


async def test_a_revoked_key_is_dead_after_the_next_comparison(office: Office) -> None:
    await office.user("ada")
    key = await office.key("ada")
    assert await office.ring.identify(key) is not None
    await office.revoke("ada")
    assert await office.ring.refresh() == 0.25
    assert office.ring.identify_now(key) is UNSURE
    assert await office.ring.identify(key) is None


async def test_a_disabled_user_is_nobody(office: Office) -> None:
    await office.user("ada")
    key = await office.key("ada")
    assert await office.ring.identify(key) is not None
    await office.ledger.write(lambda conn: ledger_users.set_disabled(conn, "id-ada", 1.0))
    await office.ring.refresh()
    assert await office.ring.identify(key) is None


async def test_a_new_key_works_at_once_also_after_it_was_refused(office: Office) -> None:
    await office.user("ada")
    key = make_key(b"\x07" * 27)
    assert await office.ring.identify(f"Bearer {key}") is None
    await office.ledger.write(
        lambda conn: ledger_keys.add_key(
            conn, id="k", user_id="id-ada", digest=digest(key), hint="", now=0
        )
    )
    await office.ring.refresh()
    assert await office.ring.identify(f"Bearer {key}") is not None


async def test_a_key_dies_at_its_hour_without_any_change_in_the_ledger(office: Office) -> None:
    await office.user("ada")
    key = await office.key("ada", expires_at=office.clock.now() + 60)
    await office.ring.identify(key)
    office.clock.advance(59.9)
    await office.ring.refresh()
    assert isinstance(office.ring.identify_now(key), Identity)
    office.clock.advance(0.1)
    await office.ring.refresh()
    assert office.ring.identify_now(key) is None
    assert await office.ring.identify(key) is None


async def test_without_a_word_from_the_ledger_for_a_second_memory_is_not_believed(
    office: Office,
) -> None:
    await office.user("ada")
    key = await office.key("ada")
    await office.ring.identify(key)
    office.ledger.down = True
    office.clock.advance(BELIEVE_FOR_S)
    await office.ring.refresh()
    assert isinstance(office.ring.identify_now(key), Identity)
    office.clock.advance(0.01)
    assert office.ring.identify_now(key) is UNSURE
    with pytest.raises(LedgerUnavailable):
        await office.ring.identify(key)


async def test_an_unknown_key_too_is_not_believed_unknown_for_longer(office: Office) -> None:
    stranger = f"Bearer {make_key(office.clock.secret(27))}"
    assert await office.ring.identify(stranger) is None
    office.ledger.down = True
    office.clock.advance(BELIEVE_FOR_S + 0.01)
    with pytest.raises(LedgerUnavailable):
        await office.ring.identify(stranger)


async def test_the_ledgers_return_is_noticed_and_told_once(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await office.user("ada")
    key = await office.key("ada")
    office.ledger.down = True
    for _ in range(5):
        assert await office.ring.refresh() == 0.25
    office.ledger.down = False
    await office.ring.refresh()
    assert await office.ring.identify(key) is not None
    lines = [record.levelname for record in caplog.records if "ledger" in record.getMessage()]
    assert lines == ["WARNING", "INFO"]


async def test_an_answer_overtaken_by_a_revocation_is_not_remembered(office: Office) -> None:
    await office.user("ada")
    key = await office.key("ada")
    await office.ring.refresh()
    office.ledger.hold = asyncio.Event()
    asking = asyncio.ensure_future(office.ring.identify(key))
    await office.ledger.answered(2)
    hold, office.ledger.hold = office.ledger.hold, None
    await office.revoke("ada")
    await office.ring.refresh()
    hold.set()
    await asking
    assert await office.ring.identify(key) is None


async def test_who_comes_long_after_a_slow_question_asks_anew(office: Office) -> None:
    await office.user("ada")
    key = await office.key("ada")
    office.ledger.hold = asyncio.Event()
    first = asyncio.ensure_future(office.ring.identify(key))
    await office.ledger.answered(1)
    office.clock.advance(0.6)
    second = asyncio.ensure_future(office.ring.identify(key))
    await office.ledger.answered(2)
    office.ledger.hold.set()
    assert await first is not None
    assert await second is not None


async def test_the_published_policy_decides_plan_team_rules_and_share(office: Office) -> None:
    rule = QuotaRule(Metric.PREDICTIONS, 5, Per.DAY)
    await office.user("ada", team="lab")
    key = await office.key("ada")
    policy = Policy(
        plans={"small": Plan("small", rules=(rule,))},
        teams={"lab": Team("lab", plan="small", share=True, rules=(rule,))},
        contact="ops@example.org",
    )
    await office.publish(policy)
    identity = await office.ring.identify(key)
    assert office.ring.policy == policy
    assert identity is not None
    assert identity.plan.name == "small"
    assert identity.team_rules == (rule,)
    assert identity.share


async def test_a_reload_reaches_those_who_are_already_known(office: Office) -> None:
    await office.user("ada")
    key = await office.key("ada")
    await office.publish(Policy(plans={"default": Plan("default", models_deny=("a/*",))}))
    await office.ring.identify(key)
    await office.publish(Policy(plans={"default": Plan("default", models_deny=("b/*",))}))
    await office.ring.refresh()
    identity = await office.ring.identify(key)
    assert identity is not None
    assert identity.plan.models_deny == ("b/*",)


async def test_a_policy_that_cannot_be_read_leaves_the_one_before_in_force(office: Office) -> None:
    await office.publish(Policy(contact="ops"))
    await office.ring.refresh()
    await office.ledger.write(lambda conn: publish(conn, '{"of": "tomorrow"}', 0))
    await office.ring.refresh()
    assert office.ring.policy == Policy(contact="ops")


async def test_when_a_key_was_last_used_is_written_in_batches(office: Office) -> None:
    await office.user("ada")
    key = await office.key("ada")
    await office.ring.identify(key)
    office.clock.advance(0.5)
    office.ring.identify_now(key)
    used_at = office.clock.now()
    revision = office.ring.revision
    await office.ring.record_use()
    (info,) = await office.ledger.read(ledger_keys.list_keys)
    assert info.last_used_at == used_at
    await office.ring.refresh()
    assert office.ring.revision == revision


async def test_failing_to_write_the_last_use_harms_nobody(office: Office) -> None:
    await office.user("ada")
    await office.ring.identify(await office.key("ada"))
    office.ledger.down = True
    assert await office.ring.record_use() == 5


async def test_memory_is_bounded(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.web.identity._MAX_REMEMBERED", 5)
    for _ in range(20):
        await office.ring.identify(f"Bearer {make_key(office.clock.secret(27))}")
    assert len(office.ring._unknown) <= 5
