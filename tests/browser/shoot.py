"""Take the pictures of docs/screenshots: python -m tests.browser.shoot."""

import io
from pathlib import Path

from PIL import Image

from tests.browser.pages import furnished, sign_in
from tests.support.running import Running
from tests.support.webdriver import Browser, browser

FOLDER = Path(__file__).parents[2] / "docs" / "screenshots"
SHAPES = {"desktop": (1280, 900), "phone": (390, 844)}


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with furnished() as (gateway, member, admin), browser() as window:
        window.open(f"{gateway.url}/dashboard/sign-in")
        _shoot(window, gateway, {"sign-in": "/dashboard/sign-in"})
        sign_in(window, gateway, member)
        window.open(f"{gateway.url}/dashboard/predictions")
        one = window.run(
            "return [...document.querySelectorAll('[data-open]')].pop().getAttribute('href')"
        )
        pages = {"usage": "", "predictions": "/predictions", "keys": "/keys", "start": "/start"}
        _shoot(
            window,
            gateway,
            {**{name: f"/dashboard{page}" for name, page in pages.items()}, "prediction": one},
        )
        window.command("Network.clearBrowserCookies")
        sign_in(window, gateway, admin)
        window.open(f"{gateway.url}/dashboard/team")
        user = window.run("return document.querySelector('tbody th a').getAttribute('href')")
        with gateway.client(member) as client:
            gateway.sim.configure(speed=0.01)
            for number in range(3):
                client.post(
                    "/replicate/v1/models/black-forest-labs/flux-schnell/predictions",
                    json={"input": {"prompt": f"a slow one, {number}"}},
                )
            shown = {"team": "/dashboard/team", "user": user, "live": "/dashboard/live"}
            _shoot(window, gateway, shown)


def _shoot(window: Browser, gateway: Running, pages: dict[str, str]) -> None:
    for name, page in pages.items():
        for shape, (width, height) in SHAPES.items():
            for dark in (False, True):
                window.look_like(width=width, height=height, dark=dark)
                window.open(gateway.url + page)
                window.until(
                    "for (const i of document.images) i.loading = 'eager';"
                    "return Promise.all([...document.images].map(i => i.decode())).then(() => 1)"
                )
                picture = Image.open(io.BytesIO(window.screenshot()))
                theme = "dark" if dark else "light"
                file = FOLDER / f"{name}-{shape}-{theme}.webp"
                picture.convert("RGB").save(file, quality=82, method=6)


if __name__ == "__main__":
    main()
