"""Outputs and uploads as inputs: upstream gets what it can fetch, the caller sees what it wrote."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from gateway.flows.resolve_inputs import UPSTREAM_BEGAN
from gateway.ledger import published
from gateway.simulator import Fault
from tests.support.running import Running, _serve, running

API = "/replicate/v1"
HOUR = 3600
PAGES = '[server]\npublic_aliases = ["http://gateway.lan:9"]\n'


@pytest.fixture
def gateway() -> Iterator[Running]:
    with running(PAGES) as gateway:
        yield gateway


def advance(gateway: Running, seconds: float) -> None:
    gateway.clock.advance(seconds)  # type: ignore[attr-defined]  # a ManualClock


def create(client: httpx.Client, model: str, given: dict[str, Any]) -> httpx.Response:
    return client.post(f"{API}/models/simulated/{model}/predictions", json={"input": given})


def picture(gateway: Running, client: httpx.Client) -> str:
    """An output's address as its user has it, its bytes mirrored."""
    made = create(client, "single-picture", {"prompt": "a fox"})
    assert made.status_code == 201, made.text
    url = gateway.finished(client, made.json()["id"]).json()["output"]
    assert url.startswith(f"{gateway.url}/replicate/delivery/")
    assert client.get(url).status_code == 200
    return str(url)


def upload(client: httpx.Client, content: bytes = b"words") -> dict[str, Any]:
    answer = client.post(f"{API}/files", files={"content": ("w.txt", content, "text/plain")})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def sent_input(gateway: Running) -> Any:
    """The input of the last create that upstream got."""
    entry = [e for e in gateway.sim.log.entries(method="POST") if e.path.endswith("predictions")]
    return json.loads(entry[-1].body)["input"]


def uploads(gateway: Running) -> int:
    return gateway.sim.log.count(operation="files.create")


def creates(gateway: Running) -> int:
    return len(gateway.sim.prediction_ids())


def test_a_young_output_reaches_upstream_under_its_own_address(gateway: Running) -> None:
    with gateway.client(gateway.add_user("ann")) as client:
        url = picture(gateway, client)
        made = create(client, "image-to-image", {"image": url, "prompt": "again"})
        assert made.json()["input"]["image"] == url
        assert sent_input(gateway)["image"].startswith(gateway.sim.delivery_origin)
        ended = gateway.finished(client, made.json()["id"]).json()
        assert ended["status"] == "succeeded", ended["error"]
        assert ended["input"] == {"image": url, "prompt": "again"}
        assert uploads(gateway) == 0


def test_a_young_output_is_uploaded_again_to_an_upstream_that_has_begun_anew(
    gateway: Running,
) -> None:
    with gateway.client(gateway.add_user("ann")) as client:
        url = picture(gateway, client)
        began = str(gateway.clock.now() + 1)
        gateway.ledger(lambda conn: published.correct(conn, UPSTREAM_BEGAN, began))
        made = create(client, "image-to-image", {"image": url})
        assert sent_input(gateway)["image"].startswith(f"{gateway.sim.api_url}/v1/files/")
        assert gateway.finished(client, made.json()["id"]).json()["status"] == "succeeded"

        advance(gateway, 2)
        create(client, "echo", {"value": picture(gateway, client)})
        assert uploads(gateway) == 1


def test_after_forty_five_minutes_it_is_uploaded_again_and_fetched(gateway: Running) -> None:
    with gateway.client(gateway.add_user("ann")) as client:
        url = picture(gateway, client)
        advance(gateway, 44 * 60)
        create(client, "echo", {"value": url})
        assert uploads(gateway) == 0
        advance(gateway, 60 + 10)
        made = create(client, "image-to-image", {"image": url})
        assert uploads(gateway) == 1
        assert sent_input(gateway)["image"].startswith(f"{gateway.sim.api_url}/v1/files/")
        ended = gateway.finished(client, made.json()["id"]).json()
        assert ended["status"] == "succeeded", ended["error"]
        assert ended["input"]["image"] == url


def test_ten_uses_at_once_and_later_ones_cost_one_upload(gateway: Running) -> None:
    with gateway.client(gateway.add_user("ann")) as client:
        url = picture(gateway, client)
        advance(gateway, 2 * HOUR)
        with ThreadPoolExecutor(10) as pool:
            made = list(pool.map(lambda _: create(client, "echo", {"value": url}), range(10)))
        assert [answer.status_code for answer in made] == [201] * 10
        assert all(answer.json()["input"]["value"] == url for answer in made)
        assert uploads(gateway) == 1
        gateway.restart()
    with gateway.client(gateway.add_user("bea")) as client:
        advance(gateway, 20 * HOUR)
        assert create(client, "echo", {"value": url}).status_code == 201
        assert uploads(gateway) == 1
        advance(gateway, 4 * HOUR)
        assert create(client, "image-to-image", {"image": url}).status_code == 201
        assert uploads(gateway) == 2
        # They are the gateway's own: in nobody's list.
        assert client.get(f"{API}/files").json()["results"] == []


def test_urls_nested_anywhere_are_turned_and_echoed_also_after_a_restart(
    gateway: Running,
) -> None:
    key = gateway.add_user("ann")
    with gateway.client(key) as client:
        url = picture(gateway, client)
        file = upload(client)["urls"]["get"]
        alias = url.replace(gateway.url, "http://gateway.lan:9")
        given = {"value": {"deep": [[url], {"x": file, "y": alias}], "text": f"see {url}"}}
        made = create(client, "echo", given)
        assert made.json()["input"] == given
        sent = sent_input(gateway)["value"]
        original = sent["deep"][0][0]
        assert original.startswith(gateway.sim.delivery_origin)
        assert sent["deep"][1]["y"] == original
        assert sent["deep"][1]["x"].startswith(f"{gateway.sim.api_url}/v1/files/")
        assert sent["text"] == f"see {url}"
        gateway.finished(client, made.json()["id"])
    gateway.restart()
    with gateway.client(key) as client:
        assert client.get(f"{API}/predictions/{made.json()['id']}").json()["input"] == given
        listed = client.get(f"{API}/predictions").json()["results"]
        assert [item["input"] for item in listed if item["id"] == made.json()["id"]] == [given]


def test_an_upload_of_ones_own_works_in_both_forms_and_only_while_it_lives(
    gateway: Running,
) -> None:
    with gateway.client(gateway.add_user("ann")) as client:
        file = upload(client)
        upstream = f"{gateway.sim.api_url}/v1/files/{file['id']}"
        for form in (file["urls"]["get"], upstream):
            made = create(client, "echo", {"value": form})
            assert made.status_code == 201
            assert made.json()["input"]["value"] == form
            assert sent_input(gateway)["value"] == upstream
        advance(gateway, 86_401)
        before = creates(gateway)
        for form in (file["urls"]["get"], upstream):
            refused = create(client, "echo", {"value": {"picture": form}})
            assert refused.status_code == 422
            assert refused.json()["invalid_fields"][0]["field"] == "input.value.picture"
        assert creates(gateway) == before


def test_files_of_others_cannot_be_used_in_any_form(gateway: Running) -> None:
    with (
        gateway.client(gateway.add_user("ann")) as ann,
        gateway.client(gateway.add_user("bea")) as bea,
    ):
        file = upload(ann)
        upstream = f"{gateway.sim.api_url}/v1/files/{file['id']}"
        signed = gateway.sim.signed_download(file["id"])
        for form in (file["urls"]["get"], upstream, signed, f"{upstream}?x=1"):
            refused = create(bea, "echo", {"value": form})
            assert refused.status_code == 422, form
            assert "input.value" in refused.json()["detail"]
        # One that nobody uploaded here: somebody's on the same account, so not the caller's.
        nobodys = f"{gateway.sim.api_url}/v1/files/abcdefghijklmnop"
        assert create(bea, "echo", {"value": nobodys}).status_code == 422
        assert creates(gateway) == 0


def test_a_text_that_begins_with_an_address_goes_up_as_it_is(gateway: Running) -> None:
    with (
        gateway.client(gateway.add_user("ann")) as ann,
        gateway.client(gateway.add_user("bea")) as bea,
    ):
        file = upload(ann)
        upstream = f"{gateway.sim.api_url}/v1/files/{file['id']}"
        for client, text in (
            (bea, f"{gateway.url}{API}/predictions gives me 402.\nWhat does it mean? #help"),
            (bea, f"{gateway.url}/replicate/delivery/x/y.png what is that?"),
            (bea, f"{upstream} answers 404, why?"),
            (bea, f"{file['urls']['get']} is whose file?"),
            (ann, f"{file['urls']['get']} is my file"),
            (ann, f"{upstream}? That is my file"),
        ):
            made = create(client, "echo", {"value": text})
            assert made.status_code == 201, made.text
            assert made.json()["input"]["value"] == text
            assert sent_input(gateway)["value"] == text
        before = creates(gateway)
        for text in (
            f" {upstream}\n",
            f"{upstream}? That is not mine",
            f"{upstream[:-1]}\t{upstream[-1]}",
        ):
            assert create(bea, "echo", {"value": text}).status_code == 422
        assert creates(gateway) == before


def test_what_is_refused_reserves_nothing() -> None:
    plan = '[plans.default]\nquotas = [{metric="predictions", limit=1, per="day"}]\n'
    with running(plan) as gateway, gateway.client(gateway.add_user("ann")) as client:
        unknown = f"{gateway.url}/replicate/delivery/127.0.0.1/none/such.png"
        for _ in range(3):
            refused = create(client, "echo", {"value": unknown})
            assert refused.status_code == 422
            assert refused.json()["invalid_fields"][0]["field"] == "input.value"
        assert create(client, "echo", {"value": 1}).status_code == 201


def test_a_file_too_large_for_an_upload_is_refused_once_upstream_has_lost_it() -> None:
    toml = "[upstream]\nmax_upload_bytes = 10000\n"
    with running(toml) as gateway, gateway.client(gateway.add_user("ann")) as client:
        made = create(client, "large-file", {"size_bytes": 10_001})
        url = gateway.finished(client, made.json()["id"]).json()["output"]
        assert len(client.get(url).content) == 10_001
        assert create(client, "echo", {"value": url}).status_code == 201
        advance(gateway, HOUR)
        refused = create(client, "echo", {"value": url})
        assert refused.status_code == 422
        assert "10,000 bytes" in refused.json()["detail"]
        assert uploads(gateway) == 0


def test_under_key_access_only_what_the_caller_may_read_can_be_used() -> None:
    toml = '[mirror]\naccess = "key"\n[teams.art]\nshare = true\n'
    with (
        running(toml) as gateway,
        gateway.client(gateway.add_user("ann", team="art")) as ann,
        gateway.client(gateway.add_user("amy", team="art")) as amy,
        gateway.client(gateway.add_user("bea")) as bea,
    ):
        url = picture(gateway, ann)
        assert create(ann, "echo", {"value": url}).status_code == 201
        assert create(amy, "echo", {"value": url}).status_code == 201
        refused = create(bea, "echo", {"value": url})
        assert refused.status_code == 422
        assert refused.json()["invalid_fields"][0]["field"] == "input.value"


def test_a_failed_upload_refuses_this_create_and_not_the_next(gateway: Running) -> None:
    with gateway.client(gateway.add_user("ann")) as client:
        url = picture(gateway, client)
        advance(gateway, 2 * HOUR)
        before = creates(gateway)
        gateway.sim.faults.add(Fault("reset_before", "files.create"))
        assert create(client, "echo", {"value": url}).status_code == 502
        gateway.sim.faults.add(Fault("server_error", "files.create"))
        assert create(client, "echo", {"value": url}).status_code == 502
        assert creates(gateway) == before
        assert create(client, "echo", {"value": url}).status_code == 201


def test_two_workers_upload_once_between_them() -> None:
    with running('[server]\npublic_url = "http://gateway.lan:9"\n') as gateway:
        key = gateway.add_user("ann")
        with gateway.client(key) as client:
            made = create(client, "single-picture", {"prompt": "a fox"})
            url = gateway.finished(client, made.json()["id"]).json()["output"]
            assert client.get(url.removeprefix("http://gateway.lan:9")).status_code == 200
        advance(gateway, 2 * HOUR)
        gateway.sim.faults.add(Fault("slow", "files.create", seconds=1.0))
        other = gateway.loop.do(_serve(gateway.app.settings, gateway.clock, gateway.canary))
        gateway.refresh_keys()

        def use(number: int) -> int:
            base = (gateway.url, other.url)[number % 2]
            headers = {"Authorization": f"Bearer {key}"}
            with httpx.Client(base_url=base, headers=headers, timeout=60) as client:
                return create(client, "echo", {"value": url}).status_code

        with ThreadPoolExecutor(10) as pool:
            uses = [pool.submit(use, number) for number in range(10)]
            gateway.settle(lambda: all(use.done() for use in uses), step_s=0.1)
        assert [use.result() for use in uses] == [201] * 10
        assert uploads(gateway) == 1

        async def stop() -> None:
            other.server.should_exit = True
            await other.task

        gateway.loop.do(stop())
