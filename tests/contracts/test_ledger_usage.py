"""What predictions add up to: reports, histories, gauges; the same on both engines."""

from dataclasses import replace
from functools import partial

import pytest

from gateway.domain.usage import Usage
from gateway.ledger import (
    Connection,
    Ledger,
    creates,
    gauges,
    outbox,
    predictions,
    usage,
)
from gateway.ledger.creates import NewPrediction, Reservation
from gateway.ledger.outbox import OutboxEvent
from gateway.ledger.predictions import Filter
from tests.contracts.made_predictions import make, settle
from tests.support.ledgers import (
    NOW,
    database_fixture,
    deciding,
    ledger_fixture,
    prediction,
    reservation,
    settlement,
)

FIXTURES = (database_fixture, ledger_fixture)
DAY_S = 86_400
URL = "https://replicate.delivery/a.png"


async def test_usage_adds_up_by_user_team_model_and_day(ledger: Ledger) -> None:
    await make(ledger, "a", team="red")
    await make(ledger, "b", user="u2", team="red", model="other/model", at=NOW + 86_400)
    await make(ledger, "c", at=NOW + 86_400)
    await settle(ledger, settlement(usage=Usage(10, 1, 2, 3), cost_nano=100), "a")
    await settle(ledger, settlement("failed", usage=Usage(5), cost_nano=None), "b")

    async def report(*by: usage.By, until: float = NOW + 10**6) -> list[usage.UsageLine]:
        return await ledger.read(lambda conn: usage.report(conn, by, since=NOW, until=until))

    (everything,) = await report()
    assert (everything.predictions, everything.running, everything.failed) == (3, 1, 1)
    assert (everything.predict_us, everything.images) == (15, 1)
    assert (everything.tokens_in, everything.tokens_out) == (2, 3)
    assert (everything.cost_nano, everything.unpriced) == (100, 1)
    assert [(line.user, line.predictions) for line in await report("user")] == [
        ("u1's name", 2),
        ("u2's name", 1),
    ]
    assert {(line.team, line.predictions) for line in await report("team")} == {
        ("red", 2),
        (None, 1),
    }
    day = int(NOW // 86_400)
    assert [(line.model, line.day, line.predictions) for line in await report("day", "model")] == [
        ("other/model", day + 1, 1),
        ("owner/name", day, 1),
        ("owner/name", day + 1, 1),
    ]
    assert [line.predictions for line in await report(until=NOW + 1)] == [1]
    assert await report(until=NOW) == []
    narrowed = await ledger.read(
        lambda conn: usage.report(
            conn, ["model"], since=0, until=10**10, user_id="u2", team="red", user="u2's name"
        )
    )
    assert [line.model for line in narrowed] == ["other/model"]


@pytest.mark.parametrize("span", [(0.0, 5.0), (0.3, 4.7), (1.2, 1.9), (2.0, 3.0), (1.5, 2.0)])
async def test_a_report_says_the_same_as_the_rows_wherever_it_begins_and_ends(
    ledger: Ledger, span: tuple[float, float]
) -> None:
    """Whole days come from the totals, the rest from the rows: nothing twice, nothing left out."""
    midnight = NOW // DAY_S * DAY_S
    for number in range(40):
        at = midnight + number * DAY_S / 8
        name = f"p{number}"
        user = f"u{number % 3}"
        await make(ledger, name, at=at, user=user, team=None if number % 2 else "red")
        if number % 5:
            status = "failed" if number % 7 == 0 else "succeeded"
            cost = None if number % 4 == 0 else number
            end = settlement(status, at=at + 90_000, usage=Usage(number, 1), cost_nano=cost)
            await settle(ledger, end, name)
    since, until = (midnight + day * DAY_S for day in span)
    rows = await ledger.read(lambda conn: predictions.rows(conn, Filter(), limit=100))
    rows = [row for row in rows if since <= row.charged_at < until]
    for team in (None, "red"):
        lines = await ledger.read(
            partial(usage.report, by=["user", "day"], since=since, until=until, team=team)
        )
        expected: dict[tuple[str, int], list[predictions.Row]] = {}
        for row in rows:
            if team is None or row.team == team:
                expected.setdefault((row.user_id, int(row.charged_at // DAY_S)), []).append(row)
        assert {(line.user_id, line.day) for line in lines} == set(expected)
        for line in lines:
            assert line.day is not None
            assert line.user_id is not None
            mine = expected[line.user_id, line.day]
            assert line.predictions == len(mine)
            assert line.running == sum(row.settled_at is None for row in mine)
            assert line.failed == sum(row.status == "failed" for row in mine)
            assert line.predict_us == sum(row.predict_us or 0 for row in mine)
            assert line.cost_nano == sum(row.cost_nano or 0 for row in mine)
            settled = [row for row in mine if row.settled_at is not None]
            assert line.unpriced == sum(row.cost_nano is None for row in settled)


async def test_a_renamed_user_is_one_line_under_the_new_name(ledger: Ledger) -> None:
    for number, name in enumerate(("Ann", "Ann", "Anne")):
        asked = replace(reservation(f"c{number}", at=NOW + number * DAY_S), user_name=name)
        made = prediction(f"p{number}", created_at=NOW + number * DAY_S)

        def write(conn: Connection, asked: Reservation = asked, made: NewPrediction = made) -> None:
            creates.reserve(conn, asked, [], None, deciding())
            creates.record(conn, asked.id, made, [], NOW)
            predictions.settle(conn, made.id, settlement())

        await ledger.write(write)
    until = NOW + 9 * DAY_S
    (line,) = await ledger.read(partial(usage.report, by=["user"], since=0, until=until))
    assert (line.user, line.user_id, line.predictions) == ("Anne", "u1", 3)


async def test_a_models_history_is_its_last_successes(ledger: Ledger) -> None:
    for number in range(4):
        await make(ledger, f"p{number}")
        status = "failed" if number == 3 else "succeeded"
        end = settlement(status, at=NOW + number, usage=Usage(number, 1, 2, 3))
        await settle(ledger, end, f"p{number}")
    history = await ledger.read(lambda conn: predictions.recent_usage(conn, "owner/name", 2))
    assert history == [Usage(2, 1, 2, 3), Usage(1, 1, 2, 3)]
    assert await ledger.read(lambda conn: predictions.recent_usage(conn, "no/model", 2)) == []


async def test_gauges_show_what_is_open_now(ledger: Ledger) -> None:
    await make(ledger, "a")
    await make(ledger, "b")
    await settle(ledger, name="b")
    asked = reservation("lost")
    await ledger.write(lambda conn: creates.reserve(conn, asked, [], None, deciding()))
    await ledger.write(lambda conn: creates.doubt(conn, "lost", NOW))
    event = OutboxEvent(id="e", event="completed", url="https://h", body=b"x")
    await ledger.write(lambda conn: outbox.enqueue(conn, [event], NOW))
    now = await ledger.read(lambda conn: gauges.gauges(conn, NOW + 4))
    assert now == gauges.Gauges(
        in_flight={"u1's name": 1},
        creates_in_doubt=1,
        outbox_pending=1,
        outbox_oldest_s=4.0,
        outbox_dead=0,
        follower_lag_s=3.0,
    )
