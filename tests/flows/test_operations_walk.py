"""The whole table, walked as users do: each succeeds for whoever may, and for nobody else.

Behind the gateway is the whole simulated Replicate, so that what belongs to users exists and can be
read, changed, cancelled and deleted; see test_operations.py for what is passed on byte for byte.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from gateway.simulator.catalogue import version_id
from gateway.upstream.operations import OPERATIONS, Access
from tests.support.creating import API, HELLO_VERSION, created
from tests.support.running import Running, running

TOML = """
[server]
contact = "Ada"
[upstream]
creates_per_minute = 60000
requests_per_minute = 600000
[plans.trainer]
trainings = true
[plans.default]
models_deny = ["*"]
[plans.other]
"""
TRAINER = "ostris/flux-dev-lora-trainer"
TRAIN = f"{API}/models/{TRAINER}/versions/{version_id(TRAINER)}/trainings"
PRIVATE = f"{API}/models/acme/private-pictures/versions"
NEW_MODEL = {"owner": "acme", "visibility": "private", "hardware": "cpu"}
NEW_DEPLOYMENT = {
    "model": "replicate/hello-world",
    "version": HELLO_VERSION,
    "hardware": "cpu",
    "min_instances": 0,
    "max_instances": 1,
}


@dataclass
class Asked:
    """One request that means an operation, with everything there that it needs."""

    path: str
    more: dict[str, Any] = field(default_factory=dict)
    own: str | None = None
    """The id of what it is about, if that belongs to its maker."""
    owners_query: str = ""
    """What its owner's request has besides."""


class World:
    """The gateway, and somebody who may do everything and makes what is needed."""

    def __init__(self, gateway: Running) -> None:
        self.gateway = gateway
        self.keys = {
            "owner": gateway.add_user("owner", plan="trainer", role="manage"),
            # Nothing is denied to these but what is not theirs.
            "other": gateway.add_user("other", plan="other"),
            "other manager": gateway.add_user("other-manager", plan="trainer", role="manage"),
            # All models are, to this one.
            "denied": gateway.add_user("denied"),
        }
        self.clients = {name: gateway.client(key) for name, key in self.keys.items()}
        self._count = 0

    @property
    def owner(self) -> httpx.Client:
        return self.clients["owner"]

    def name(self) -> str:
        self._count += 1
        return f"thing-{self._count}"

    def made(self, path: str, **body: Any) -> dict[str, Any]:
        answer = self.owner.post(path, **body)
        assert answer.status_code in (200, 201), answer.text
        return dict(answer.json())

    def slow(self) -> str:
        return created(self.owner, "slow", seconds=100_000)

    def training(self) -> str:
        given = {"destination": "acme/fine-tune", "input": {"input_images": "https://e.x/a.zip"}}
        return str(self.made(TRAIN, json=given)["id"])

    def file(self) -> str:
        return str(self.made(f"{API}/files", files={"content": ("a.txt", b"words")})["id"])

    def model(self) -> str:
        name = self.name()
        self.made(f"{API}/models", json={**NEW_MODEL, "name": name})
        return f"{API}/models/acme/{name}"

    def deployment(self) -> str:
        name = self.name()
        self.made(f"{API}/deployments", json={**NEW_DEPLOYMENT, "name": name})
        return f"{API}/deployments/acme/{name}"

    def download(self) -> Asked:
        file = self.file()
        # Whoever has the signature needs no key; everybody else does, and more than that.
        query = self.gateway.sim.signed_download(file).partition("?")[2]
        return Asked(f"{API}/files/{file}/download", own=file, owners_query=f"?{query}")

    def listed(self, path: str, make: Callable[[], str]) -> Asked:
        own = make()
        return Asked(f"{API}/{path}", own=own)

    def about(self, own: str, path: str) -> Asked:
        return Asked(f"{API}/{path}", own=own)


def _json(path: str, **body: Any) -> Asked:
    return Asked(path, {"json": body})


FLUX, HELLO = f"{API}/models/black-forest-labs/flux-schnell", f"{API}/models/replicate/hello-world"
PROMPT = {"prompt": "a fox"}
REQUESTS: dict[str, Callable[[World], Asked]] = {
    "account.get": lambda _: Asked(f"{API}/account"),
    "collections.list": lambda _: Asked(f"{API}/collections"),
    "collections.get": lambda _: Asked(f"{API}/collections/text-to-image"),
    "deployments.list": lambda _: Asked(f"{API}/deployments"),
    "deployments.create": lambda w: _json(f"{API}/deployments", **NEW_DEPLOYMENT, name=w.name()),
    "deployments.get": lambda _: Asked(f"{API}/deployments/acme/flux-fast"),
    "deployments.update": lambda w: _json(w.deployment(), min_instances=1),
    "deployments.delete": lambda w: Asked(w.deployment()),
    "deployments.predictions.create": lambda _: _json(
        f"{API}/deployments/acme/flux-fast/predictions", input=PROMPT
    ),
    "files.list": lambda w: w.listed("files", w.file),
    "files.create": lambda _: Asked(f"{API}/files", {"files": {"content": ("a.txt", b"words")}}),
    "files.get": lambda w: w.about(own := w.file(), f"files/{own}"),
    "files.delete": lambda w: w.about(own := w.file(), f"files/{own}"),
    "files.download": lambda w: w.download(),
    "hardware.list": lambda _: Asked(f"{API}/hardware"),
    "models.list": lambda _: Asked(f"{API}/models"),
    "models.create": lambda w: _json(f"{API}/models", **NEW_MODEL, name=w.name()),
    "models.search": lambda _: Asked(f"{API}/models", {"content": b"flux"}),
    "models.get": lambda _: Asked(FLUX),
    "models.update": lambda w: _json(w.model(), description="new"),
    "models.delete": lambda w: Asked(w.model()),
    "models.examples.list": lambda _: Asked(f"{FLUX}/examples"),
    "models.predictions.create": lambda _: _json(f"{FLUX}/predictions", input=PROMPT),
    "models.readme.get": lambda _: Asked(f"{FLUX}/readme"),
    "models.versions.list": lambda _: Asked(f"{HELLO}/versions"),
    "models.versions.get": lambda _: Asked(f"{HELLO}/versions/{HELLO_VERSION}"),
    "models.versions.delete": lambda _: Asked(f"{PRIVATE}/{version_id('acme/private-pictures')}"),
    "trainings.create": lambda _: _json(
        TRAIN, destination="acme/fine-tune", input={"input_images": "https://e.x/a.zip"}
    ),
    "predictions.list": lambda w: w.listed("predictions", w.slow),
    "predictions.create": lambda _: _json(
        f"{API}/predictions", version=HELLO_VERSION, input={"text": "you"}
    ),
    "predictions.get": lambda w: w.about(own := w.slow(), f"predictions/{own}"),
    "predictions.cancel": lambda w: w.about(own := w.slow(), f"predictions/{own}/cancel"),
    "search": lambda _: Asked(f"{API}/search?query=flux"),
    "trainings.list": lambda w: w.listed("trainings", w.training),
    "trainings.get": lambda w: w.about(own := w.training(), f"trainings/{own}"),
    "trainings.cancel": lambda w: w.about(own := w.training(), f"trainings/{own}/cancel"),
    "webhooks.default.secret.get": lambda _: Asked(f"{API}/webhooks/default/secret"),
}
FROM_THE_LEDGER = {
    "files.list",
    "predictions.list",
    "trainings.list",
    "webhooks.default.secret.get",
}
"""What the gateway answers out of what it knows, without asking upstream."""
ALL = pytest.mark.parametrize("name", REQUESTS)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with running(TOML) as gateway:
        made = World(gateway)
        yield made
        for client in made.clients.values():
            client.close()


def counted(gateway: Running, metric: str, **labels: str) -> float:
    """Return what the gateway has counted under these labels, over all others."""
    with gateway.client() as scraper:
        page = scraper.get("/metrics").text
    total = 0.0
    for line in page.splitlines():
        found = re.fullmatch(rf"replicate_gateway_{metric}\{{(.*)\}} (\S+)", line)
        if found and all(f'{label}="{value}"' in found[1] for label, value in labels.items()):
            total += float(found[2])
    return total


def test_no_operation_is_left_out() -> None:
    assert REQUESTS.keys() == OPERATIONS.keys()
    assert len(REQUESTS) == 37


@ALL
def test_it_succeeds_for_whoever_may_and_is_metered(world: World, name: str) -> None:
    operation = OPERATIONS[name]
    asked = REQUESTS[name](world)
    gateway = world.gateway
    route = {"route": f"/replicate{operation.template}", "method": operation.method}
    before = counted(gateway, "http_requests_total", **route)
    sent = counted(gateway, "upstream_requests_total", operation=name)
    received = gateway.sim.log.count(operation=name)
    url = asked.path + asked.owners_query
    answer = world.owner.request(operation.method, url, **asked.more)
    assert answer.is_success, answer.text
    if asked.own is not None and operation.answer.is_json:
        assert asked.own in answer.text
    status = str(answer.status_code)
    assert counted(gateway, "http_requests_total", **route) == before + 1
    assert counted(gateway, "http_requests_total", **route, status=status) >= 1
    assert counted(gateway, "http_request_duration_seconds_count", **route) >= before + 1
    # Upstream's side is metered under the operation's own name, as often as it was asked.
    asked_upstream = gateway.sim.log.count(operation=name) - received
    assert counted(gateway, "upstream_requests_total", operation=name) - sent == asked_upstream
    if name in FROM_THE_LEDGER:
        assert asked_upstream == 0
    elif operation.access is not Access.OWN:
        assert asked_upstream == 1


@ALL
def test_without_a_good_key_it_is_401_and_nothing_happens(world: World, name: str) -> None:
    operation = OPERATIONS[name]
    asked = REQUESTS[name](world)
    received = len(world.gateway.sim.log.entries(operation=name))
    revoked = f"{world.keys['owner'][:-1]}{'a' if world.keys['owner'][-1] != 'a' else 'b'}"
    for headers in ({}, {"Authorization": "Basic x"}, {"Authorization": f"Bearer {revoked}"}):
        with world.gateway.client(headers=headers) as nobody:
            answer = nobody.request(operation.method, asked.path, **asked.more)
        assert (answer.status_code, answer.json()["title"]) == (401, "Unauthenticated")
    assert len(world.gateway.sim.log.entries(operation=name)) == received


@ALL
def test_whoever_may_not_is_refused_and_nothing_happens(world: World, name: str) -> None:
    operation = OPERATIONS[name]
    asked = REQUESTS[name](world)
    sim = world.gateway.sim

    def refused(who: str, status: int) -> None:
        received = len(sim.log.entries(operation=name))
        answer = world.clients[who].request(operation.method, asked.path, **asked.more)
        assert answer.status_code == status, (who, answer.text)
        assert len(sim.log.entries(operation=name)) == received

    match operation.access:
        case Access.OWN:
            # A role is no ownership: whoever manages models reads no predictions either.
            refused("other", 404)
            refused("other manager", 404)
            # It is as it was, and its owner's.
            url = asked.path + asked.owners_query
            assert world.owner.request(operation.method, url).is_success
        case Access.OWN_LIST | Access.OWN_SECRET:
            answers = [world.clients[who].get(asked.path) for who in ("owner", "other")]
            assert [answer.status_code for answer in answers] == [200, 200]
            if operation.access is Access.OWN_SECRET:
                assert answers[0].json() != answers[1].json()
            else:
                assert asked.own is not None
                assert asked.own in answers[0].text
                assert answers[1].json()["results"] == []
        case Access.CREATE:
            refused("denied", 403)
        case Access.TRAIN | Access.MANAGE:
            refused("other", 403)
        case Access.UPLOAD:
            # Everybody may; what it makes belongs to its maker.
            made = world.clients["other"].post(asked.path, **asked.more).json()["id"]
            assert world.clients["other"].get(f"{API}/files/{made}").status_code == 200
            assert world.owner.get(f"{API}/files/{made}").status_code == 404
        case Access.READ:
            for who in ("owner", "other", "denied"):
                answer = world.clients[who].request(operation.method, asked.path, **asked.more)
                assert answer.is_success, (who, answer.text)
