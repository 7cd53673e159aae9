"""Every page in a real browser, as people of both roles see it."""

import pytest

from tests.browser.pages import (
    ADMIN,
    DESKTOP,
    MEMBER,
    PHONE,
    findings,
    overflow,
    sign_in,
    sign_out,
    small_targets,
)
from tests.support.running import Running
from tests.support.webdriver import Browser

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(300),  # a busy machine walks many pages slowly
    pytest.mark.xdist_group("browser"),
]

_LOADED = (
    "return [...document.images].every(i => i.loading === 'lazy' || i.complete)"
    " && document.readyState === 'complete'"
)


@pytest.mark.parametrize("role", ["member", "admin"])
def test_every_page_is_sound_in_every_shape(
    house: tuple[Running, str, str], at_ease: Browser, role: str
) -> None:
    gateway, member, admin = house
    sign_in(at_ease, gateway, member if role == "member" else admin)
    pages = [*MEMBER] if role == "member" else [*MEMBER, *ADMIN]
    if role == "member":
        at_ease.open(f"{gateway.url}/dashboard/predictions")
        pages.append(str(at_ease.run("return document.querySelector('[data-open]').href")))
    else:
        at_ease.open(f"{gateway.url}/dashboard/team")
        script = "return document.querySelector('tbody th a').getAttribute('href')"
        pages.append(str(at_ease.run(script)))
    for page in pages:
        for size in (DESKTOP, PHONE, (320, 640)):
            for dark in (False, True):
                at_ease.look_like(width=size[0], height=size[1], dark=dark)
                at_ease.open(page if page.startswith("http") else gateway.url + page)
                at_ease.until(_LOADED)
                where = f"{page} at {size}, {'dark' if dark else 'light'}"
                assert findings(at_ease) == [], where
                assert overflow(at_ease) == [], where
                assert small_targets(at_ease) == [], where
                at_ease.run("document.querySelectorAll('details').forEach(d => d.open = true)")
                assert overflow(at_ease) == [], f"{where}, with all details open"


def test_the_sign_in_page_is_sound_and_says_what_is_wrong(
    house: tuple[Running, str, str], window: Browser
) -> None:
    gateway = house[0]
    window.command("Network.clearBrowserCookies")
    for dark in (False, True):
        window.look_like(width=PHONE[0], height=PHONE[1], dark=dark)
        window.open(f"{gateway.url}/dashboard/sign-in")
        window.run("document.querySelector('[name=key]').value = 'hk-wrong'")
        window.click(".sign-in button")
        window.until("return document.querySelector('[role=alert]') !== null")
        assert findings(window) == []
        assert overflow(window) == []
    window.errors()  # the 401 itself


def test_hostile_text_does_nothing(house: tuple[Running, str, str], at_ease: Browser) -> None:
    gateway, member, _ = house
    sign_in(at_ease, gateway, member)
    at_ease.open(f"{gateway.url}/dashboard/predictions")
    links = at_ease.run("return [...document.querySelectorAll('[data-open]')].map(a => a.href)")
    for link in links:
        at_ease.open(link)
        assert at_ease.run("return window.hacked === undefined")
        # As the script puts it in, too.
        at_ease.open(f"{gateway.url}/dashboard/predictions")
        at_ease.run(
            "[...document.querySelectorAll('[data-open]')]"
            ".find(a => a.href === arguments[0]).click()",
            link,
        )
        at_ease.until("return document.querySelector('[data-pane]') !== null")
        assert at_ease.run("return window.hacked === undefined")


def test_a_card_opens_in_place_and_escape_closes_it(
    house: tuple[Running, str, str], at_ease: Browser
) -> None:
    gateway, member, _ = house
    sign_in(at_ease, gateway, member)
    at_ease.open(f"{gateway.url}/dashboard/predictions")
    at_ease.run("window.stayed = true; document.querySelector('[data-open]').click()")
    at_ease.until("return document.activeElement.id === 'pane-title'")
    assert "id=" in at_ease.url
    at_ease.press("\ue00c")
    at_ease.until("return document.querySelector('[data-pane]') === null")
    assert "id=" not in at_ease.url
    assert at_ease.run("return document.activeElement.matches('[data-open]')")
    at_ease.run("history.back()")
    at_ease.until("return document.querySelector('[data-pane]') !== null")
    assert at_ease.run("return window.stayed === true")


def test_what_is_new_is_announced_and_the_list_does_not_jump(
    house: tuple[Running, str, str], at_ease: Browser
) -> None:
    gateway, member, _ = house
    sign_in(at_ease, gateway, member)
    at_ease.open(f"{gateway.url}/dashboard/predictions")
    before = at_ease.run("return [...document.querySelectorAll('[data-card]')].map(c => c.id)")
    with gateway.client(member) as client:
        made = client.post(
            "/replicate/v1/models/black-forest-labs/flux-schnell/predictions",
            json={"input": {"prompt": "one more"}},
        ).json()
        at_ease.run("poll()")
        chip = at_ease.until(
            "return document.querySelector('[data-news]:not([hidden])')?.textContent"
        )
        assert chip == "1 new"
        after = at_ease.run("return [...document.querySelectorAll('[data-card]')].map(c => c.id)")
        assert after == before
        gateway.finished(client, made["id"])
    at_ease.click("[data-news]")
    at_ease.until(f"return document.getElementById('card-{made['id']}') !== null")


def test_numbers_change_without_a_reload(house: tuple[Running, str, str], at_ease: Browser) -> None:
    gateway, member, _ = house
    sign_in(at_ease, gateway, member)
    shown = "return document.querySelectorAll('.quota .figure')[1].textContent"
    before = at_ease.run(shown)
    with gateway.client(member) as client:
        made = client.post(
            "/replicate/v1/models/black-forest-labs/flux-schnell/predictions",
            json={"input": {"prompt": "counted"}},
        ).json()
        gateway.finished(client, made["id"])
    at_ease.run("window.stayed = true; poll()")
    at_ease.until(f"{shown} !== {before!r}")
    assert at_ease.run("return window.stayed === true")


def test_a_key_is_made_used_and_revoked_with_the_keyboard_alone(
    house: tuple[Running, str, str], at_ease: Browser
) -> None:
    gateway, member, _ = house
    sign_in(at_ease, gateway, member)
    at_ease.open(f"{gateway.url}/dashboard/keys")
    at_ease.run("document.querySelector('[name=label]').focus()")
    at_ease.type("[name=label]", 'a "laptop" <b>')
    at_ease.press("\ue007")
    key = str(at_ease.until("return document.getElementById('new-key')?.textContent"))
    assert key.startswith("hk-")
    with gateway.client(key) as client:
        assert client.get("/me/v1/limits").status_code == 200
        at_ease.open(f"{gateway.url}/dashboard/keys")
        at_ease.run("document.querySelector('td summary').focus()")
        at_ease.press("\ue007")
        at_ease.until("return document.querySelector('td details[open]') !== null")
        at_ease.press("\ue004")
        at_ease.press("\ue007")
        at_ease.until("return document.querySelectorAll('td summary').length === 1")
        gateway.refresh_keys()
        assert client.get("/me/v1/limits").status_code == 401


def test_signing_out_closes_the_door(house: tuple[Running, str, str], at_ease: Browser) -> None:
    gateway, member, _ = house
    sign_in(at_ease, gateway, member)
    sign_out(at_ease)
    at_ease.open(f"{gateway.url}/dashboard/keys")
    assert "/dashboard/sign-in" in at_ease.url


def test_every_page_works_without_script(house: tuple[Running, str, str], at_ease: Browser) -> None:
    gateway, member, _ = house
    sign_in(at_ease, gateway, member)
    at_ease.command("Emulation.setScriptExecutionDisabled", value=True)
    try:
        for page in MEMBER:
            at_ease.open(gateway.url + page)
            assert at_ease.text("h1")
        at_ease.open(f"{gateway.url}/dashboard/predictions")
        at_ease.click("[data-open]")
        assert "Prediction time" in at_ease.text("[data-pane]")
    finally:
        at_ease.command("Emulation.setScriptExecutionDisabled", value=False)
