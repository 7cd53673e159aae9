"""A gateway with something to look at, and the browser in front of it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gateway.clock import SystemClock
from gateway.ledger import Connection, totals
from gateway.simulator import SimulatorConfig
from tests.support.running import Running, running
from tests.support.webdriver import Browser

AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text(encoding="utf-8")

TOML = """
[server]
contact = "ops@example.com"

[plans.default]
concurrent_predictions = 8
quotas = [
  { metric = "cost_usd", limit = 100, per = "month" },
  { metric = "predictions", limit = 60, per = "day" },
]

[plans.open]

[teams.research]
share = true
quotas = [{ metric = "images", limit = 500, per = "month" }]

[prices."black-forest-labs/*"]
per_image = 0.003
[prices."meta/*"]
per_input_token = 0.00000005
per_output_token = 0.00000025
"""

LEAVES = (
    "In autumn a tree takes back the green of its leaves before they fall.\n\n"
    "What stays is yellow, and was there all along. Red is made anew, on bright and cold days: "
    "it shields the leaf from light while the rest is carried away."
)
OTHERS = (
    ("meta/meta-llama-3-8b-instruct", {"prompt": "Why is the sky blue?"}),
    ("simulated/clip", {"prompt": "a ball rolls by", "frames": 24, "output_format": "webm"}),
    ("simulated/speech", {"text": "good morning", "seconds": 3}),
    ("simulated/echo", {"prompt": "Why do leaves turn red?", "value": LEAVES}),
    ("simulated/nested", {"prompt": "a cover and two masks"}),
    ("simulated/echo", {"value": {"label": "cat", "score": 0.97}}),
    ("simulated/hostile", {"prompt": "a drawing with a script in it"}),
    ("simulated/failing", {"message": "CUDA out of memory <b>&</b>", "seconds": 0.2}),
)
"""What else is made: text, film, sound, several files, data, hostile files, a failure."""

PROMPTS = (
    "a lighthouse at dawn, fog over the water, oil on canvas",
    "a red bicycle against a white wall",
    '"><img src=x onerror="window.hacked=1"><script>window.hacked=1</script>',
    "an old library with a spiral staircase, warm light, wide angle",
    "portrait of a fox in a green coat",
)
RATIOS = ("1:1", "16:9", "9:16", "3:2", "1:1")
DESKTOP, PHONE = (1280, 860), (390, 844)
MEMBER = (
    "/dashboard",
    "/dashboard/predictions",
    "/dashboard/keys",
    "/dashboard/start",
)
ADMIN = ("/dashboard/team", "/dashboard/live")


@contextmanager
def furnished() -> Iterator[tuple[Running, str, str]]:
    """Run a gateway with predictions of a month; yields it with a member's and an admin's key."""
    sim = SimulatorConfig(speed=8.0)
    # It lives while other tests of the process log what they like.
    with running(TOML, clock=SystemClock(), sim=sim, log_is_its_own=False) as gateway:
        member = gateway.add_user("ann", team="research")
        admin = gateway.add_user("root", role="admin")
        gateway.add_user("ben.with-a-rather-long-name@example.com", team="research")
        with gateway.client(member) as client:
            ids = []
            for prompt, ratio in zip(PROMPTS, RATIOS, strict=True):
                answer = client.post(
                    "/replicate/v1/models/black-forest-labs/flux-schnell/predictions",
                    json={"input": {"prompt": prompt, "aspect_ratio": ratio, "seed": 7}},
                )
                assert answer.status_code == 201, answer.text
                ids.append(answer.json()["id"])
            for model, given in OTHERS:
                answer = client.post(
                    f"/replicate/v1/models/{model}/predictions", json={"input": given}
                )
                assert answer.status_code == 201, answer.text
                ids.append(answer.json()["id"])
                gateway.finished(client, ids[-1])
            answer = client.post(
                "/replicate/v1/models/simulated/queue/predictions", json={"input": {}}
            )
            ids.append(answer.json()["id"])
            client.post(f"/replicate/v1/predictions/{ids[-1]}/cancel")
            for prediction_id in ids:
                gateway.finished(client, prediction_id)
            user_id = gateway.ledger(_user_id)
        day = int(gateway.clock.now() // 86_400)
        gateway.ledger(lambda conn: _history(conn, user_id, day))
        yield gateway, member, admin


def _user_id(conn: Connection) -> str:
    from gateway.ledger import users

    row = users.get_user(conn, "ann")
    assert row is not None
    return row.id


def _history(conn: Connection, user_id: str, today: int) -> None:
    for back in range(1, 29):
        number = (back * 37) % 23 + (back % 7 > 1) * 9
        for model, share, price in (
            ("black-forest-labs/flux-schnell", number, 3_000_000),
            ("meta/meta-llama-3-8b-instruct", number // 3, 400_000),
        ):
            totals.add(
                conn,
                totals.DailyTotal(
                    day=today - back,
                    user_id=user_id,
                    team="research",
                    model=model,
                    status="succeeded",
                    user_name="ann",
                    predictions=share,
                    predict_us=share * 640_000,
                    images=share if "flux" in model else 0,
                    tokens_in=0,
                    tokens_out=0 if "flux" in model else share * 210,
                    cost_nano=share * price,
                    unpriced=0,
                ),
            )


def sign_in(browser: Browser, gateway: Running, key: str) -> None:
    browser.open(f"{gateway.url}/dashboard/sign-in")
    browser.run("document.querySelector('[name=key]').value = arguments[0]", key)
    browser.click(".sign-in button")
    browser.until("return location.pathname === '/dashboard' && document.readyState === 'complete'")


def sign_out(browser: Browser) -> None:
    browser.click(".who button")
    browser.until("return location.pathname === '/dashboard/sign-in'")


def findings(browser: Browser) -> list[str]:
    """Return what the accessibility checker finds serious or critical on this page."""
    browser.run(f"{AXE}; return 1")
    found: list[dict[str, Any]] = browser.run(
        "return axe.run(document, {resultTypes: ['violations']}).then(r => r.violations"
        ".filter(v => v.impact === 'serious' || v.impact === 'critical')"
        ".map(v => ({id: v.id, nodes: v.nodes.map(n => n.html + ' ' + n.failureSummary)})))"
    )
    return [json.dumps(one) for one in found]


def overflow(browser: Browser) -> list[str]:
    """Return what makes the page scroll sideways or sticks out of it."""
    found: list[str] = browser.run(
        "const w = document.documentElement.clientWidth;"
        "const out = [...document.querySelectorAll('body *')].filter(e => {"
        "  if (e.closest('svg, .visually-hidden, .skip, thead')) return false;"
        "  if (e.closest('details:not([open]) > :not(summary)')) return false;"
        "  const r = e.getBoundingClientRect(); return r.width > 0 && r.right > w + 1; })"
        ".map(e => e.outerHTML.slice(0, 120));"
        "return document.documentElement.scrollWidth > w ? ['scrolls', ...out] : out"
    )
    return found


def small_targets(browser: Browser) -> list[str]:
    """Return what is to be touched and is lower than 44 pixels; links inside text may be."""
    found: list[str] = browser.run(
        "return [...document.querySelectorAll("
        "'a, button, input:not([type=hidden]), select, summary')]"
        ".filter(e => !e.closest('.skip, p:not(.actions)') || e.matches('.button'))"
        ".filter(e => { const r = e.getBoundingClientRect();"
        "  return r.width > 0 && r.height < 43.5; }).map(e => e.outerHTML.slice(0, 120))"
    )
    return found
