"""Pages for those who have a keyboard only, a small screen, nothing yet, or bad luck."""

import re

import pytest

from gateway.ledger import Connection, keys, users
from tests.browser.pages import ADMIN, DESKTOP, MEMBER, findings, overflow, sign_in, small_targets
from tests.support.running import Running
from tests.support.webdriver import Browser

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(300),  # a busy machine walks many pages slowly
    pytest.mark.xdist_group("browser"),
]

House = tuple[Running, str, str]
SMALL_PHONE, ZOOMED, TABLET = (360, 740), (640, 430), (900, 1100)
"""The second is a desktop of 1280 by 860 at 200 %."""

_TAB, _ENTER, _DOWN, _ESCAPE = "\ue004", "\ue007", "\ue015", "\ue00c"
_STOPS = (
    "return [...document.querySelectorAll('a[href], button, input, select, summary, [tabindex]')]"
    ".filter(e => e.tabIndex >= 0 && !e.disabled && e.type !== 'hidden'"
    " && e.checkVisibility() && !e.closest('details:not([open]) > :not(summary)'))"
    ".map((e, n) => e.dataset.stop = String(n)).length"
)


def test_every_page_is_sound_when_zoomed_and_on_a_small_phone(
    house: House, at_ease: Browser
) -> None:
    gateway, _, admin = house
    long = "W" * 64
    gateway.add_user(long, team="research", role="admin")
    with gateway.client(admin) as client:
        made = [
            client.post(
                "/replicate/v1/models/black-forest-labs/flux-schnell/predictions",
                json={"input": {"prompt": prompt}},
            ).json()["id"]
            for prompt in ("w" * 400, "two words " * 200)
        ]
        for one in made:
            gateway.finished(client, one)
    sign_in(at_ease, gateway, admin)
    at_ease.open(f"{gateway.url}/dashboard/keys")
    at_ease.type("[name=label]", "W" * 100)
    at_ease.press(_ENTER)
    at_ease.until("return document.getElementById('new-key') !== null")
    pages = [*MEMBER, *ADMIN, *(f"/dashboard/predictions?id={one}" for one in made)]
    for size in (SMALL_PHONE, ZOOMED, TABLET, DESKTOP):
        at_ease.look_like(width=size[0], height=size[1], dark=False)
        for page in pages:
            at_ease.open(gateway.url + page)
            assert overflow(at_ease) == [], f"{page} at {size}"
            assert small_targets(at_ease) == [], f"{page} at {size}"
        at_ease.open(f"{gateway.url}/dashboard/team?q={long}")
        at_ease.run("document.querySelector('tbody th a').click()")
        at_ease.until("return document.querySelector('h1').textContent.startsWith('WW')")
        assert overflow(at_ease) == []


@pytest.mark.parametrize("page", [*MEMBER, *ADMIN])
def test_the_tab_key_reaches_everything_and_shows_where_it_is(
    house: House, at_ease: Browser, page: str
) -> None:
    gateway, _, admin = house
    sign_in(at_ease, gateway, admin)
    at_ease.open(gateway.url + page)
    stops = int(at_ease.run(_STOPS))
    assert stops > 6
    reached = set()
    for _ in range(stops):
        at_ease.press(_TAB)
        at = at_ease.run(
            "const e = document.activeElement; const s = getComputedStyle(e);"
            "const r = e.getBoundingClientRect();"
            "return [e.dataset.stop, s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 1,"
            " r.top >= -1 && r.bottom <= innerHeight + 1 || r.height > innerHeight,"
            " e.outerHTML.slice(0, 80)]"
        )
        assert at[1], f"nothing shows the focus on {at[3]}"
        assert at[2], f"out of sight: {at[3]}"
        reached.add(at[0])
    assert reached == {str(number) for number in range(stops)}


def test_filters_wait_until_they_are_asked_for(house: House, at_ease: Browser) -> None:
    gateway, member, _ = house
    sign_in(at_ease, gateway, member)
    at_ease.open(f"{gateway.url}/dashboard/predictions")
    at_ease.run("window.stayed = true; document.querySelector('[name=status]').focus()")
    for _ in range(3):
        at_ease.press(_DOWN)
    assert at_ease.run("return [window.stayed, document.activeElement.value]") == [True, "failed"]
    at_ease.run("document.querySelector('form.filters button').focus()")
    at_ease.press(_ENTER)
    at_ease.until("return location.search === '?status=failed'")
    at_ease.until("return document.readyState === 'complete'")
    assert at_ease.run("return document.querySelectorAll('[data-card]').length") == 1
    at_ease.run("history.back()")
    at_ease.until("return location.search === ''")
    assert at_ease.run("return document.querySelectorAll('select:disabled').length") == 0


def test_the_content_is_one_key_away(house: House, at_ease: Browser) -> None:
    gateway, member, _ = house
    sign_in(at_ease, gateway, member)
    at_ease.open(f"{gateway.url}/dashboard/predictions")
    at_ease.press(_TAB)
    assert at_ease.run("return document.activeElement.className") == "skip"
    at_ease.press(_ENTER)
    at_ease.press(_TAB)
    assert at_ease.run("return document.activeElement.closest('main') !== null")


def test_somebody_new_is_taught_the_next_step_and_makes_a_key(
    house: House, at_ease: Browser
) -> None:
    gateway = house[0]
    key = gateway.add_user("newcomer", plan="open")
    sign_in(at_ease, gateway, key)
    assert "Your plan has no other limit" in at_ease.text("main")
    for page in ("/dashboard", "/dashboard/predictions"):
        at_ease.open(gateway.url + page)
        lines = at_ease.text("#first-lines")
        assert f"curl -s {gateway.url}/replicate/v1/models/" in lines
        assert findings(at_ease) == []
        assert overflow(at_ease) == []
    at_ease.click(".steps button.primary")
    made = str(at_ease.until("return document.getElementById('new-key')?.textContent"))
    with gateway.client(made) as client:
        assert client.get("/me/v1/limits").status_code == 200
    at_ease.open(f"{gateway.url}/dashboard/predictions?status=failed")
    assert "Nothing fits these filters" in at_ease.text("main")


def test_when_replicate_is_down_pages_stay_and_live_says_so(house: House, at_ease: Browser) -> None:
    gateway, member, admin = house
    sign_in(at_ease, gateway, admin)
    gateway.loop.do(gateway.sim.stop_origin("api"))
    try:
        with gateway.client(member) as client:
            for _ in range(3):
                assert client.get("/replicate/v1/models/simulated/echo").status_code == 502
        at_ease.open(f"{gateway.url}/dashboard/live")
        shown = at_ease.text("#now")
        assert "failing" in shown or "some failures" in shown
        assert "Last failure" in shown
        for page in MEMBER:
            at_ease.open(gateway.url + page)
            assert at_ease.text("h1")
    finally:
        gateway.loop.do(gateway.sim.start_origin("api"))


def test_when_the_gateway_is_away_the_page_says_so_and_recovers(
    house: House, at_ease: Browser
) -> None:
    gateway, member, _ = house
    sign_in(at_ease, gateway, member)
    at_ease.open(f"{gateway.url}/dashboard/predictions")

    def cut(off: bool) -> None:
        at_ease.command(
            "Network.emulateNetworkConditions",
            offline=off,
            latency=0,
            downloadThroughput=-1,
            uploadThroughput=-1,
        )

    cut(off=True)
    try:
        at_ease.run("poll()")
        at_ease.until("return document.querySelector('.live-state.wrong') !== null")
        assert "does not answer" in at_ease.text(".live-state")
        # What was there is still there, and a click loses nothing.
        at_ease.run("document.querySelector('[data-open]').click()")
        assert at_ease.run("return document.querySelectorAll('[data-card]').length") > 5
        assert "/dashboard/predictions" in at_ease.url
    finally:
        cut(off=False)
    at_ease.errors()  # the browser's own words about the broken connection
    at_ease.run("poll()")
    at_ease.until("return document.querySelector('.live-state.wrong') === null")


def test_when_the_session_ends_an_open_page_says_so_and_leads_back(
    house: House, at_ease: Browser
) -> None:
    gateway, _, _ = house
    key = gateway.add_user("leaver")
    sign_in(at_ease, gateway, key)
    at_ease.open(f"{gateway.url}/dashboard/predictions?status=failed")

    def revoke(conn: Connection) -> None:
        mine = [one for one in keys.list_keys(conn) if one.user_name == "leaver"]
        keys.revoke_key(conn, mine[0].id, gateway.clock.now())

    gateway.ledger(revoke)
    at_ease.run("poll()")
    at_ease.until("return location.pathname === '/dashboard/sign-in'")
    at_ease.until("return document.readyState === 'complete'")
    assert "Your session has ended" in at_ease.text("main")
    following = at_ease.run("return document.querySelector('[name=next]').value")
    assert re.fullmatch(r"/dashboard/predictions\?status=failed", following)
    assert findings(at_ease) == []


def test_what_happens_now_changes_on_the_page_of_admins(house: House, at_ease: Browser) -> None:
    gateway, member, admin = house
    sign_in(at_ease, gateway, admin)
    at_ease.open(f"{gateway.url}/dashboard/live")
    at_ease.run("window.stayed = true")
    running = "return Number(document.querySelector('#now .figure').textContent)"
    before = at_ease.run(running)
    with gateway.client(member) as client:
        made = client.post(
            "/replicate/v1/models/simulated/queue/predictions", json={"input": {}}
        ).json()["id"]
        at_ease.run("poll()")
        at_ease.until(f"{running} === {before + 1}")
        assert at_ease.title.startswith(f"({before + 1}) ")
        assert made in at_ease.text("#running")
        client.post(f"/replicate/v1/predictions/{made}/cancel")
        gateway.finished(client, made)
    # It is busy, so it asks again by itself.
    at_ease.until(f"{running} === {before}")
    assert at_ease.run("return window.stayed")


def test_an_admin_finds_limits_and_disables_one_of_many(house: House, at_ease: Browser) -> None:
    gateway, _, admin = house

    def crowd(conn: Connection) -> None:
        for number in range(60):
            name = f"crowd-{number:02d}"
            users.add_user(conn, id=name, name=name, webhook_secret="", now=0.0)

    gateway.ledger(crowd)
    key = gateway.add_user("crowd-xy", team="research")
    sign_in(at_ease, gateway, admin)
    at_ease.open(f"{gateway.url}/dashboard/team")
    assert at_ease.run("return document.querySelectorAll('#members tbody tr').length") == 25
    at_ease.click("nav.pages [rel=next]")
    at_ease.until("return location.search === '?page=2' && document.readyState === 'complete'")
    assert "26 to 50 of " in at_ease.text("nav.pages")
    assert findings(at_ease) == []
    at_ease.type("[name=q]", "D-X")
    at_ease.press(_ENTER)
    at_ease.until("return location.search === '?q=D-X' && document.readyState === 'complete'")
    assert at_ease.run("return document.querySelectorAll('#members tbody tr').length") == 1
    at_ease.click("#members tbody a")
    at_ease.until("return document.querySelector('h1').textContent === 'crowd-xy'")
    at_ease.type("[name=limit]", "7")
    at_ease.press(_ENTER)
    at_ease.until("return document.querySelector('#quotas').textContent.includes('of 7')")
    with gateway.client(key) as client:
        gateway.refresh_keys()
        assert client.get("/me/v1/limits").status_code == 200
        at_ease.click(".button.danger:not(details *)")
        at_ease.until("return document.querySelector('.head').textContent.includes('disabled')")
        gateway.refresh_keys()
        assert client.get("/me/v1/limits").status_code == 401
