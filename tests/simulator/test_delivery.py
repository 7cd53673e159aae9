"""Output files."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator.blobs import PIECE_BYTES, blob_digest, read_blob
from gateway.simulator.file_reading import UnsatisfiableRange, parse_range
from tests.simulator.conftest import Api

LARGE = "simulated/large-file"


async def test_a_picture_is_the_same_on_every_fetch(api: Api) -> None:
    done = await api.finished("black-forest-labs/flux-schnell", {"prompt": "x"})
    first = await api.plain(done["output"][0])
    second = await api.plain(done["output"][0])
    assert first.content == second.content
    assert first.headers["etag"] == second.headers["etag"]
    assert first.headers["content-type"] == "image/webp"
    assert first.headers["content-length"] == str(len(first.content))
    unchanged = {"If-None-Match": first.headers["etag"]}
    assert (await api.plain(done["output"][0], headers=unchanged)).status_code == 304


async def test_a_large_file_has_its_length_and_reproducible_bytes(api: Api) -> None:
    size = 3_000_001
    done = await api.finished(LARGE, {"size_bytes": size})
    answer = await api.plain(done["output"])
    assert answer.headers["content-length"] == str(size)
    assert len(answer.content) == size
    assert len(set(answer.content)) == 256
    digest = hashlib.sha256(answer.content).hexdigest()
    assert digest == blob_digest(f"{done['id']}/output.bin", size)
    part = await api.plain(done["output"], headers={"Range": "bytes=999990-2000009"})
    assert part.status_code == 206
    assert part.headers["content-range"] == f"bytes 999990-2000009/{size}"
    assert part.content == answer.content[999990:2000010]


async def test_the_usual_large_file_has_two_hundred_megabytes(api: Api) -> None:
    done = await api.finished(LARGE, {})
    head = await api.client.head(done["output"])
    assert (head.status_code, head.headers["content-length"]) == (200, "200000000")
    tail = await api.plain(done["output"], headers={"Range": "bytes=-5"})
    assert (tail.status_code, len(tail.content)) == (206, 5)


async def test_ranges_behind_the_end_and_of_another_version(api: Api) -> None:
    done = await api.finished(LARGE, {"size_bytes": 100})
    beyond = await api.plain(done["output"], headers={"Range": "bytes=100-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, "bytes */100")
    changed = {"Range": "bytes=5-", "If-Range": '"another"'}
    whole = await api.plain(done["output"], headers=changed)
    assert (whole.status_code, len(whole.content)) == (200, 100)


async def test_delivery_can_trickle(api: Api) -> None:
    given = {"size_bytes": 10_000, "bytes_per_second": 10_000}
    done = await api.finished(LARGE, given)
    before = api.clock.now()
    answer = await api.passing(api.plain(done["output"]), step=0.05)
    assert len(answer.content) == 10_000
    assert api.clock.now() - before >= 0.89


async def test_files_are_there_when_the_prediction_has_succeeded_and_not_before(api: Api) -> None:
    fresh = await api.create("black-forest-labs/flux-schnell", {"prompt": "x"})
    ahead = api.simulator.api_url  # the address cannot be known: it carries a seal
    api.clock.advance(10)
    url = (await api.read(fresh))["output"][0]
    assert ahead not in url
    other = await api.create("black-forest-labs/flux-schnell", {"prompt": "x"})
    assert (await api.plain(url.replace(fresh["id"], other["id"]))).status_code == 404
    assert (await api.plain(url.replace("out-0", "out-1"))).status_code == 404
    assert (await api.plain(url)).status_code == 200


async def test_a_file_may_have_any_name_and_media_type(api: Api) -> None:
    given = {"size_bytes": 10, "name": "über 1%2F?.html", "content_type": "text/html"}
    done = await api.finished(LARGE, given)
    assert done["output"].endswith("/%C3%BCber%201%252F%3F.html")
    answer = await api.plain(done["output"])
    assert (len(answer.content), answer.headers["content-type"]) == (10, "text/html")


async def test_no_token_is_needed_and_one_that_comes_is_logged(api: Api) -> None:
    done = await api.finished("simulated/single-picture", {"prompt": "x"})
    await api.plain(done["output"])
    await api.plain(done["output"], headers={"Authorization": "Bearer leaked"})
    seen = [entry.authorization for entry in api.simulator.log.entries(origin="delivery")]
    assert seen == [None, "Bearer leaked"]


async def test_public_pictures_of_model_pages_are_served(api: Api) -> None:
    model = (await api.get("/models/black-forest-labs/flux-schnell")).json()
    assert model["cover_image_url"].startswith(api.simulator.delivery_origin)
    for url in (model["cover_image_url"], *model["default_example"]["output"]):
        assert (await api.plain(url)).headers["content-type"] == "image/webp"


async def test_only_reading_is_possible(api: Api) -> None:
    assert (await api.client.post(f"{api.simulator.delivery_origin}/x")).status_code == 405
    assert (await api.plain(f"{api.simulator.delivery_origin}/xezq/x/y")).status_code == 404


@given(st.integers(0, 3 * PIECE_BYTES), st.integers(0, 3 * PIECE_BYTES))
def test_any_cut_of_a_blob_is_what_the_whole_has_there(first: int, second: int) -> None:
    start, stop = sorted((first, second))
    whole = b"".join(read_blob("seed", 0, 3 * PIECE_BYTES))
    assert b"".join(read_blob("seed", start, stop)) == whole[start:stop]


@given(st.text(alphabet="bytes=-,0123456789 x", max_size=16), st.integers(0, 200))
def test_a_range_is_within_the_file_or_none(text: str, size: int) -> None:
    for header in (text, f"bytes={text}"):
        try:
            found = parse_range(header, size)
        except UnsatisfiableRange:
            continue
        assert found is None or 0 <= found[0] < found[1] <= size or (size == 0 and found == (0, 0))


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=5-", (5, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-30", (0, 10)),
        ("bytes=2-50", (2, 10)),
        ("bytes=5-2", None),
        ("bytes=0-1,4-5", None),
        ("items=0-1", None),
        (None, None),
    ],
)
def test_ranges_are_read_as_the_standard_says(
    header: str | None, found: tuple[int, int] | None
) -> None:
    assert parse_range(header, 10) == found


async def test_a_film_is_a_webm_file_of_key_frames(api: Api) -> None:
    given_ = {"prompt": "a ball", "frames": 4, "output_format": "webm"}
    done = await api.finished("simulated/clip", given_)
    answer = await api.plain(done["output"])
    assert answer.headers["content-type"] == "video/webm"
    assert answer.content.startswith(b"\x1a\x45\xdf\xa3")
    assert b"V_VP8" in answer.content
    # What begins every VP8 key frame, and the size of the picture after it.
    assert answer.content.count(b"\x9d\x01\x2a\x40\x01\xb4\x00") == 4


async def test_hostile_files_are_delivered_as_a_model_left_them(api: Api) -> None:
    done = await api.finished("simulated/hostile", {})
    drawing, page, picture = [await api.plain(url) for url in done["output"]]
    assert drawing.headers["content-type"] == "image/svg+xml"
    assert "<script>" in drawing.text
    assert page.headers["content-type"].startswith("text/html")
    assert "<script>" in page.text
    assert picture.headers["content-type"] == "image/png"
    assert "%22" in done["output"][2]
    assert "%3Cimg" in done["output"][2]
