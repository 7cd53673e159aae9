import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.usage import Usage, is_image, outputs_asked_for, typical, usage_from

JSON = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)


def test_a_finished_predictions_metrics_are_read() -> None:
    metrics = {
        "predict_time": 4.123456789,
        "total_time": 9.0,
        "image_count": 2,
        "input_token_count": 12,
        "output_token_count": 345.0,
    }
    usage = usage_from(metrics, ["https://x/a.png"])
    assert usage == Usage(4_123_457, 2, 12, 345)
    assert usage.tokens == 357


def test_without_an_image_count_output_urls_with_an_images_extension_count() -> None:
    urls = ["https://x/a.PNG", "https://x/b.jpeg?sig=1", "https://x/c.mp4", "https://x/d"]
    assert usage_from({}, urls) == Usage(None, 2, 0, 0)
    assert usage_from({"image_count": 0}, urls).images == 0


@pytest.mark.parametrize("extension", ["png", "jpg", "jpeg", "webp", "gif", "avif", "svg", "tiff"])
def test_images_are_told_by_their_extension(extension: str) -> None:
    assert is_image(f"https://host/path/out.{extension}")
    assert is_image(f"https://host/path/out.{extension.upper()}#top")
    assert not is_image(f"https://host/path/out?file=x.{extension}")
    assert not is_image(f"https://host/{extension}")


@given(st.dictionaries(st.sampled_from(["predict_time", "image_count", "input_token_count"]), JSON))
def test_senseless_numbers_never_become_senseless_usage(metrics: dict[str, object]) -> None:
    usage = usage_from(metrics, [])
    assert usage.predict_us is None or 0 <= usage.predict_us < 2**63
    assert 0 <= usage.images < 2**62
    assert 0 <= usage.tokens < 2**62


def test_a_number_of_absurd_length_is_bounded() -> None:
    huge = 10 ** (sys.get_int_max_str_digits() + 10)
    assert usage_from({"image_count": huge}, []).images == 9 * 10**15


def test_the_typical_use_is_the_median() -> None:
    history = [Usage(5, 1, 10, 100), Usage(None, 9, 30, 300), Usage(1, 2, 20, 200)]
    assert typical(history) == Usage(5, 2, 20, 200)
    assert typical([]) is None
    assert typical([Usage(None)]) == Usage(None)


@pytest.mark.parametrize(
    ("given_input", "expected"),
    [
        (None, 1),
        ({}, 1),
        ({"num_outputs": 4}, 4),
        ({"num_outputs": 0}, 1),
        ({"num_outputs": True}, 1),
        ({"num_outputs": "4"}, 1),
        ({"num_outputs": 10**9}, 1),
        ({"num_outputs": 2.0}, 1),
    ],
)
def test_only_a_sane_number_of_outputs_is_believed(
    given_input: dict[str, object] | None, expected: int
) -> None:
    assert outputs_asked_for(given_input) == expected
