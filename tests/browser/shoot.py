"""Take the pictures of docs/screenshots: python -m tests.browser.shoot."""

import io
import time
from pathlib import Path

from PIL import Image

from tests.browser.pages import furnished, sign_in
from tests.support.running import Running
from tests.support.webdriver import Browser, browser

FOLDER = Path(__file__).parents[2] / "docs" / "screenshots"
SHAPES = {"desktop": (1280, 900), "phone": (390, 844)}


OPENED = {
    "prediction": "a lighthouse at dawn",
    "film": "a ball rolls by",
    "sound": "good morning",
    "text": "Why do leaves turn red?",
    "failed": "CUDA out of memory",
    "hostile": "a drawing with a script in it",
}
"""The picture's name, and the words on the card of the prediction that it shows."""


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with furnished() as (gateway, member, admin), browser() as window:
        _shoot(window, gateway, {"sign-in": "/dashboard/sign-in"})
        sign_in(window, gateway, gateway.add_user("dora"))
        _shoot(window, gateway, {"empty": "/dashboard/predictions"})
        window.command("Network.clearBrowserCookies")
        sign_in(window, gateway, member)
        _shoot(window, gateway, {name: _card(window, gateway, OPENED[name]) for name in OPENED})
        with gateway.client(member) as client:
            for number in range(3):
                client.post(
                    "/replicate/v1/models/simulated/slow/predictions",
                    json={"input": {"seconds": 100_000, "prompt": f"a slow one, {number}"}},
                )
        _shoot(window, gateway, {"running": _card(window, gateway, "a slow one, 2")})
        pages = {"usage": "", "predictions": "/predictions", "keys": "/keys", "start": "/start"}
        own = {name: f"/dashboard{page}" for name, page in pages.items()}
        _shoot(window, gateway, own)
        window.command("Network.clearBrowserCookies")
        sign_in(window, gateway, admin)
        window.open(f"{gateway.url}/dashboard/team")
        user = window.run("return document.querySelector('tbody th a').getAttribute('href')")
        shown = {"team": "/dashboard/team", "user": user, "live": "/dashboard/live"}
        _shoot(window, gateway, shown)


def _card(window: Browser, gateway: Running, words: str) -> str:
    """Return the address of the prediction whose card says these words."""
    window.open(f"{gateway.url}/dashboard/predictions")
    found = window.run(
        "return [...document.querySelectorAll('[data-open]')]"
        ".find(a => a.textContent.includes(arguments[0])).getAttribute('href')",
        words,
    )
    return str(found)


def _shoot(window: Browser, gateway: Running, pages: dict[str, str]) -> None:
    for name, page in pages.items():
        for shape, (width, height) in SHAPES.items():
            for dark in (False, True):
                window.look_like(width=width, height=height, dark=dark)
                window.open(gateway.url + page)
                window.until(
                    "for (const i of document.images) i.loading = 'eager';"
                    "return Promise.all([...document.images].map(i => i.decode())).then(() =>"
                    " [...document.querySelectorAll('video')].every(v => v.readyState >= 2))"
                )
                if "<video" in window.run("return document.body.innerHTML"):
                    time.sleep(1.5)  # until the player's own ring has gone
                picture = Image.open(io.BytesIO(window.screenshot()))
                theme = "dark" if dark else "light"
                file = FOLDER / f"{name}-{shape}-{theme}.webp"
                picture.convert("RGB").save(file, quality=82, method=6)


if __name__ == "__main__":
    main()
