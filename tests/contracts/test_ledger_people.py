"""Users, keys, what is published, who is alive: the same on both engines."""

import pytest

from gateway.ledger import (
    Ledger,
    LedgerFault,
    NameTaken,
    NotKnown,
    keys,
    published,
    read_revision,
    sessions,
    users,
    workers,
)
from tests.support.ledgers import NOW, database_fixture, ledger_fixture

FIXTURES = (database_fixture, ledger_fixture)


async def add_ann(ledger: Ledger, **more: str) -> users.UserRow:
    return await ledger.write(
        lambda conn: users.add_user(
            conn, id="u1", name="ann", webhook_secret="whsec_x", now=NOW, **more
        )
    )


async def add_key(ledger: Ledger, name: str = "k1", expires_at: float | None = None) -> None:
    await ledger.write(
        lambda conn: keys.add_key(
            conn,
            id=name,
            user_id="u1",
            digest=f"digest of {name}",
            hint="hk-…",
            label="laptop",
            expires_at=expires_at,
            now=NOW,
        )
    )


async def test_a_user_is_found_by_name_and_by_id(ledger: Ledger) -> None:
    ann = await add_ann(ledger, team="red", plan="big", role="manage")
    assert await ledger.read(lambda conn: users.get_user(conn, "ann")) == ann
    assert await ledger.read(lambda conn: users.get_user(conn, "u1")) == ann
    assert await ledger.read(lambda conn: users.get_user(conn, "bob")) is None
    assert await ledger.read(users.list_users) == [ann]
    assert "whsec" not in repr(ann)


async def test_a_name_is_given_once(ledger: Ledger) -> None:
    await add_ann(ledger)
    with pytest.raises(NameTaken):
        await ledger.write(
            lambda conn: users.add_user(conn, id="u2", name="ann", webhook_secret="s", now=NOW)
        )
    await ledger.write(
        lambda conn: users.add_user(conn, id="u2", name="bob", webhook_secret="s", now=NOW)
    )
    with pytest.raises(NameTaken):
        await ledger.write(lambda conn: users.update_user(conn, "u2", name="ann"))
    assert [user.name for user in await ledger.read(users.list_users)] == ["ann", "bob"]


async def test_only_what_is_given_is_changed(ledger: Ledger) -> None:
    await add_ann(ledger, team="red", plan="big")
    changed = await ledger.write(lambda conn: users.update_user(conn, "u1", plan=None))
    assert (changed.name, changed.team, changed.plan) == ("ann", "red", None)
    same = await ledger.write(lambda conn: users.update_user(conn, "u1", name="ann", role="admin"))
    assert (same.team, same.role) == ("red", "admin")
    with pytest.raises(NotKnown):
        await ledger.write(lambda conn: users.update_user(conn, "nobody", plan="x"))


async def test_every_change_that_decides_about_users_moves_the_revision(ledger: Ledger) -> None:
    seen = [await ledger.read(read_revision)]

    async def moved() -> bool:
        seen.append(await ledger.read(read_revision))
        return seen[-1] > seen[-2]

    await add_ann(ledger)
    assert await moved()
    await add_key(ledger)
    assert await moved()
    for change in (
        lambda conn: users.update_user(conn, "u1", team="blue"),
        lambda conn: users.set_overrides(conn, "u1", '{"trainings":true}'),
        lambda conn: users.set_disabled(conn, "u1", NOW),
        lambda conn: users.set_webhook_secret(conn, "u1", "whsec_new"),
        lambda conn: published.publish(conn, '{"plans":[]}', NOW),
        lambda conn: keys.revoke_key(conn, "k1", NOW),
        lambda conn: users.remove_user(conn, "u1"),
    ):
        await ledger.write(change)
        assert await moved()
    await ledger.write(lambda conn: keys.touch_keys(conn, {"k1": NOW}))
    assert not await moved()


async def test_a_key_is_found_by_its_digest_with_its_user(ledger: Ledger) -> None:
    await add_ann(ledger, team="red")
    await add_key(ledger, expires_at=NOW + 60)
    found = await ledger.read(lambda conn: keys.find_key(conn, "digest of k1"))
    assert found is not None
    assert (found.user_name, found.team, found.role, found.key_id) == ("ann", "red", "member", "k1")
    assert found.good(NOW + 59)
    assert not found.good(NOW + 60)
    assert await ledger.read(lambda conn: keys.find_key(conn, "another")) is None


async def test_revoked_keys_and_keys_of_disabled_users_open_nothing(ledger: Ledger) -> None:
    await add_ann(ledger)
    await add_key(ledger, "k1")
    await add_key(ledger, "k2")
    assert await ledger.write(lambda conn: keys.revoke_key(conn, "k1", NOW))
    assert not await ledger.write(lambda conn: keys.revoke_key(conn, "k1", NOW + 1))
    revoked = await ledger.read(lambda conn: keys.find_key(conn, "digest of k1"))
    assert revoked is not None
    assert not revoked.good(NOW)
    await ledger.write(lambda conn: users.set_disabled(conn, "u1", NOW))
    other = await ledger.read(lambda conn: keys.find_key(conn, "digest of k2"))
    assert other is not None
    assert other.disabled
    assert not other.good(NOW)
    await ledger.write(lambda conn: users.set_disabled(conn, "u1", None))
    again = await ledger.read(lambda conn: keys.find_key(conn, "digest of k2"))
    assert again is not None
    assert again.good(NOW)


async def test_a_removed_users_keys_go_with_them(ledger: Ledger) -> None:
    await add_ann(ledger)
    await add_key(ledger)
    assert await ledger.write(lambda conn: users.remove_user(conn, "u1"))
    assert not await ledger.write(lambda conn: users.remove_user(conn, "u1"))
    assert await ledger.read(lambda conn: keys.find_key(conn, "digest of k1")) is None
    assert await ledger.read(keys.list_keys) == []


async def test_a_key_needs_a_user_and_a_digest_of_its_own(ledger: Ledger) -> None:
    with pytest.raises(NotKnown):
        await add_key(ledger)
    await add_ann(ledger)
    await add_key(ledger)
    with pytest.raises(LedgerFault):
        await add_key(ledger)


async def test_when_a_key_was_last_used_never_moves_back(ledger: Ledger) -> None:
    await add_ann(ledger)
    await add_key(ledger)
    await ledger.write(lambda conn: keys.touch_keys(conn, {"k1": NOW + 5, "unknown": NOW}))
    await ledger.write(lambda conn: keys.touch_keys(conn, {"k1": NOW}))
    (info,) = await ledger.read(lambda conn: keys.list_keys(conn, "u1"))
    assert info.last_used_at == NOW + 5
    assert (info.label, info.hint, info.user_name) == ("laptop", "hk-…", "ann")
    assert await ledger.read(lambda conn: keys.get_key(conn, "k1")) == info


async def test_publishing_the_same_policy_again_is_no_news(ledger: Ledger) -> None:
    assert await ledger.read(published.published) == (1, None)
    first = await ledger.write(lambda conn: published.publish(conn, "{}", NOW))
    again = await ledger.write(lambda conn: published.publish(conn, "{}", NOW))
    other = await ledger.write(lambda conn: published.publish(conn, '{"a":1}', NOW))
    assert (first, again, other) == (2, 2, 3)
    assert await ledger.read(published.published) == (3, '{"a":1}')


async def test_a_shared_fact_is_what_the_first_one_said(ledger: Ledger) -> None:
    assert await ledger.read(lambda conn: published.recall(conn, "secret")) is None
    assert await ledger.write(lambda conn: published.remember(conn, "secret", "a")) == "a"
    assert await ledger.write(lambda conn: published.remember(conn, "secret", "b")) == "a"
    assert await ledger.read(lambda conn: published.recall(conn, "secret")) == "a"


async def test_workers_that_fall_silent_are_dead(ledger: Ledger) -> None:
    await ledger.write(lambda conn: workers.beat(conn, "w1", NOW))
    await ledger.write(lambda conn: workers.beat(conn, "w2", NOW))
    await ledger.write(lambda conn: workers.beat(conn, "w2", NOW + 10))
    assert await ledger.read(lambda conn: workers.dead_workers(conn, NOW + 5)) == ["w1"]
    await ledger.write(lambda conn: workers.forget_worker(conn, "w1"))
    assert await ledger.read(lambda conn: workers.dead_workers(conn, NOW + 5)) == []


async def test_a_lease_has_one_holder_until_it_runs_out(ledger: Ledger) -> None:
    async def take(by: str, now: float) -> bool:
        return await ledger.write(
            lambda conn: workers.take_lease(conn, "prune", by, now, until=now + 10)
        )

    assert await take("a", NOW)
    assert not await take("b", NOW + 5)
    assert await take("a", NOW + 5)
    assert not await take("b", NOW + 14)
    assert await take("b", NOW + 15)
    await ledger.write(lambda conn: workers.give_lease_back(conn, "prune", "a"))
    assert not await take("a", NOW + 16)
    await ledger.write(lambda conn: workers.give_lease_back(conn, "prune", "b"))
    assert await take("a", NOW + 16)


async def test_a_session_that_was_ended_stays_so_until_its_cookie_could_not_be_good(
    ledger: Ledger,
) -> None:
    day = 86_400.0

    async def end(name: str, at: float) -> None:
        await ledger.write(lambda conn: sessions.end(conn, name, at, forget_before=at - day))

    await ledger.write(lambda conn: published.remember(conn, "a secret", "0"))
    await end("first", NOW)
    await end("first", NOW + 1)
    assert await ledger.read(lambda conn: sessions.ended(conn, "first"))
    assert not await ledger.read(lambda conn: sessions.ended(conn, "second"))
    await end("second", NOW + day - 1)
    assert await ledger.read(lambda conn: sessions.ended(conn, "first"))
    await end("third", NOW + day + 1)
    assert not await ledger.read(lambda conn: sessions.ended(conn, "first"))
    assert await ledger.read(lambda conn: sessions.ended(conn, "second"))
    assert await ledger.read(lambda conn: published.recall(conn, "a secret")) == "0"
