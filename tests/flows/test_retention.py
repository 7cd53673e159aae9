"""What goes with time or for want of room, what stays, and what a quota still needs."""

from typing import Any

import httpx

from gateway.ledger import Connection
from gateway.ledger import files as file_rows
from gateway.ledger import predictions as rows
from gateway.simulator.faults import Fault, FaultKind
from tests.support.clock import ManualClock
from tests.support.creating import API, FLUX, created, read
from tests.support.running import Running, running

DAY = 86_400.0
PICTURES = {"input": {"prompt": "a fox", "num_outputs": 2}}


def advance(gateway: Running, seconds: float) -> None:
    clock = gateway.clock
    assert isinstance(clock, ManualClock)
    clock.advance(seconds)
    gateway.refresh_keys()


def pictures(gateway: Running, client: httpx.Client) -> tuple[str, list[str]]:
    made = client.post(FLUX, json=PICTURES).json()["id"]
    urls: list[str] = gateway.finished(client, made).json()["output"]
    gateway.settle(lambda: gateway.ledger(lambda conn: all_stored(conn, made)))
    return made, urls


def all_stored(conn: Connection, prediction_id: str) -> bool:
    return {file.state for file in file_rows.files_of(conn, prediction_id)} == {"stored"}


def stored(gateway: Running) -> int:
    return gateway.ledger(file_rows.stats).counts.get("stored", 0)


def test_documents_go_after_their_days_and_files_after_theirs() -> None:
    toml = "[retention]\ndocuments_days = 1.5\nfiles_days = 3\n"
    with running(toml) as gateway, gateway.client(gateway.add_user("ann")) as ann:
        made, urls = pictures(gateway, ann)
        advance(gateway, 1.4 * DAY)
        assert read(ann, made).json()["output"] == urls
        advance(gateway, 0.2 * DAY)

        def removed() -> Any:
            left = read(ann, made).json()
            return left if left.get("data_removed") else None

        left = gateway.settle(removed)
        assert (left["output"], left["input"], left["status"]) == (None, {}, "succeeded")
        assert left["model"] == "black-forest-labs/flux-schnell"
        # The files' own time is not over.
        assert [ann.get(url).status_code for url in urls] == [200, 200]
        advance(gateway, 1.5 * DAY)
        gateway.settle(lambda: [ann.get(url).status_code for url in urls] == [410, 410])
        assert gateway.ledger(file_rows.stats).stored_bytes == 0
        assert ann.get("/me/v1/usage").json()["total"]["images"] == 2
        assert [item["id"] for item in ann.get(f"{API}/predictions").json()["results"]] == [made]


def test_without_days_nothing_ever_goes() -> None:
    with running() as gateway, gateway.client(gateway.add_user("ann")) as ann:
        made, urls = pictures(gateway, ann)
        advance(gateway, 500 * DAY)
        advance(gateway, 20)
        assert read(ann, made).json()["output"] == urls
        assert [ann.get(url).status_code for url in urls] == [200, 200]


def test_over_the_mirrors_limit_the_oldest_go_and_none_younger_than_a_day() -> None:
    env = {"GATEWAY_MIRROR__MAX_BYTES": str(1024 * 1024)}
    with running(env=env) as gateway, gateway.client(gateway.add_user("ann")) as ann:

        def blob(size: int) -> list[str]:
            made = created(ann, "large-file", size_bytes=size)
            output = gateway.finished(ann, made).json()["output"]
            return [output] if isinstance(output, str) else list(output)

        [old] = blob(700_000)
        gateway.settle(lambda: stored(gateway) == 1)
        [young] = blob(700_000)
        gateway.settle(lambda: gateway.ledger(lambda conn: _error(conn, "no_room")), most_s=20)
        # Neither goes; what does not fit is passed through.
        assert stored(gateway) == 1
        assert len(ann.get(young).content) == 700_000
        assert len(ann.get(old).content) == 700_000
        advance(gateway, DAY + 60)
        gateway.settle(lambda: True)
        [new] = blob(600_000)
        gateway.settle(lambda: ann.get(old).status_code == 410)
        gateway.settle(lambda: stored(gateway) == 1)
        assert len(ann.get(new).content) == 600_000


def _error(conn: Any, text: str) -> bool:
    return any(file.last_error == text for file in file_rows.after(conn, "", 100))


def test_what_upstream_refuses_again_and_again_is_given_up_as_gone() -> None:
    with running() as gateway, gateway.client(gateway.add_user("ann")) as ann:
        gateway.sim.faults.add(Fault(FaultKind.SERVER_ERROR, "delivery*", status=403, times=50))
        made = ann.post(FLUX, json={"input": {"prompt": "a fox"}}).json()["id"]
        [url] = gateway.finished(ann, made).json()["output"]
        gateway.settle(lambda: gateway.ledger(file_rows.stats).counts.get("gone", 0) == 1, step_s=5)
        assert ann.get(url).status_code == 410


def test_rows_of_what_was_erased_go_a_year_later_and_totals_never() -> None:
    toml = "[retention]\ndocuments_days = 1\nfiles_days = 1\n"
    with running(toml) as gateway, gateway.client(gateway.add_user("ann")) as ann:
        made, _ = pictures(gateway, ann)
        advance(gateway, 2 * DAY)
        gateway.settle(lambda: read(ann, made).json().get("data_removed"))
        advance(gateway, 360 * DAY)
        assert read(ann, made).status_code == 200
        advance(gateway, 10 * DAY)

        def gone() -> bool:
            return gateway.ledger(lambda conn: rows.get(conn, made)) is None

        gateway.settle(gone, step_s=5)
        gateway.refresh_keys()
        assert read(ann, made).status_code == 404
        total = ann.get("/me/v1/usage?since=2025-06-01").json()["total"]
        assert (total["predictions"], total["images"]) == (1, 2)


def test_pruning_never_changes_what_a_quota_has_counted() -> None:
    toml = (
        "[retention]\ndocuments_days = 0.0001\nfiles_days = 0.0001\n"
        '[plans.default]\nquotas = [{ metric = "images", limit = 4, per = "month" }]\n'
    )
    with running(toml) as gateway, gateway.client(gateway.add_user("ann")) as ann:
        made, _ = pictures(gateway, ann)
        advance(gateway, 7 * DAY)
        gateway.settle(lambda: read(ann, made).json().get("data_removed"))
        gateway.restart()
        # Another rule, whose counter has to be worked out from what is left.
        gateway.publish(
            '[plans.default]\nquotas = [{ metric = "images", limit = 3, per = "month" },'
            ' { metric = "predictions", limit = 9, per = "month" }]\n'
        )
        limits = {limit["metric"]: limit for limit in ann.get("/me/v1/limits").json()["limits"]}
        assert limits["images"]["used"] == 2
        assert limits["predictions"]["used"] == 1
        assert ann.post(FLUX, json=PICTURES).status_code == 402
