"""Pages, cursors and filters."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator.pages import BadCursor, paginate
from tests.simulator.conftest import Api


async def fill(api: Api, count: int) -> list[str]:
    """Make predictions one second apart; return their ids, newest first."""
    made = []
    for number in range(count):
        made.append(api.simulator.create("simulated/echo", {"value": number}, "api"))
        api.clock.advance(1)
    return made[::-1]


async def walk(api: Api, path: str) -> list[list[dict[str, Any]]]:
    pages = []
    following: str | None = path
    while following is not None:
        page = (await api.get(following)).json()
        pages.append(page["results"])
        following = page["next"]
    return pages


async def test_a_page_has_a_hundred_and_next_leads_through_all(api: Api) -> None:
    ids = await fill(api, 250)
    pages = await walk(api, "/predictions")
    assert [len(page) for page in pages] == [100, 100, 50]
    assert [item["id"] for page in pages for item in page] == ids


async def test_previous_leads_back(api: Api) -> None:
    await fill(api, 150)
    first = (await api.get("/predictions")).json()
    assert first["previous"] is None
    second = (await api.get(first["next"])).json()
    assert second["next"] is None
    back = (await api.get(second["previous"])).json()
    assert back["results"] == first["results"]
    assert back["previous"] is None


async def test_new_predictions_do_not_shift_the_pages(api: Api) -> None:
    ids = await fill(api, 150)
    first = (await api.get("/predictions")).json()
    await fill(api, 20)
    second = (await api.get(first["next"])).json()
    assert [item["id"] for item in second["results"]] == ids[100:]


async def test_items_have_the_lists_own_order_and_can_be_lean(api: Api) -> None:
    await fill(api, 1)
    api.clock.advance(5)
    (item,) = (await api.get("/predictions")).json()["results"]
    assert list(item)[:4] == ["completed_at", "created_at", "data_removed", "error"]
    assert list(item)[-2:] == ["model", "version"]
    assert (item["output"], item["input"]) == (0, {"value": 0})
    api.simulator.configure(lean_lists=True)
    (lean,) = (await api.get("/predictions")).json()["results"]
    assert not {"logs", "input", "output"} & lean.keys()
    assert lean["status"] == "succeeded"


async def test_time_filters_hold_on_every_page(api: Api) -> None:
    start = api.clock.now()
    ids = await fill(api, 300)

    def iso(seconds: float) -> str:
        return datetime.fromtimestamp(start + seconds, UTC).isoformat().replace("+00:00", "Z")

    path = f"/predictions?created_after={iso(50)}&created_before={iso(200)}"
    pages = await walk(api, path)
    assert [item["id"] for page in pages for item in page] == ids[::-1][50:200][::-1]
    assert (await api.get("/predictions?created_after=yesterday")).status_code == 400


async def test_the_source_filter_tells_web_from_api(api: Api) -> None:
    by_web = api.simulator.create("simulated/echo", {"value": 1}, "web")
    await fill(api, 2)
    found = (await api.get("/predictions?source=web")).json()["results"]
    assert [(item["id"], item["source"]) for item in found] == [(by_web, "web")]
    assert len((await api.get("/predictions?source=api")).json()["results"]) == 2
    assert (await api.get("/predictions?source=fax")).status_code == 400


async def test_lists_may_lag_behind(api: Api) -> None:
    api.simulator.configure(listed_after_s=3.0)
    api.simulator.create("simulated/echo", {})
    assert (await api.get("/predictions")).json()["results"] == []
    api.clock.advance(3)
    assert len((await api.get("/predictions")).json()["results"]) == 1


async def test_a_strange_cursor_is_refused(api: Api) -> None:
    for cursor in ("x", "", "cD0x%00", "cD14"):
        assert (await api.get(f"/predictions?cursor={cursor}")).status_code == 404


async def test_next_links_may_begin_with_http(api: Api) -> None:
    api.simulator.configure(http_next_links=True)
    await fill(api, 101)
    assert (await api.get("/predictions")).json()["next"].startswith("http://127.0.0.1:")


async def test_the_oldest_make_room(api: Api) -> None:
    api.simulator.configure(keep_predictions=50)
    ids = await fill(api, 120)
    kept = [item["id"] for page in await walk(api, "/predictions") for item in page]
    assert kept == ids[: len(kept)]
    assert 45 <= len(kept) <= 50


@given(st.integers(0, 60), st.integers(1, 9), st.data())
def test_every_item_is_on_exactly_one_page_in_both_directions(
    count: int, limit: int, data: st.DataObject
) -> None:
    kept = data.draw(st.sets(st.integers(0, count)))
    items = list(range(count))
    cursor: str | None = None
    forwards: list[int] = []
    pages = []
    while True:
        page = paginate(items, lambda item: item, cursor, kept.__contains__, limit)
        pages.append(page)
        forwards.extend(page.items)
        cursor = page.next
        if cursor is None:
            break
    assert forwards == sorted(kept & set(items), reverse=True)
    backwards = list(pages[-1].items)
    cursor = pages[-1].previous
    while cursor is not None:
        page = paginate(items, lambda item: item, cursor, kept.__contains__, limit)
        backwards = page.items + backwards
        cursor = page.previous
    assert backwards == forwards


@given(st.text(max_size=12))
def test_no_cursor_breaks_the_reader(cursor: str) -> None:
    try:
        page = paginate([1, 2, 3], lambda item: item, cursor)
    except BadCursor:
        return
    assert set(page.items) <= {1, 2, 3}


@pytest.mark.parametrize(
    "path", ["/files", "/trainings", "/deployments", "/models", "/collections"]
)
async def test_every_list_has_the_three_members(api: Api, path: str) -> None:
    assert list((await api.get(path)).json()) == ["next", "previous", "results"]
