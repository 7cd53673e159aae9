"""The main job, from the first request to the picture."""

from collections.abc import Iterator
from io import BytesIO

import pytest
from PIL import Image

from tests.support.running import Running, running

FLUX = "/replicate/v1/models/black-forest-labs/flux-schnell/predictions"
INPUT = {
    "prompt": "a fox in the snow",
    "go_fast": True,
    "megapixels": "1",
    "num_outputs": 1,
    "aspect_ratio": "1:1",
    "output_format": "jpg",
    "output_quality": 80,
    "num_inference_steps": 4,
}


@pytest.fixture
def gateway() -> Iterator[Running]:
    with running() as gateway:
        yield gateway


def test_a_created_prediction_ends_in_a_picture(gateway: Running) -> None:
    with gateway.client(gateway.add_user("ann")) as client:
        created = client.post(FLUX, json={"input": INPUT})
        assert created.status_code == 201
        body = gateway.finished(client, created.json()["id"]).json()
        assert body["status"] == "succeeded"
        picture = client.get(body["output"][0])
        assert picture.status_code == 200
        Image.open(BytesIO(picture.content)).verify()
