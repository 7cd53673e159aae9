"""The account's allowance."""

from gateway.simulator.limits import SlidingWindow
from tests.simulator.conftest import Api

ECHO = "/models/simulated/echo/predictions"


async def test_creates_beyond_the_allowance_are_throttled_until_the_minute_is_over(
    api: Api,
) -> None:
    api.simulator.configure(creates_per_minute=10)
    answers = [await api.post(ECHO, json={"input": {}}) for _ in range(12)]
    # A short burst above is tolerated.
    assert [answer.status_code for answer in answers] == [201] * 11 + [429]
    assert answers[0].headers["ratelimit-remaining"] == "9"
    assert answers[10].headers["ratelimit-remaining"] == "0"
    body = answers[11].json()
    assert body == {
        "detail": "Request was throttled. Your rate limit resets in ~60s.",
        "status": 429,
        "retry_after": 60,
    }
    assert answers[11].headers["ratelimit-reset"] == "60"
    assert (await api.get("/account")).status_code == 200
    api.clock.advance(60.5)
    assert (await api.post(ECHO, json={"input": {}})).status_code == 201
    assert len(api.simulator.prediction_ids()) == 12


async def test_other_requests_have_an_allowance_of_their_own(api: Api) -> None:
    api.simulator.configure(requests_per_minute=10)
    answers = [await api.get("/account") for _ in range(12)]
    assert [answer.status_code for answer in answers] == [200] * 11 + [429]
    assert (await api.post(ECHO, json={"input": {}})).status_code == 201


async def test_low_credit_allows_one_a_second_and_six_a_minute(api: Api) -> None:
    api.simulator.configure(low_credit=True)
    assert (await api.post(ECHO, json={"input": {}})).status_code == 201
    second = await api.post(ECHO, json={"input": {}})
    assert (second.status_code, second.json()["retry_after"]) == (429, 1)
    statuses = []
    for _ in range(6):
        api.clock.advance(1.01)
        statuses.append((await api.post(ECHO, json={"input": {}})).status_code)
    assert statuses == [201] * 5 + [429]


async def test_nothing_is_throttled_where_limits_are_off(api: Api) -> None:
    api.simulator.configure(creates_per_minute=1, enforce_rate_limits=False)
    answers = [await api.post(ECHO, json={"input": {}}) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [201] * 5
    assert "ratelimit-remaining" not in answers[0].headers


def test_a_refused_request_uses_nothing_up() -> None:
    window = SlidingWindow()
    taken = [window.take(100.0, 5) for _ in range(50)]
    assert sum(allowance.admitted for allowance in taken) == 6
    assert window.take(160.0, 5).admitted


def test_retrying_when_told_succeeds() -> None:
    window = SlidingWindow()
    now = 0.0
    for _ in range(200):
        allowance = window.take(now, 10)
        if not allowance.admitted:
            now += allowance.retry_after_s
            assert window.take(now, 10).admitted
        now += 0.37
