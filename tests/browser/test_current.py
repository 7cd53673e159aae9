"""What is open stays true: by itself, whatever happens elsewhere in the meantime."""

import httpx
import pytest

from gateway.ledger import Connection, keys, users
from tests.browser.pages import sign_in
from tests.support.running import Running
from tests.support.webdriver import Browser

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(300),  # a busy machine walks many pages slowly
    pytest.mark.xdist_group("browser"),
]

House = tuple[Running, str, str]
_POLLED = "return poll().then(() => document.querySelector('[data-live-state]').textContent)"
_LOADED = "return document.readyState === 'complete'"


def _id_of(gateway: Running, name: str) -> str:
    def find(conn: Connection) -> str:
        row = users.get_user(conn, name)
        assert row is not None
        return row.id

    return gateway.ledger(find)


def test_the_page_after_making_anothers_key_is_kept_current_and_can_be_loaded_again(
    house: House, at_ease: Browser
) -> None:
    gateway, _, admin = house
    gateway.add_user("handed-out")
    user_id = _id_of(gateway, "handed-out")

    def add(conn: Connection) -> None:
        for number in range(30):
            name = f"handed-out.{number}"
            keys.add_key(
                conn, id=name, user_id=user_id, digest=name, hint="hk-…", label=name, now=0.0
            )

    gateway.ledger(add)
    page = f"{gateway.url}/dashboard/team/{user_id}"
    sign_in(at_ease, gateway, admin)
    at_ease.open(page)
    at_ease.click("form[action$='/keys'] button")
    at_ease.until("return document.getElementById('new-key') !== null")
    at_ease.until(_LOADED)
    assert at_ease.url == page
    assert at_ease.run(_POLLED) == ""
    assert at_ease.run("return document.getElementById('new-key') !== null")
    at_ease.run("location.reload()")
    at_ease.until("return document.getElementById('new-key') === null")
    at_ease.until(_LOADED)
    rows = "return document.querySelectorAll('[data-label=Key]').length"
    assert at_ease.run(rows) == 25
    # Loaded again, it made no other key: 30, the first of all, and the one.
    at_ease.click("nav.pages [rel=next]")
    at_ease.until("return location.search === '?page=2' && document.readyState === 'complete'")
    assert at_ease.run(rows) == 7
    # The form's own address, as history or a bookmark has it, leads to the same page.
    at_ease.open(f"{page}/keys?page=2")
    assert at_ease.url == f"{page}?page=2"
    assert at_ease.run(rows) == 7


def test_a_page_that_is_gone_is_not_called_a_gateway_that_does_not_answer(
    house: House, at_ease: Browser
) -> None:
    gateway, member, _ = house
    sign_in(at_ease, gateway, member)
    at_ease.open(f"{gateway.url}/dashboard/keys")
    for status, words in ((404, "Load it again"), (403, "Load it again"), (503, "does not answer")):
        at_ease.run(
            "window.fetch = async () => new Response('', {status: arguments[0]})".replace(
                "arguments[0]", str(status)
            )
        )
        said = at_ease.run(_POLLED)
        assert words in said, status


def test_a_card_that_ends_says_so_also_where_only_what_runs_is_listed(
    house: House, at_ease: Browser
) -> None:
    gateway = house[0]
    key = gateway.add_user("filterer", plan="open")
    sign_in(at_ease, gateway, key)
    with gateway.client(key) as client:
        ended, stays = (_queued(client, words) for words in ("this one ends", "this one stays"))
        at_ease.open(f"{gateway.url}/dashboard/predictions?status=running")
        at_ease.run("window.stayed = true")
        client.post(f"/replicate/v1/predictions/{ended}/cancel")
        gateway.finished(client, ended)
        # By itself: nothing is clicked, nothing is called.
        at_ease.until(f"return {_card(ended)}.textContent.includes('canceled')")
        assert at_ease.run(f"return {_card(stays)}.querySelector('.status-running') !== null")
        client.post(f"/replicate/v1/predictions/{stays}/cancel")
        gateway.finished(client, stays)
        at_ease.until(f"return {_card(stays)}.textContent.includes('canceled')")
    assert at_ease.run("return window.stayed && document.querySelectorAll('[data-card]').length")
    assert at_ease.text("[data-live-state]") == ""


def test_a_card_that_newer_ones_push_off_the_page_is_followed_and_counted(
    house: House, at_ease: Browser
) -> None:
    gateway = house[0]
    key = gateway.add_user("pusher", plan="open")
    sign_in(at_ease, gateway, key)
    with gateway.client(key) as client:
        pushed = _queued(client, "early and slow")
        at_ease.open(f"{gateway.url}/dashboard/predictions")
        at_ease.run("window.stayed = true")
        for number in range(24):
            made = client.post(
                "/replicate/v1/models/simulated/echo/predictions", json={"input": {"value": number}}
            )
            gateway.finished(client, made.json()["id"])
        at_ease.until("return document.querySelector('[data-news]').textContent === '24 new'")
        assert at_ease.title.startswith("(1) ")
        assert at_ease.run(f"return {_card(pushed)}.querySelector('.status-running') !== null")
        client.post(f"/replicate/v1/predictions/{pushed}/cancel")
        gateway.finished(client, pushed)
    at_ease.until(f"return {_card(pushed)}.textContent.includes('canceled')")
    at_ease.until("return !document.title.startsWith('(')")
    assert at_ease.run("return window.stayed === true")


def _queued(client: httpx.Client, prompt: str) -> str:
    made = client.post(
        "/replicate/v1/models/simulated/queue/predictions", json={"input": {"prompt": prompt}}
    )
    assert made.status_code == 201, made.text
    prediction_id: str = made.json()["id"]
    return prediction_id


def _card(prediction_id: str) -> str:
    return f"document.getElementById('card-{prediction_id}')"
