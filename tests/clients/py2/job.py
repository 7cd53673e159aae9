# mypy: ignore-errors
# Runs in an environment of its own, with another major version of the client than the tests have.
"""What the pre-release of the official Python client's second major version does; prints JSON.

REPLICATE_BASE_URL and REPLICATE_API_TOKEN are all that it is told.
"""

import asyncio
import io
import json
import os
import sys
import time
import warnings

import replicate
from replicate import AsyncReplicate, Replicate

LLAMA = "meta/meta-llama-3-8b-instruct"
FLUX = "black-forest-labs/flux-schnell"
ASKED = {"prompt": "Tell me about rivers", "max_tokens": 12}
PNG = sys.stdin.buffer.read()

client = Replicate()
client.poll_interval = 0.1


def run() -> object:
    pictures = client.run(FLUX, input={"prompt": "a fox", "output_format": "jpg"})
    polled = client.run(FLUX, input={"prompt": "a fox", "output_format": "jpg"}, wait=False)
    version = os.environ["LORA"]
    by_version = client.run(version, input={"prompt": "a fox", "output_format": "webp"})
    return {
        "blocking": pictures[0].read()[:3].hex(),
        "polled": str(polled[0]),
        "version": by_version[0].read()[8:12].decode(),
        "words": "".join(client.run(LLAMA, input=ASKED)),
    }


def use() -> object:
    said = list(replicate.use(LLAMA, streaming=True)(**ASKED))
    path = replicate.use("simulated/single-picture")(prompt="a fox")
    with open(path, "rb") as file:  # noqa: PTH123 - a path of the client's own kind
        head = file.read(4).hex()
    chained = replicate.use("simulated/image-to-image")(image=path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        streamed = "".join(str(word) for word in replicate.stream(LLAMA, input=ASKED))
    return {"said": said, "head": head, "chained": len(chained), "streamed": streamed}


def sse() -> object:
    """Read a prediction's stream as given: without the client's help, which this one lacks."""
    made = client.models.predictions.create(model_owner="meta", model_name=LLAMA[5:], input=ASKED)
    answer = client._client.get(made.urls.stream, headers={"Accept": "text/event-stream"})
    return {"status": answer.status_code, "done": "event: done" in answer.text}


def files() -> object:
    made = client.files.create(content=("square.png", PNG, "image/png"), metadata={"of": "red"})
    read = client.files.get(file_id=made.id)
    listed = [file.id for file in client.files.list()]
    predictions = []
    for image in (made.urls.get, io.BytesIO(PNG)):
        prediction = client.models.predictions.create(
            model_owner="simulated", model_name="image-to-image", input={"image": image}
        )
        predictions.append(client.predictions.wait(prediction.id).status)
    client.files.delete(file_id=made.id)
    try:
        client.files.get(file_id=made.id)
        gone = False
    except replicate.NotFoundError:
        gone = True
    return {
        "url": made.urls.get,
        "size": read.size,
        "listed": made.id in listed,
        "predictions": predictions,
        "gone": gone,
    }


def trainings() -> object:
    model = client.models.get(model_owner="ostris", model_name="flux-dev-lora-trainer")
    made = client.trainings.create(
        model_owner="ostris",
        model_name="flux-dev-lora-trainer",
        version_id=model.latest_version.id,
        destination="acme/fine-tune",
        input={"input_images": "https://example.com/pictures.zip"},
    )
    client.trainings.cancel(training_id=made.id)
    return {
        "status": client.trainings.get(training_id=made.id).status,
        "listed": made.id in [training.id for training in client.trainings.list()],
    }


def others() -> object:
    slow = client.models.predictions.create(
        model_owner="simulated", model_name="slow", input={"seconds": 100}
    )
    client.predictions.cancel(prediction_id=slow.id)
    refused = None
    began = time.monotonic()
    try:
        client.models.predictions.create(
            model_owner="black-forest-labs", model_name="flux-schnell", input={}
        )
    except replicate.UnprocessableEntityError as error:
        refused = str(error)
    return {
        "cancelled": client.predictions.get(prediction_id=slow.id).status,
        "mine": slow.id in [prediction.id for prediction in client.predictions.list()],
        "account": client.account.get().username,
        "searched": [m.owner + "/" + m.name for m in client.models.search(body="fastest image")],
        "secret": client.webhooks.default.secret.get().key[:6],
        "deployment": client.deployments.get(
            deployment_owner="acme", deployment_name="flux-fast"
        ).name,
        "refused": refused,
        "refused_in": time.monotonic() - began,
    }


def asynchronous() -> object:
    async def job() -> object:
        async with AsyncReplicate() as waiting:
            output = await waiting.run(LLAMA, input=ASKED)
            return "".join(output)

    return asyncio.run(job())


JOBS = (run, use, sse, files, trainings, others, asynchronous)
found = {job.__name__: job() for job in JOBS}
sys.stdout.write(json.dumps({"version": replicate.__version__, **found}))
