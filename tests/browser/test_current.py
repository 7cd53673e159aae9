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


def test_all_of_my_usage_changes_by_itself_and_what_was_opened_stays_open(
    house: House, at_ease: Browser
) -> None:
    gateway = house[0]
    key = gateway.add_user("counter", plan="open")
    sign_in(at_ease, gateway, key)
    at_ease.run("window.stayed = true")
    at_ease.click(".table-behind summary")
    assert "Nothing in these days" in at_ease.text("#by-day")
    assert "Nothing yet" in at_ease.text("main")
    at_ease.run("document.activeElement.blur()")
    for number in (1, 2):
        with gateway.client(key) as client:
            _echoed(gateway, client)
        assert at_ease.run(_POLLED) == ""
        made = "return document.querySelector('#by-day tbody td.num')?.textContent"
        assert at_ease.run(made) == str(number)
        by_model = "return document.querySelector('#models [data-label=Predictions]')?.textContent"
        assert at_ease.run(by_model) == str(number)
    assert "Nothing yet" not in at_ease.text("main")
    assert at_ease.run("return window.stayed && document.querySelector('.table-behind').open")


def test_my_keys_change_by_themselves_around_what_is_being_typed_and_confirmed(
    house: House, at_ease: Browser
) -> None:
    gateway = house[0]
    key = gateway.add_user("key-holder", plan="open")
    user_id = _id_of(gateway, "key-holder")
    sign_in(at_ease, gateway, key)
    _add_key(gateway, user_id, "second-key")
    at_ease.open(f"{gateway.url}/dashboard/keys")
    at_ease.run("window.stayed = true")
    at_ease.type("[name=label]", "half a na")
    assert _cell(at_ease, "second-key", "Last used") == "never"
    gateway.ledger(lambda conn: keys.touch_keys(conn, {"second-key": gateway.clock.now()}))
    _add_key(gateway, user_id, "third-key")
    assert at_ease.run(_POLLED) == ""
    assert _cell(at_ease, "second-key", "Last used") != "never"
    assert _cell(at_ease, "third-key", "State") == "active"
    assert at_ease.run("return document.activeElement.value") == "half a na"
    # A question that is open stays open, while the answers around it change.
    at_ease.click("#key-third-key summary")
    at_ease.run("document.activeElement.blur()")
    gateway.ledger(lambda conn: keys.revoke_key(conn, "second-key", gateway.clock.now()))
    assert at_ease.run(_POLLED) == ""
    assert _cell(at_ease, "second-key", "State") == "revoked"
    assert at_ease.run("return document.querySelector('#key-second-key summary') === null")
    assert at_ease.run("return document.querySelector('#key-third-key details').open")
    assert at_ease.run("return window.stayed && document.querySelector('[name=label]').value")


def test_the_page_of_a_user_shows_their_keys_and_models_as_they_change(
    house: House, at_ease: Browser
) -> None:
    gateway, _, admin = house
    key = gateway.add_user("looked-at", plan="open")
    user_id = _id_of(gateway, "looked-at")
    sign_in(at_ease, gateway, admin)
    at_ease.open(f"{gateway.url}/dashboard/team/{user_id}")
    at_ease.type("[name=limit]", "12")
    assert at_ease.run("return document.querySelector('#models section') === null")
    with gateway.client(key) as client:
        _echoed(gateway, client)
    _add_key(gateway, user_id, "fresh-key")
    assert at_ease.run(_POLLED) == ""
    assert "simulated/echo" in at_ease.text("#models")
    assert _cell(at_ease, "fresh-key", "Last used") == "never"
    assert at_ease.run("return document.activeElement.value") == "12"


def _add_key(gateway: Running, user_id: str, name: str) -> None:
    gateway.ledger(
        lambda conn: keys.add_key(
            conn,
            id=name,
            user_id=user_id,
            digest=name,
            hint="hk-…",
            label=name,
            now=gateway.clock.now(),
        )
    )


def _cell(window: Browser, key_id: str, label: str) -> str:
    script = "return document.querySelector(arguments[0]).textContent.trim()"
    return str(window.run(script, f"#key-{key_id} [data-label='{label}']"))


def _echoed(gateway: Running, client: httpx.Client) -> None:
    made = client.post(
        "/replicate/v1/models/simulated/echo/predictions", json={"input": {"value": "x"}}
    )
    gateway.finished(client, made.json()["id"])


def _queued(client: httpx.Client, prompt: str) -> str:
    made = client.post(
        "/replicate/v1/models/simulated/queue/predictions", json={"input": {"prompt": prompt}}
    )
    assert made.status_code == 201, made.text
    prediction_id: str = made.json()["id"]
    return prediction_id


def _card(prediction_id: str) -> str:
    return f"document.getElementById('card-{prediction_id}')"
