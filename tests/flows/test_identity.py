"""Who may do what: keys, owners, and where the upstream token goes."""

from collections.abc import Iterator

import httpx
import pytest

from gateway.ledger import keys, users
from tests.support.creating import API, FLUX, create, created, read
from tests.support.people import make_key
from tests.support.running import Running, running

TEAMS = """
[plans.default]
[teams.open]
share = true
[teams.closed]
"""


@pytest.fixture(scope="module")
def gateway() -> Iterator[Running]:
    with running(TEAMS) as gateway:
        yield gateway


def account(client: httpx.Client) -> int:
    return client.get(f"{API}/account").status_code


def test_all_bad_keys_are_answered_alike(gateway: Running) -> None:
    expired = gateway.add_user("expired", expires_at=gateway.clock.now() + 10)
    gateway.advance(11)
    gateway.refresh_keys()
    answers = []
    for key in (None, "hk-unknown", expired, "r8_" + "a" * 37, gateway.sim_config.token):
        with gateway.client(key) as client:
            answers.append(client.get(f"{API}/predictions"))
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1
    assert answers[0].headers["www-authenticate"] == "Bearer"
    assert answers[0].headers["x-should-retry"] == "false"
    assert answers[0].json()["detail"] == "You did not pass a valid authentication token"


def test_a_key_works_until_it_expires(gateway: Running) -> None:
    key = gateway.add_user("brief", expires_at=gateway.clock.now() + 100)
    with gateway.client(key) as client:
        assert account(client) == 200
        gateway.advance(97)
        gateway.refresh_keys()
        assert account(client) == 200
        gateway.advance(3)
        assert account(client) == 401


def test_a_revoked_key_stops_within_a_second_and_its_users_other_key_works_on(
    gateway: Running,
) -> None:
    first = gateway.add_user("two-keys")
    user = gateway.ledger(lambda conn: users.get_user(conn, "two-keys"))
    assert user is not None
    second = gateway.ledger(lambda conn: make_key(conn, gateway.clock, user.id))
    with gateway.client(first) as one, gateway.client(second) as other:
        assert (account(one), account(other)) == (200, 200)
        listed = gateway.ledger(lambda conn: keys.list_keys(conn, user.id))
        oldest = min(listed, key=lambda row: row.created_at)
        gateway.ledger(lambda conn: keys.revoke_key(conn, oldest.id, gateway.clock.now()))
        gateway.refresh_keys()
        assert (account(one), account(other)) == (401, 200)


def test_a_disabled_user_is_out_within_a_second_and_back_when_enabled(gateway: Running) -> None:
    with gateway.client(gateway.add_user("on-and-off")) as client:
        user = gateway.ledger(lambda conn: users.get_user(conn, "on-and-off"))
        assert user is not None
        assert account(client) == 200
        gateway.ledger(lambda conn: users.set_disabled(conn, user.id, gateway.clock.now()))
        gateway.refresh_keys()
        assert account(client) == 401
        gateway.ledger(lambda conn: users.set_disabled(conn, user.id, None))
        gateway.refresh_keys()
        assert account(client) == 200


def test_old_clients_say_token_instead_of_bearer(gateway: Running) -> None:
    key = gateway.add_user("old-timer")
    for scheme in ("Token", "token", "bearer", "BEARER"):
        with gateway.client(headers={"Authorization": f"{scheme} {key}"}) as client:
            assert account(client) == 200


def test_base_urls_with_and_without_v1_mean_the_same(gateway: Running) -> None:
    with gateway.client(gateway.add_user("confused")) as client:
        for base in ("/replicate", "/replicate/v1", "/replicate/v1/v1"):
            made = client.post(
                f"{base}/models/simulated/echo/predictions", json={"input": {"value": 1}}
            )
            assert made.status_code == 201
            assert client.get(f"{base}/predictions/{made.json()['id']}").status_code == 200
            assert client.get(f"{base}/models/simulated/echo").status_code == 200


def test_another_users_prediction_does_not_exist(gateway: Running) -> None:
    with (
        gateway.client(gateway.add_user("owner")) as owner,
        gateway.client(gateway.add_user("stranger")) as stranger,
    ):
        running_id = created(owner, "slow", seconds=1000)
        finished_id = created(owner, "echo", value=1)
        assert gateway.finished(owner, finished_id).status_code == 200
        unknown = read(stranger, "x" * 26)
        assert unknown.status_code == 404
        for prediction_id in (running_id, finished_id):
            for _ in range(2):  # from the ledger, then from memory
                assert read(stranger, prediction_id).content == unknown.content
            refused = stranger.post(f"{API}/predictions/{prediction_id}/cancel")
            assert (refused.status_code, refused.content) == (404, unknown.content)
        assert stranger.get(f"{API}/predictions").json()["results"] == []
        assert read(owner, running_id).json()["status"] in ("starting", "processing")
        mine = {item["id"] for item in owner.get(f"{API}/predictions").json()["results"]}
        assert mine == {running_id, finished_id}


def test_a_prediction_made_beside_the_gateway_is_nobodys(gateway: Running) -> None:
    async def make() -> str:
        return gateway.sim.create("simulated/echo", {"value": 1})

    foreign = gateway.loop.do(make())
    with gateway.client(gateway.add_user("curious")) as client:
        assert read(client, foreign).status_code == 404
        assert client.get(f"{API}/predictions").json()["results"] == []


@pytest.mark.parametrize(("team", "status"), [("open", 200), ("closed", 404)])
def test_a_team_that_shares_may_read_but_not_cancel(
    gateway: Running, team: str, status: int
) -> None:
    with (
        gateway.client(gateway.add_user(f"{team}-owner", team=team)) as owner,
        gateway.client(gateway.add_user(f"{team}-mate", team=team)) as mate,
    ):
        running_id = created(owner, "slow", seconds=1000)
        finished_id = created(owner, "echo", value=1)
        gateway.finished(owner, finished_id)
        assert read(mate, running_id).status_code == status
        assert read(mate, finished_id).status_code == status
        assert mate.post(f"{API}/predictions/{running_id}/cancel").status_code == 404
        assert mate.get(f"{API}/predictions").json()["results"] == []


def test_cancel_ends_ones_own_and_answers_as_upstream_does(gateway: Running) -> None:
    with gateway.client(gateway.add_user("canceler")) as client:
        prediction_id = created(client, "slow", seconds=1000)
        canceled = client.post(f"{API}/predictions/{prediction_id}/cancel")
        assert canceled.status_code == 200
        assert canceled.json()["urls"]["get"].startswith(gateway.base)
        assert gateway.finished(client, prediction_id).json()["status"] == "canceled"
        again = client.post(f"{API}/predictions/{prediction_id}/cancel")
        assert (again.status_code, again.json()["status"]) == (200, "canceled")


def test_the_token_goes_to_the_api_and_nowhere_else(gateway: Running) -> None:
    key = gateway.add_user("careful")
    with gateway.client(key, headers={"Cookie": "a=b", "X-Forwarded-For": "1.2.3.4"}) as client:
        made = client.post(FLUX, json={"input": {"prompt": "a fox"}})
        (url,) = gateway.finished(client, made.json()["id"]).json()["output"]
        assert client.get(url).status_code == 200
        foreign = create(client, "foreign-url", url="http://127.0.0.1:9/x.png")
        gateway.finished(client, foreign.json()["id"])
    token = gateway.sim_config.token
    entries = gateway.sim.log.entries(internal=None)
    assert {entry.origin for entry in entries} >= {"api", "delivery"}
    for entry in entries:
        expected = f"Bearer {token}" if entry.origin == "api" else None
        assert entry.authorization == expected, entry.path
        said = str(entry.headers) + entry.query + entry.path + entry.body.decode("latin-1")
        assert key not in said
        for name in ("cookie", "x-forwarded-for", "forwarded", "idempotency-key"):
            assert entry.header(name) is None


def test_two_authorization_headers_are_none(gateway: Running) -> None:
    key = gateway.add_user("twice")
    both = [("Authorization", f"Bearer {key}"), ("Authorization", "Bearer hk-somebody-else")]
    with gateway.client() as client:
        for headers in (both, both[::-1]):
            answer = client.get("/replicate/v1/account", headers=headers)
            assert answer.status_code == 401
