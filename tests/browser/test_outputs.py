"""What models made, as the gallery and the pane show it: and that none of it can act."""

import pytest

from tests.browser.pages import findings, sign_in
from tests.support.running import Running
from tests.support.webdriver import Browser

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(300),  # a busy machine walks many pages slowly
    pytest.mark.xdist_group("browser"),
]

House = tuple[Running, str, str]
_ESCAPE = "\ue00c"


def gallery(window: Browser, house: House) -> None:
    sign_in(window, house[0], house[1])
    window.open(f"{house[0].url}/dashboard/predictions")


def open_card(window: Browser, words: str) -> str:
    """Click the card that says these words; returns what the card shows."""
    find = (
        "const found = [...document.querySelectorAll('[data-open]')]"
        ".find(a => a.textContent.includes(arguments[0]));"
    )
    shown = str(window.run(f"{find} found.click(); return found.textContent", words))
    window.until("return document.activeElement.id === 'pane-title'")
    return " ".join(shown.split())


def pane(window: Browser) -> str:
    return window.text("[data-pane]")


def test_a_film_shows_a_frame_and_plays_when_clicked(house: House, at_ease: Browser) -> None:
    gallery(at_ease, house)
    still = at_ease.until(
        "const v = document.querySelector('.tile video');"
        "v.scrollIntoView(); return v.readyState >= 2 && [v.paused, v.controls, v.videoWidth]"
    )
    assert still == [True, False, 320]
    open_card(at_ease, "a ball rolls by")
    at_ease.until("return document.querySelector('[data-pane] video').readyState >= 2")
    assert at_ease.run("return document.querySelector('[data-pane] video').controls")
    at_ease.until("return document.querySelector('[data-pane] video').currentTime > 0.3")
    assert at_ease.run("return document.querySelector('[data-pane] video').muted")
    # By its address, as a colleague opens it, it waits.
    at_ease.open(at_ease.url)
    at_ease.until("return document.querySelector('[data-pane] video').readyState >= 2")
    assert at_ease.run("return document.querySelector('[data-pane] video').paused")
    assert findings(at_ease) == []


def test_sound_has_a_player(house: House, at_ease: Browser) -> None:
    gallery(at_ease, house)
    open_card(at_ease, "good morning")
    seconds = at_ease.until(
        "const a = document.querySelector('[data-pane] audio');"
        "return a.controls && a.readyState >= 1 && a.duration"
    )
    assert 2.9 < seconds < 3.1
    assert findings(at_ease) == []


def test_text_and_data_show_their_first_lines_and_then_all(house: House, at_ease: Browser) -> None:
    gallery(at_ease, house)
    card = open_card(at_ease, "Why is the sky blue?")
    assert "You said 'Why'" in card
    assert "You said 'Why'" in at_ease.text("[data-pane] .output-text")
    at_ease.press(_ESCAPE)
    at_ease.until("return document.querySelector('[data-pane]') === null")
    open_card(at_ease, '"label": "cat"')
    assert '"score": 0.97' in at_ease.text("[data-pane] .output-text")


def test_a_failure_says_why_and_a_canceled_one_that_it_was(house: House, at_ease: Browser) -> None:
    gallery(at_ease, house)
    card = open_card(at_ease, "CUDA out of memory")
    assert "CUDA out of memory <b>&</b>" in card
    assert "failed" in card
    assert "CUDA out of memory <b>&</b>" in at_ease.text("[data-pane] .notice.bad")
    at_ease.press(_ESCAPE)
    at_ease.until("return document.querySelector('[data-pane]') === null")
    assert "canceled" in open_card(at_ease, "simulated/queue")
    assert "canceled" in pane(at_ease)


def test_what_is_open_and_runs_is_followed_to_its_end_in_place(
    house: House, at_ease: Browser
) -> None:
    gateway, member, _ = house
    with gateway.client(member) as client:
        made = client.post(
            "/replicate/v1/models/simulated/queue/predictions",
            json={"input": {"prompt": "wait for me"}},
        ).json()
        gallery(at_ease, house)
        assert at_ease.title.startswith("(1) ")
        assert "starting" in open_card(at_ease, "wait for me")
        assert "The output appears here by itself" in pane(at_ease)
        at_ease.run("window.stayed = true")
        client.post(f"/replicate/v1/predictions/{made['id']}/cancel")
        gateway.finished(client, made["id"])
    # By itself: nothing is clicked, nothing is called.
    at_ease.until("return document.querySelector('[data-part=status]').textContent.match('cancel')")
    card = f"document.getElementById('card-{made['id']}').textContent"
    at_ease.until(f"return {card}.includes('canceled')")
    at_ease.until("return !document.title.startsWith('(')")
    at_ease.until("return document.querySelector('[data-pane]').dataset.running === '0'")
    assert "by itself" not in pane(at_ease)
    assert at_ease.run("return window.stayed && document.activeElement.id === 'pane-title'")


def test_an_output_appears_in_what_is_open(house: House, at_ease: Browser) -> None:
    gateway, member, _ = house
    with gateway.client(member) as client:
        client.post(
            "/replicate/v1/models/simulated/slow/predictions",
            json={"input": {"seconds": 32, "prompt": "take your time"}},
        )
        gallery(at_ease, house)
        open_card(at_ease, "take your time")
        at_ease.until(
            "return document.querySelector('[data-pane] .output-text')?.textContent"
            " === 'waited 32 s'"
        )


def test_the_text_of_copy_as_curl_makes_it_again(house: House, at_ease: Browser) -> None:
    gateway, member, _ = house
    gallery(at_ease, house)
    open_card(at_ease, "a red bicycle")
    at_ease.run("window.copied = null; navigator.clipboard.writeText = async (t) => { copied = t }")
    at_ease.click("[data-copy=as-curl]")
    curl = str(at_ease.until("return window.copied"))
    assert curl.startswith(f"curl -s {gateway.url}/replicate/v1/models/black-forest-labs/")
    assert "a red bicycle against a white wall" in curl
    assert member not in curl
    at_ease.until("return document.querySelector('[data-copy=as-curl]').textContent === 'Copied'")
    at_ease.click("[data-copy=as-python]")
    at_ease.until("return window.copied.startsWith('import os')")
    at_ease.click("[data-copy-text]")
    address = str(at_ease.until("return window.copied.startsWith('http') && window.copied"))
    with gateway.client() as client:
        assert client.get(address).status_code == 200
    link = at_ease.run("return document.querySelector('[data-pane] a[href$=\".json\"]').href")
    document = at_ease.run("return fetch(arguments[0]).then(r => r.json())", link)
    assert document["input"]["prompt"] == "a red bicycle against a white wall"


def test_hostile_files_are_pictures_and_names_and_nothing_runs(
    house: House, at_ease: Browser
) -> None:
    gateway = house[0]
    gallery(at_ease, house)
    open_card(at_ease, "a drawing with a script in it")
    # The drawing is drawn, and the file with the odd name is had by its real address.
    at_ease.until(
        "const all = [...document.querySelectorAll('[data-pane] img')];"
        "return all.length === 2 && all.every(i => i.complete && i.naturalWidth === 320)"
    )
    names = at_ease.run(
        "return [...document.querySelectorAll('[data-pane] .file-name')].map(e => e.textContent)"
    )
    assert names == ["drawing.svg", "page.html", "a\"b'c<img src=x onerror=hacked=1>&.png"]
    untouched = (
        "return window.hacked === undefined && document.scripts.length === 1"
        " && document.querySelectorAll('iframe, object, embed').length === 0"
    )
    assert at_ease.run(untouched)
    assert findings(at_ease) == []
    links = at_ease.run(
        "return [...document.querySelectorAll('[data-pane] figcaption a')].map(a => a.href)"
    )
    # Opened without the script's help, too.
    at_ease.open(at_ease.url)
    assert at_ease.run(untouched)
    assert at_ease.errors() == []
    drawing, page, picture = links
    for link in (drawing, page):
        at_ease.open(link)
        said = at_ease.errors()
        # The browser tells that it ran nothing: only that, and only there.
        assert said
        assert all("andbox" in line or "404" in line for line in said), said
        assert at_ease.run("return window.hacked === undefined")
        assert at_ease.run("return document.readyState === 'complete'")
    assert at_ease.text("#said") == "still here"
    at_ease.click("button")
    assert at_ease.url == page
    at_ease.errors()
    at_ease.open(picture)
    assert at_ease.run("return document.images[0].naturalWidth") == 320
    at_ease.errors()
    at_ease.open(f"{gateway.url}/dashboard/keys")
    assert at_ease.run("return document.querySelectorAll('td summary').length") == 1
