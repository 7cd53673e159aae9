import re
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from gateway.dashboard.session import COOKIE
from gateway.ledger import Connection, keys, users
from tests.support.clock import ManualClock
from tests.support.running import Running, running

TOML = """
[server]
contact = "ops@example.com"

[plans.default]
concurrent_predictions = 4
quotas = [
  { metric = "predictions", limit = 1000, per = "day" },
  { metric = "cost_usd", limit = 100, per = "month" },
]

[teams.research]
share = true
quotas = [{ metric = "images", limit = 500, per = "month" }]

[prices."black-forest-labs/*"]
per_image = 0.003
"""
FLUX = "/replicate/v1/models/black-forest-labs/flux-schnell/predictions"
MEMBER_PAGES = ("", "/usage", "/predictions", "/keys", "/start")
ADMIN_PAGES = ("/team", "/live")


@pytest.fixture(scope="module")
def gateway() -> Iterator[Running]:
    with running(TOML) as found:
        yield found


@pytest.fixture(scope="module")
def names() -> Iterator[int]:
    return iter(range(1000))


@pytest.fixture
def ann(gateway: Running, names: Iterator[int]) -> str:
    return gateway.add_user(f"ann{next(names)}", team="research")


@pytest.fixture
def root(gateway: Running, names: Iterator[int]) -> str:
    return gateway.add_user(f"root{next(names)}", role="admin")


@contextmanager
def signed_in(gateway: Running, key: str) -> Iterator[httpx.Client]:
    with gateway.client() as client:
        answer = client.post("/dashboard/sign-in", data={"key": key})
        assert answer.status_code == 303, answer.text
        yield client


def token_of(page: str) -> str:
    found = re.search(r'name="token" value="([0-9a-f]{40})"', page)
    assert found is not None
    return found[1]


def made(gateway: Running, key: str, prompt: str = "a lighthouse") -> str:
    with gateway.client(key) as client:
        answer = client.post(FLUX, json={"input": {"prompt": prompt, "seed": 7}})
        assert answer.status_code == 201, answer.text
        prediction_id: str = answer.json()["id"]
        gateway.finished(client, prediction_id)
    return prediction_id


@pytest.mark.parametrize("page", [*MEMBER_PAGES, *ADMIN_PAGES])
def test_without_a_session_every_page_leads_to_the_sign_in(gateway: Running, page: str) -> None:
    with gateway.client() as client:
        answer = client.get(f"/dashboard{page}")
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/dashboard/sign-in?next=%2Fdashboard")


@pytest.mark.parametrize("page", MEMBER_PAGES)
def test_a_member_sees_their_pages_under_a_strict_policy(
    gateway: Running, ann: str, page: str
) -> None:
    with signed_in(gateway, ann) as client:
        answer = client.get(f"/dashboard{page}")
    assert answer.status_code == 200
    assert len(answer.content) < 50_000
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    nonce = re.search(r"script-src 'nonce-([^']+)'", policy)
    assert nonce is not None
    assert "unsafe" not in policy
    scripts = re.findall(r"<script[^>]*>", answer.text)
    assert len(scripts) == 1
    assert f'nonce="{nonce[1]}"' in scripts[0].replace("&#43;", "+")
    assert "style=" not in answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert ann not in answer.text


@pytest.mark.parametrize("page", ADMIN_PAGES)
def test_pages_of_admins_are_refused_to_members(
    gateway: Running, ann: str, root: str, page: str
) -> None:
    with signed_in(gateway, ann) as client:
        assert client.get(f"/dashboard{page}").status_code == 403
    with signed_in(gateway, root) as client:
        assert client.get(f"/dashboard{page}").status_code == 200


def test_no_nonce_is_used_twice(gateway: Running, ann: str) -> None:
    with signed_in(gateway, ann) as client:
        policies = {client.get("/dashboard").headers["content-security-policy"] for _ in "ab"}
    assert len(policies) == 2


def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites(
    gateway: Running, ann: str
) -> None:
    with gateway.client() as client:
        plain = client.post("/dashboard/sign-in", data={"key": ann}).headers["set-cookie"]
    assert "HttpOnly" in plain
    assert "SameSite=Strict" in plain
    assert "Secure" not in plain
    assert ann not in plain


def test_the_cookie_of_an_https_origin_is_secure(names: Iterator[int]) -> None:
    with running('[server]\npublic_url = "https://gateway.example"') as gateway:
        key = gateway.add_user("ann")
        with gateway.client() as client:
            answer = client.post("/dashboard/sign-in", data={"key": key})
    assert "; Secure" in answer.headers["set-cookie"]


def test_a_session_dies_with_its_key(gateway: Running, ann: str) -> None:
    with signed_in(gateway, ann) as client:
        assert client.get("/dashboard").status_code == 200
        now = gateway.clock.now()

        def revoke(conn: Connection) -> None:
            for key in keys.list_keys(conn):
                if ann.startswith(key.hint[:-1]):
                    keys.revoke_key(conn, key.id, now)

        gateway.ledger(revoke)
        assert client.get("/dashboard").status_code == 303


def test_a_session_dies_with_its_users_permission(
    gateway: Running, ann: str, names: Iterator[int]
) -> None:
    name = f"gone{next(names)}"
    key = gateway.add_user(name)
    with signed_in(gateway, key) as client:

        def disable(conn: Connection) -> None:
            row = users.get_user(conn, name)
            assert row is not None
            users.set_disabled(conn, row.id, 1.0)

        gateway.ledger(disable)
        assert client.get("/dashboard").status_code == 303


def test_a_session_ends_after_twelve_hours_without_a_visit() -> None:
    clock = ManualClock()
    with running(clock=clock) as gateway:
        key = gateway.add_user("ann")
        with gateway.client() as client:
            client.post("/dashboard/sign-in", data={"key": key})
            cookie = {"cookie": f"{COOKIE}={client.cookies[COOKIE]}"}
        with gateway.client(headers=cookie) as client:
            assert client.get("/dashboard").status_code == 200
            clock.advance(13 * 3600)
            gateway.refresh_keys()
            assert client.get("/dashboard").status_code == 303


def test_a_visit_renews_the_session() -> None:
    clock = ManualClock()
    with running(clock=clock) as gateway, signed_in(gateway, gateway.add_user("ann")) as client:
        first = client.cookies[COOKIE]
        clock.advance(2 * 3600)
        gateway.refresh_keys()
        page = client.get("/dashboard/keys")
        assert client.cookies[COOKIE] != first
        assert token_of(page.text) == token_of(client.get("/dashboard/keys").text)


def test_a_forged_cookie_opens_nothing(gateway: Running, ann: str) -> None:
    with signed_in(gateway, ann) as client:
        good = client.cookies[COOKIE]
    key_id, name, at, mac = good.split(".")
    wrong = [
        f"{key_id}.{name}.{int(at) + 1}.{mac}",
        f"{key_id[::-1]}.{name}.{at}.{mac}",
        f"{key_id}.{name}.{at}.{'0' * 64}",
        "x" * 5000,
        "",
    ]
    for value in wrong:
        with gateway.client(headers={"cookie": f"{COOKIE}={value}"}) as client:
            assert client.get("/dashboard").status_code == 303


def test_a_form_without_the_sessions_token_changes_nothing(
    gateway: Running, ann: str, root: str
) -> None:
    with signed_in(gateway, root) as other:
        foreign = token_of(other.get("/dashboard/keys").text)
    with signed_in(gateway, ann) as client:
        for token in ("", "0" * 40, foreign):
            answer = client.post("/dashboard/keys", data={"label": "x", "token": token})
            assert answer.status_code == 403
        assert client.get("/dashboard/keys").text.count('data-label="Key"') == 1


def test_every_form_carries_the_sessions_token_and_is_refused_without_it(
    gateway: Running, root: str
) -> None:
    prediction_id = made(gateway, root)
    with signed_in(gateway, root) as client:
        first = client.get("/dashboard").text
        own = token_of(first)
        name = re.search(r'class="name"[^>]*>([^<]+)<', first)
        assert name is not None
        listed = client.get(f"/dashboard/team?q={name[1]}").text
        user = re.search(r'href="(/dashboard/team/[^"?#]+)"', listed)
        assert user is not None
        addresses = set()
        for page in (
            *(f"/dashboard{one}" for one in (*MEMBER_PAGES, *ADMIN_PAGES)),
            f"/dashboard/predictions?id={prediction_id}",
            user[1],
        ):
            text = client.get(page).text
            for action, form in re.findall(
                r'<form method="post" action="([^"]+)"[^>]*>(.*?)</form>', text, re.DOTALL
            ):
                assert f'name="token" value="{own}"' in form, f"{action} on {page}"
                addresses.add(action)
        kinds = {re.sub(r"/(?!predictions)[0-9a-z]{10,}", "/x", address) for address in addresses}
        assert kinds == {
            "/dashboard/sign-out",
            "/dashboard/keys",
            "/dashboard/keys/x/revoke",
            "/dashboard/predictions/x/erase",
            "/dashboard/team",
            "/dashboard/team/x",
            "/dashboard/team/x/limits",
            "/dashboard/team/x/disabled",
            "/dashboard/team/x/keys",
            "/dashboard/team/x/keys/x/revoke",
        }
        for address in addresses:
            assert client.post(address, data={"name": "x"}).status_code == 403, address
        assert client.get("/dashboard").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_form_of_another_site_is_refused(
    gateway: Running, ann: str, headers: dict[str, str]
) -> None:
    with signed_in(gateway, ann) as client:
        token = token_of(client.get("/dashboard/keys").text)
        answer = client.post("/dashboard/keys", data={"token": token}, headers=headers)
        assert answer.status_code == 403
        signing_in = client.post("/dashboard/sign-in", data={"key": ann}, headers=headers)
        assert signing_in.status_code == 403


def test_signing_out_ends_the_session(gateway: Running, ann: str) -> None:
    with signed_in(gateway, ann) as client:
        token = token_of(client.get("/dashboard").text)
        answer = client.post("/dashboard/sign-out", data={"token": token})
        assert answer.status_code == 303
        assert "Max-Age=0" in answer.headers["set-cookie"]
        assert client.get("/dashboard").status_code == 303


def test_a_copied_cookie_is_dead_after_signing_out(gateway: Running, ann: str) -> None:
    with signed_in(gateway, ann) as client:
        copied = client.cookies[COOKIE]
        token = token_of(client.get("/dashboard").text)
        with signed_in(gateway, ann) as elsewhere:
            client.post("/dashboard/sign-out", data={"token": token})
            with gateway.client(headers={"cookie": f"{COOKIE}={copied}"}) as thief:
                answer = thief.get("/dashboard/keys")
                assert answer.status_code == 303
                assert answer.headers["location"].endswith("&ended=yes")
                form = {"token": token, "label": "x"}
                assert thief.post("/dashboard/keys", data=form).status_code == 303
            # Another session of the same key goes on.
            assert elsewhere.get("/dashboard/keys").text.count('data-label="Key"') == 1


def test_a_form_without_its_token_does_not_sign_out(gateway: Running, ann: str) -> None:
    with signed_in(gateway, ann) as client:
        assert client.post("/dashboard/sign-out", data={"token": "0" * 40}).status_code == 403
        assert client.get("/dashboard").status_code == 200


def test_a_session_dies_when_its_key_expires() -> None:
    clock = ManualClock()
    with running(clock=clock) as gateway:
        key = gateway.add_user("ann", expires_at=clock.now() + 600)
        with signed_in(gateway, key) as client:
            clock.advance(500)
            assert client.get("/dashboard").status_code == 200
            clock.advance(101)
            assert client.get("/dashboard").status_code == 303


def test_who_lost_a_session_is_told_so_and_a_newcomer_is_not(gateway: Running, ann: str) -> None:
    with signed_in(gateway, ann) as client:
        assert "session has ended" not in client.get("/dashboard/sign-in").text
        token = token_of(client.get("/dashboard").text)
        cookie = client.cookies[COOKIE]
        client.post("/dashboard/sign-out", data={"token": token})
        lost = client.get("/dashboard", headers={"cookie": f"{COOKIE}={cookie}"})
        assert "session has ended" in client.get(lost.headers["location"]).text
        assert "session has ended" not in client.get("/dashboard/sign-in").text
    with gateway.client() as client:
        answer = client.get("/dashboard")
        assert "session has ended" not in client.get(answer.headers["location"]).text


def test_guessing_keys_is_slowed_down() -> None:
    clock = ManualClock()
    with running(clock=clock) as gateway:
        key = gateway.add_user("ann")
        with gateway.client() as client:
            for _ in range(10):
                assert client.post("/dashboard/sign-in", data={"key": "hk-x"}).status_code == 401
            refused = client.post("/dashboard/sign-in", data={"key": key})
            assert refused.status_code == 429
            assert 1 <= int(refused.headers["retry-after"]) <= 61
            clock.advance(62)
            gateway.refresh_keys()
            assert client.post("/dashboard/sign-in", data={"key": key}).status_code == 303


@pytest.mark.parametrize(
    "wanted", ["https://evil.example/", "//evil.example", "/dashboard\\@evil", "/dashboardx", "/me"]
)
def test_signing_in_never_leads_to_another_place(gateway: Running, ann: str, wanted: str) -> None:
    with gateway.client() as client:
        answer = client.post("/dashboard/sign-in", data={"key": ann, "next": wanted})
    assert answer.headers["location"] == "/dashboard"


def test_signing_in_leads_where_one_wanted_to_go(gateway: Running, ann: str) -> None:
    with gateway.client() as client:
        first = client.get("/dashboard/predictions?status=failed")
        page = client.get(first.headers["location"])
        following = re.search(r'name="next" value="([^"]*)"', page.text)
        assert following is not None
        answer = client.post("/dashboard/sign-in", data={"key": ann, "next": following[1]})
    assert answer.headers["location"] == "/dashboard/predictions?status=failed"


def test_a_key_is_made_shown_once_works_and_is_revoked(gateway: Running, ann: str) -> None:
    with signed_in(gateway, ann) as client:
        token = token_of(client.get("/dashboard/keys").text)
        page = client.post("/dashboard/keys", data={"token": token, "label": '<b>"laptop"</b>'})
        found = re.search(r"hk-[0-9A-Za-z]{43}", page.text)
        assert found is not None
        assert "<b>" not in page.text
        listed = client.get("/dashboard/keys").text
        assert found[0] not in listed
        with gateway.client(found[0]) as api:
            assert api.get("/me/v1/limits").status_code == 200
            ids = re.findall(r'action="(/dashboard/keys/[0-9a-z]+/revoke)"', listed)
            assert len(ids) == 2
            # The newest comes first.
            assert client.post(ids[0], data={"token": token}).status_code == 303
            gateway.refresh_keys()
            assert api.get("/me/v1/limits").status_code == 401


def test_many_keys_are_shown_a_page_at_a_time(gateway: Running, names: Iterator[int]) -> None:
    name = f"many{next(names)}"
    key = gateway.add_user(name)

    def add(conn: Connection) -> None:
        row = users.get_user(conn, name)
        assert row is not None
        for number in range(40):
            keys.add_key(
                conn,
                id=f"{name}.{number}",
                user_id=row.id,
                digest=f"{name}.{number}",
                hint="hk-…",
                label=f"number {number}.",
                now=float(number),
            )
            if number % 2:
                keys.revoke_key(conn, f"{name}.{number}", 50.0)

    gateway.ledger(add)
    with signed_in(gateway, key) as client:
        first, second = (client.get(f"/dashboard/keys?page={page}").text for page in (1, 2))
        assert client.get("/dashboard/keys").text.count("number ") == 24  # and the session's own
        assert first.count('data-label="Key"') == 25
        assert second.count('data-label="Key"') == 16
        assert "number 38." in first
        assert ">active<" not in re.sub(r"<svg.*?</svg>", "", second, flags=re.DOTALL)
        assert client.get("/dashboard/keys?page=9").text.count('data-label="Key"') == 16


def test_nobody_revokes_the_key_of_another(gateway: Running, ann: str, root: str) -> None:
    with signed_in(gateway, root) as other:
        foreign = re.findall(
            r'action="(/dashboard/keys/[0-9a-z]+/revoke)"', other.get("/dashboard/keys").text
        )[0]
    with signed_in(gateway, ann) as client:
        token = token_of(client.get("/dashboard").text)
        assert client.post(foreign, data={"token": token}).status_code == 404
    with gateway.client(root) as api:
        assert api.get("/me/v1/limits").status_code == 200


def test_an_admin_hands_out_a_key_and_takes_it_back(
    gateway: Running, root: str, names: Iterator[int]
) -> None:
    name = f"new{next(names)}"
    with signed_in(gateway, root) as client:
        token = token_of(client.get("/dashboard/team").text)
        form = {"token": token, "name": name, "team": "research", "plan": "", "role": "member"}
        added = client.post("/dashboard/team", data=form)
        assert added.status_code == 303, added.text
        place = added.headers["location"]
        page = client.post(f"{place}/keys", data={"token": token, "label": "first"})
        found = re.search(r"hk-[0-9A-Za-z]{43}", page.text)
        assert found is not None
        again = client.get(f"{place}/keys?page=2")
        assert (again.status_code, again.headers["location"]) == (303, f"{place}?page=2")
        limit = {"token": token, "limit": "5", "metric": "predictions", "per": "week"}
        assert client.post(f"{place}/limits", data=limit).status_code == 303
        with gateway.client(found[0]) as api:
            gateway.refresh_keys()
            limits = api.get("/me/v1/limits").json()
            assert limits["team"] == "research"
            assert any(one["per"] == "week" and one["limit"] == 5 for one in limits["limits"])
            off = client.post(f"{place}/disabled", data={"token": token, "disabled": "yes"})
            assert off.status_code == 303
            gateway.refresh_keys()
            assert api.get("/me/v1/limits").status_code == 401
        assert "disabled" in client.get(place).text


def test_an_admin_is_told_what_is_wrong_with_a_name(gateway: Running, root: str) -> None:
    with signed_in(gateway, root) as client:
        token = token_of(client.get("/dashboard/team").text)
        answer = client.post("/dashboard/team", data={"token": token, "name": "<script>"})
    assert answer.status_code == 422
    assert "<script>" not in answer.text.partition("<body>")[2]


def test_usage_shows_what_is_left(gateway: Running, ann: str) -> None:
    made(gateway, ann)
    with signed_in(gateway, ann) as client:
        page = client.get("/dashboard").text
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    assert "Predictions today 1 of 1,000" in text
    assert "≈ $0.003 of $100" in text or "≈$0.003 of $100" in text
    assert "black-forest-labs/flux-schnell" in text


def test_predictions_show_pictures_by_address_of_this_gateway(gateway: Running, ann: str) -> None:
    prediction_id = made(gateway, ann)
    with signed_in(gateway, ann) as client:
        page = client.get("/dashboard/predictions").text
        picture = re.search(r'<img src="(/replicate/delivery/[^"]+)"', page)
        assert picture is not None
        assert client.get(picture[1]).status_code == 200
        one = client.get(f"/dashboard/predictions?id={prediction_id}").text
        assert "Copy as curl" in one
        assert re.search(r"Seed</dt><dd>7<", one)
        document = client.get(f"/dashboard/predictions/{prediction_id}.json")
        assert document.headers["content-type"] == "application/json"
        assert document.json()["id"] == prediction_id


def test_the_predictions_of_others_are_not_there(gateway: Running, ann: str, root: str) -> None:
    prediction_id = made(gateway, ann)
    with signed_in(gateway, root) as client:
        assert prediction_id not in client.get("/dashboard/predictions").text
        assert client.get(f"/dashboard/predictions?id={prediction_id}").status_code == 404
        assert client.get(f"/dashboard/predictions/{prediction_id}.json").status_code == 404
        token = token_of(client.get("/dashboard").text)
        erased = client.post(f"/dashboard/predictions/{prediction_id}/erase", data={"token": token})
        assert erased.status_code == 404


def test_what_a_team_shares_can_be_seen_by_its_members(
    gateway: Running, ann: str, names: Iterator[int]
) -> None:
    prediction_id = made(gateway, ann)
    mate = gateway.add_user(f"mate{next(names)}", team="research")
    with signed_in(gateway, mate) as client:
        assert prediction_id not in client.get("/dashboard/predictions").text
        assert prediction_id in client.get("/dashboard/predictions?whose=team").text
        assert client.get(f"/dashboard/predictions?id={prediction_id}").status_code == 200


def test_the_models_to_choose_from_are_those_of_whom_is_shown(
    gateway: Running, ann: str, root: str, names: Iterator[int]
) -> None:
    mate = gateway.add_user(f"mate{next(names)}", team="research")
    for key, model in ((mate, "simulated/echo"), (root, "simulated/nested")):
        with gateway.client(key) as api:
            answer = api.post(
                f"/replicate/v1/models/{model}/predictions", json={"input": {"prompt": "x"}}
            )
            gateway.finished(api, answer.json()["id"])
    with signed_in(gateway, ann) as client:
        mine = client.get("/dashboard/predictions").text
        theirs = client.get("/dashboard/predictions?whose=team").text
    assert "<option>simulated/echo</option>" not in mine
    assert "<option>simulated/echo</option>" in theirs
    assert "simulated/nested" not in theirs


def test_cards_are_had_by_name_by_those_who_may_see_them(
    gateway: Running, ann: str, root: str
) -> None:
    mine, others = made(gateway, ann, "my lighthouse"), made(gateway, root, "a secret place")
    with signed_in(gateway, ann) as client:
        answer = client.get(f"/dashboard/predictions/cards?ids={mine},{others},unknown")
        assert answer.status_code == 200
        assert re.findall(r'id="card-(\w+)"', answer.text) == [mine]
        assert "a secret place" not in answer.text
        assert "data-card" not in client.get("/dashboard/predictions/cards").text


def test_filters_are_in_the_address(gateway: Running, ann: str) -> None:
    prediction_id = made(gateway, ann)
    with signed_in(gateway, ann) as client:
        for query, there in (
            ("status=succeeded", True),
            ("status=failed", False),
            ("status=running", False),
            ("model=black-forest-labs/flux-schnell&days=1", True),
            ("model=no/such", False),
        ):
            page = client.get(f"/dashboard/predictions?{query}").text
            assert (f"card-{prediction_id}" in page) is there, query
        assert client.get("/dashboard/predictions?cursor=nonsense").status_code == 400


def test_an_erased_prediction_shows_nothing_of_what_it_held(gateway: Running, ann: str) -> None:
    prediction_id = made(gateway, ann, "a most private lighthouse")
    with signed_in(gateway, ann) as client:
        token = token_of(client.get("/dashboard").text)
        form = {"token": token}
        answer = client.post(f"/dashboard/predictions/{prediction_id}/erase", data=form)
        assert answer.status_code == 303
        page = client.get(f"/dashboard/predictions?id={prediction_id}")
    assert page.status_code == 200
    assert "most private" not in page.text


@pytest.mark.parametrize(
    "prompt",
    [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "' onmouseover='alert(1)",
        "</textarea><svg onload=alert(1)>",
        "{{ 7 * 7 }}",
    ],
)
def test_a_hostile_prompt_is_text(gateway: Running, ann: str, prompt: str) -> None:
    prediction_id = made(gateway, ann, prompt)
    with signed_in(gateway, ann) as client:
        page = client.get(f"/dashboard/predictions?id={prediction_id}").text
    assert prompt not in page or prompt == "{{ 7 * 7 }}"
    assert "<script>alert" not in page
    assert "onerror=alert(1)>" not in page
    assert "<svg onload" not in page
    assert ">49<" not in page


def test_static_files_are_kept_for_ever_and_small(gateway: Running, ann: str) -> None:
    with signed_in(gateway, ann) as client:
        page = client.get("/dashboard").text
        total = 0
        files = set(re.findall(r'(?:href|src)="(/dashboard/static/[^"]+)"', page))
        assert len(files) == 3
        for file in files:
            answer = client.get(file, headers={"accept-encoding": "gzip"})
            assert answer.status_code == 200
            assert "immutable" in answer.headers["cache-control"]
            total += int(answer.headers["content-length"])
        assert total < 150_000
        assert client.get("/dashboard/static/../app.py").status_code == 404
        assert client.get("/dashboard/static/x/style.css").status_code == 404


def test_unknown_pages_and_methods_are_answered_as_pages(gateway: Running, ann: str) -> None:
    with signed_in(gateway, ann) as client:
        assert client.get("/dashboard/nothing").status_code == 404
        answer = client.request("DELETE", "/dashboard/keys")
        assert answer.status_code == 405
        assert answer.headers["allow"] == "GET, POST"
        assert answer.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize(
    ("method", "address", "back"),
    [
        ("GET", "/keys/nothing", "/keys"),
        ("GET", "/keys/abc/revoke", "/keys"),
        ("GET", "/predictions?id=unknown", "/predictions"),
        ("GET", "/predictions?cursor=broken", "/predictions"),
        ("GET", "/team/%22%3E%3Cb%3E/limits", "/team/%22%3E%3Cb%3E"),
        ("GET", "/team/unknown", "/team"),
        ("POST", "/keys", "/keys"),
    ],
)
def test_a_page_that_says_what_is_wrong_leads_back_to_the_nearest_page(
    gateway: Running, root: str, method: str, address: str, back: str
) -> None:
    with signed_in(gateway, root) as client:
        form = None
        if method == "POST":
            form = {"token": token_of(client.get("/dashboard").text), "expires": "never"}
        answer = client.request(method, f"/dashboard{address}", data=form)
    assert answer.status_code >= 400
    assert re.findall(r'href="([^"]+)">Back<', answer.text) == [f"/dashboard{back}"]


def test_a_picture_inside_the_page_is_no_link_that_browsers_refuse(
    gateway: Running, ann: str
) -> None:
    picture = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA="
    with gateway.client(ann) as api:
        answer = api.post(
            "/replicate/v1/models/simulated/echo/predictions", json={"input": {"value": picture}}
        )
        prediction_id = answer.json()["id"]
        gateway.finished(api, prediction_id)
    with signed_in(gateway, ann) as client:
        page = client.get(f"/dashboard/predictions?id={prediction_id}").text
    assert f'<img src="{picture}"' in page.partition("data-pane")[2]
    assert 'href="data:' not in page


def test_with_keyed_delivery_a_session_lets_the_pictures_in() -> None:
    with running('[mirror]\naccess = "key"') as gateway:
        key = gateway.add_user("ann")
        other = gateway.add_user("bob")
        made(gateway, key)
        with signed_in(gateway, key) as client:
            page = client.get("/dashboard/predictions").text
            picture = re.search(r'<img src="(/replicate/delivery/[^"]+)"', page)
            assert picture is not None
            assert client.get(picture[1]).status_code == 200
        with signed_in(gateway, other) as client:
            assert client.get(picture[1]).status_code == 404
        with gateway.client() as client:
            assert client.get(picture[1]).status_code == 401
        with signed_in(gateway, key) as client:
            cookie = {"cookie": f"{COOKIE}={client.cookies[COOKIE]}"}
            token = token_of(client.get("/dashboard").text)
            client.post("/dashboard/sign-out", data={"token": token})
        with gateway.client(headers=cookie) as client:
            assert client.get(picture[1]).status_code == 401
