"""Each model's course, with a clock moved by hand."""

import io
import wave
from typing import Any

import pytest
from PIL import Image

from gateway.simulator.shelf import LORA_VERSION
from tests.simulator.conftest import Api

FLUX = "black-forest-labs/flux-schnell"
LLAMA = "meta/meta-llama-3-8b-instruct"


async def picture(api: Api, url: str) -> Image.Image:
    answer = await api.plain(url)
    assert answer.status_code == 200
    image = Image.open(io.BytesIO(answer.content))
    image.load()
    return image


async def test_a_picture_goes_from_starting_over_processing_to_succeeded(api: Api) -> None:
    fresh = await api.create(FLUX, {"prompt": "a cake", "output_format": "jpg"})
    assert list(fresh) == [
        "id", "model", "version", "input", "logs", "output", "data_removed", "error", "source",
        "status", "created_at", "urls",
    ]  # fmt: skip
    assert (fresh["status"], fresh["output"], fresh["logs"]) == ("starting", None, "")
    assert fresh["version"] == "dp-4d0bcc010b3049749a251855f12800be"
    assert len(fresh["id"]) == 26
    assert list(fresh["input"]) == ["output_format", "prompt"]
    assert "/v1/files/" in fresh["urls"]["stream"]
    api.clock.advance(0.9)
    running = await api.read(fresh)
    assert (running["status"], running["output"]) == ("processing", None)
    assert running["logs"].startswith("Using seed: ")
    assert "completed_at" not in running
    api.clock.advance(5)
    done = await api.read(fresh)
    assert done["status"] == "succeeded"
    assert done["metrics"]["image_count"] == 1
    assert 0.4 < done["metrics"]["predict_time"] < 0.7
    assert done["metrics"]["total_time"] > done["metrics"]["predict_time"]
    assert "100%|██████████| 4/4" in done["logs"]
    assert done["created_at"].endswith("Z")
    assert len(done["started_at"]) == len("2025-01-15T10:03:40.584470194Z")
    assert done["completed_at"] > done["started_at"] > done["created_at"]


@pytest.mark.parametrize(
    ("kind", "name", "aspect", "size"),
    [("jpg", "JPEG", "1:1", (1024, 1024)), ("png", "PNG", "16:9", (1344, 768)),
     ("webp", "WEBP", "9:16", (768, 1344))],
)  # fmt: skip
async def test_pictures_have_the_kind_number_and_shape_asked_for(
    api: Api, kind: str, name: str, aspect: str, size: tuple[int, int]
) -> None:
    given = {"prompt": "x", "output_format": kind, "aspect_ratio": aspect, "num_outputs": 2}
    done = await api.finished(FLUX, given)
    assert [url.rpartition("/")[2] for url in done["output"]] == [f"out-0.{kind}", f"out-1.{kind}"]
    images = [await picture(api, url) for url in done["output"]]
    assert [(image.format, image.size) for image in images] == [(name, size)] * 2
    assert images[0].tobytes() != images[1].tobytes()
    assert done["metrics"]["image_count"] == 2


async def test_a_quarter_of_a_megapixel_is_half_as_wide(api: Api) -> None:
    done = await api.finished(FLUX, {"prompt": "x", "megapixels": "0.25", "output_format": "jpg"})
    assert (await picture(api, done["output"][0])).size == (512, 512)


async def test_the_community_model_answers_lean_at_first_and_keeps_the_inputs_order(
    api: Api,
) -> None:
    given = {"prompt": "frosting", "hf_lora": "alvdansen/frosting_lane_flux", "lora_scale": 0.8}
    fresh = await api.create(LORA_VERSION, given)
    assert fresh["model"] == "lucataco/flux-schnell-lora"
    assert fresh["version"] == LORA_VERSION
    assert list(fresh["input"]) == list(given)
    assert not {"output", "data_removed", "metrics", "started_at", "completed_at"} & fresh.keys()
    api.clock.advance(60)
    done = await api.read(fresh)
    assert done["output"][0].endswith("/out-0.webp")
    assert "alvdansen/frosting_lane_flux" in done["logs"]


async def test_the_llama_answers_under_another_name_with_tokens_that_grow(api: Api) -> None:
    fresh = await api.create(LLAMA, {"prompt": "hi there", "max_tokens": 30})
    assert fresh["model"] == "replicate-internal/llama-3-8b-instruct-int8-triton"
    assert fresh["version"].startswith("d-")
    assert "/v1/streams/" in fresh["urls"]["stream"]
    api.clock.advance(0.4)
    running = await api.read(fresh)
    api.clock.advance(10)
    done = await api.read(fresh)
    assert running["status"] == "processing"
    assert 1 <= len(running["output"]) < 30
    assert done["output"][: len(running["output"])] == running["output"]
    assert len(done["output"]) == done["metrics"]["output_token_count"] == 30
    assert done["metrics"]["input_token_count"] > 0
    assert 0 < done["metrics"]["time_to_first_token"] < done["metrics"]["predict_time"]


async def test_speed_divides_all_durations(api: Api) -> None:
    api.simulator.configure(speed=10.0)
    done = await api.finished("simulated/slow", {"seconds": 50, "queue_seconds": 5}, 5.5)
    assert done["status"] == "succeeded"
    assert done["metrics"]["predict_time"] == pytest.approx(5)
    assert done["metrics"]["total_time"] == pytest.approx(5.5)


async def test_a_failure_names_its_error_and_has_no_output(api: Api) -> None:
    done = await api.finished("simulated/failing", {"message": "boom"})
    assert (done["status"], done["error"], done["output"]) == ("failed", "boom", None)
    assert "RuntimeError: boom" in done["logs"]
    assert done["metrics"]["predict_time"] == pytest.approx(0.5)


async def test_the_queue_never_starts_until_it_is_canceled(api: Api) -> None:
    fresh = await api.create("simulated/queue", {})
    api.clock.advance(86400)
    assert (await api.read(fresh))["status"] == "starting"
    answer = await api.post(fresh["urls"]["cancel"])
    assert answer.status_code == 200
    canceled = answer.json()
    assert canceled["status"] == "canceled"
    assert "started_at" not in canceled
    assert canceled["metrics"] == {"total_time": pytest.approx(86400)}


async def test_canceling_keeps_the_tokens_so_far_and_the_time_used(api: Api) -> None:
    fresh = await api.create(LLAMA, {"prompt": "hi", "min_tokens": 200})
    api.clock.advance(1)
    canceled = (await api.post(fresh["urls"]["cancel"])).json()
    assert canceled["status"] == "canceled"
    assert 0 < len(canceled["output"]) < 200
    assert canceled["metrics"]["predict_time"] == pytest.approx(0.85)
    api.clock.advance(60)
    assert await api.read(fresh) == canceled


async def test_canceling_what_has_ended_changes_nothing(api: Api) -> None:
    done = await api.finished(FLUX, {"prompt": "x"})
    assert (await api.post(done["urls"]["cancel"])).json() == done


@pytest.mark.parametrize(("queue_s", "status"), [(30, "aborted"), (0, "canceled")])
async def test_cancel_after_aborts_what_waits_and_cancels_what_runs(
    api: Api, queue_s: float, status: str
) -> None:
    given = {"seconds": 100, "queue_seconds": queue_s}
    fresh = await api.create("simulated/slow", given, headers={"Cancel-After": "10"})
    assert "deadline" in fresh
    api.clock.advance(9.9)
    assert (await api.read(fresh))["status"] in ("starting", "processing")
    api.clock.advance(0.2)
    assert (await api.read(fresh))["status"] == status


async def test_data_is_removed_after_its_hour_and_so_are_the_files(api: Api) -> None:
    done = await api.finished(FLUX, {"prompt": "x", "output_format": "jpg"})
    url = done["output"][0]
    api.clock.advance(3500)
    assert (await api.plain(url)).status_code == 200
    api.clock.advance(101)
    removed = await api.read(done)
    assert removed["data_removed"] is True
    assert (removed["output"], removed["input"], removed["logs"]) == (None, {}, "")
    assert (removed["status"], removed["metrics"]) == ("succeeded", done["metrics"])
    assert (await api.plain(url)).status_code == 404
    assert (await api.plain(done["urls"]["stream"])).status_code == 404


async def test_expiring_by_hand_removes_the_data_at_once(api: Api) -> None:
    done = await api.finished(FLUX, {"prompt": "x"})
    assert api.simulator.expire(done["id"])
    assert (await api.read(done))["data_removed"] is True
    assert api.simulator.forget(done["id"])
    assert (await api.get(f"/predictions/{done['id']}")).status_code == 404


async def test_outputs_take_every_shape(api: Api) -> None:
    nested = (await api.finished("simulated/nested", {"prompt": "x"}))["output"]
    for url in (nested["cover"], nested["masks"][0]["mask"], nested["masks"][1]["mask"]):
        assert (await picture(api, url)).format == "PNG"
    assert nested["rejected"] is None
    assert nested["cover"] in nested["caption"]
    single = await api.finished("simulated/single-picture", {"prompt": "x"})
    assert (await picture(api, single["output"])).size == (512, 512)
    foreign = await api.finished("simulated/foreign-url", {"url": "https://evil.example/a.png"})
    assert foreign["output"] == ["https://evil.example/a.png"]
    value = {"a": [1, 2.5, None, True], "b": "text"}
    assert (await api.finished("simulated/echo", {"value": value}))["output"] == value
    hidden = await api.finished("simulated/hidden-version", {"prompt": "x"})
    assert (hidden["version"], hidden["status"]) == ("hidden", "succeeded")


async def test_sound_plays_and_clips_move(api: Api) -> None:
    speech = await api.finished("simulated/speech", {"text": "hello", "seconds": 1})
    answer = await api.plain(speech["output"])
    assert answer.headers["content-type"] == "audio/wav"
    with wave.open(io.BytesIO(answer.content)) as sound:
        assert sound.getnframes() / sound.getframerate() == 1.0
    clip = await api.finished("simulated/clip", {"prompt": "a ball", "frames": 5})
    image = await picture(api, clip["output"])
    assert (image.format, getattr(image, "n_frames", 1)) == ("GIF", 5)


async def restyled(api: Api, image: str) -> dict[str, Any]:
    """Run the model that fetches its input, and wait for the fetch."""
    fresh = await api.create("simulated/image-to-image", {"image": image})
    api.clock.advance(0.5)
    prediction = api.simulator.prediction
    await api.until(lambda: "input image" in str(prediction(fresh["id"])) or _read(api, fresh))
    api.clock.advance(60)
    return await api.read(fresh)


def _read(api: Api, fresh: dict[str, Any]) -> bool:
    return "Read " in str((api.simulator.prediction(fresh["id"]) or {}).get("logs"))


async def test_a_chain_of_models_really_fetches_the_first_ones_output(api: Api) -> None:
    first = await api.finished(FLUX, {"prompt": "x", "output_format": "jpg"})
    second = await restyled(api, first["output"][0])
    assert second["status"] == "succeeded"
    assert (await picture(api, second["output"][0])).size == (768, 768)
    assert api.simulator.log.count(origin="delivery", internal=True) == 1
    assert api.simulator.log.count(origin="delivery", path_prefix="/xezq/" + first["id"]) == 0


async def test_an_input_that_cannot_be_fetched_fails_the_prediction(api: Api) -> None:
    first = await api.finished(FLUX, {"prompt": "x"})
    api.simulator.expire(first["id"])
    gone = await restyled(api, first["output"][0])
    assert gone["status"] == "failed"
    assert "HTTP 404" in gone["error"]
    foreign = await restyled(api, "https://example.com/x.png")
    assert foreign["status"] == "failed"
    page = await restyled(api, "data:image/png;base64,aGVsbG8=")
    assert page["error"] == "cannot identify image file"


async def test_a_prediction_waits_for_its_input_however_late(api: Api) -> None:
    fresh = await api.create("simulated/image-to-image", {"image": "https://example.com/x.png"})
    # Nothing has been fetched at this very moment, although all its time has passed.
    api.clock.advance(60)
    document = api.simulator.prediction(fresh["id"])
    assert document is not None
    assert document["status"] == "processing"


async def test_the_services_own_books_agree_with_the_documents(api: Api) -> None:
    done = await api.finished(FLUX, {"prompt": "x", "num_outputs": 3})
    text = await api.finished(LLAMA, {"prompt": "x"})
    await api.finished("simulated/failing", {})
    totals = api.simulator.usage_totals()
    assert (totals.predictions, totals.images) == (3, 3)
    assert totals.output_tokens == text["metrics"]["output_token_count"]
    spent = done["metrics"]["predict_time"] + text["metrics"]["predict_time"] + 0.5
    assert totals.predict_time == pytest.approx(spent)
    assert totals.by_status == {"succeeded": 2, "failed": 1}
    assert totals.by_model == {FLUX: 1, LLAMA: 1, "simulated/failing": 1}
