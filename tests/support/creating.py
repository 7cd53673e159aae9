"""Creates as users write them."""

from typing import Any

import httpx

API = "/replicate/v1"
FLUX = f"{API}/models/black-forest-labs/flux-schnell/predictions"
TERMINAL = frozenset({"succeeded", "failed", "canceled", "aborted"})
LORA_VERSION = "2a6b576af31790b470f0a8442e1e9791213fa13799cbb65a9fc1436e96389574"
HELLO_VERSION = "5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa"


def predictions_of(model: str) -> str:
    """Return the path at which predictions of a model are created."""
    return f"{API}/models/{model}/predictions"


def create(
    client: httpx.Client, model: str, headers: dict[str, str] | None = None, **given: Any
) -> httpx.Response:
    """Create a prediction of one of the simulated models with this input."""
    return client.post(predictions_of(f"simulated/{model}"), json={"input": given}, headers=headers)


def created(client: httpx.Client, model: str, **given: Any) -> str:
    """Create a prediction and return its id; fails unless that is done."""
    answer = create(client, model, **given)
    assert answer.status_code == 201, answer.text
    made: str = answer.json()["id"]
    return made


def read(client: httpx.Client, prediction_id: str, **headers: str) -> httpx.Response:
    """Ask for a prediction; underscores in header names stand for hyphens."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.get(f"{API}/predictions/{prediction_id}", headers=sent)


def ended(client: httpx.Client, prediction_id: str) -> httpx.Response | None:
    """Look at a prediction once, as a client that polls does; None while it runs."""
    answer = read(client, prediction_id)
    assert answer.status_code == 200, answer.text
    return answer if answer.json()["status"] in TERMINAL else None
