"""Operations on the account, the hardware, the collections, the search and the webhook secret."""

import base64

from gateway.simulator.creation import Refused, not_found
from gateway.simulator.deployment_routes import account_page
from gateway.simulator.listing import page_of
from gateway.simulator.model_pages import model_page
from gateway.simulator.model_routes import HARDWARE, matching
from gateway.simulator.wire import Json, JsonObject, Reply, Request, json_reply, problem
from gateway.simulator.world import World

_COLLECTIONS = (
    ("Text to image", "text-to-image", "Models that turn words into pictures."),
    ("Language models", "language-models", "Models that read and write text."),
)
_PAGES = (
    ("Create a prediction", "/docs/topics/predictions/create-a-prediction"),
    ("Streaming output", "/docs/topics/predictions/streaming"),
    ("Train a picture model", "/docs/guides/train-image-model"),
)
_MOST_MODELS = 20


async def account(world: World, _request: Request) -> Reply:
    """Answer whose token this is."""
    return json_reply(account_page(world))


async def hardware(_world: World, _request: Request) -> Reply:
    """Answer what models can run on."""
    return json_reply([{"name": name, "sku": sku} for name, sku in HARDWARE])


def _collection(name: str, slug: str, description: str) -> JsonObject:
    return {"name": name, "slug": slug, "description": description}


async def collections(_world: World, _request: Request) -> Reply:
    """Answer all collections."""
    return page_of([_collection(*row) for row in _COLLECTIONS])


async def collection(world: World, request: Request) -> Reply:
    """Answer one collection and its models."""
    row = next((row for row in _COLLECTIONS if row[1] == request.params["slug"]), None)
    if row is None:
        raise not_found()
    models: list[Json] = [
        model_page(world, model) for model in world.catalogue if model.collection == row[1]
    ]
    full = f"## Overview\n\n{row[2]}"
    return json_reply({**_collection(*row), "full_description": full, "models": models})


async def search(world: World, request: Request) -> Reply:
    """Answer models, collections and pages that contain the words of the query."""
    query = request.query.get("query", "").strip()
    if not query:
        detail = 'Query parameter "query" is required'
        raise Refused(problem(400, detail, with_status=False))
    limit = request.query.get("limit", str(_MOST_MODELS))
    if not limit.isdigit() or not 1 <= int(limit) <= 50:
        detail = 'Query parameter "limit" must be between 1 and 50'
        raise Refused(problem(400, detail, with_status=False))
    words = query.lower().split()
    models: list[Json] = [
        {
            "model": model_page(world, model),
            "metadata": {
                "generated_description": f"{model.description}.",
                "tags": [model.collection] if model.collection else [],
                "score": round(1.0 / (position + 1), 6),
            },
        }
        for position, model in enumerate(matching(world, words)[: int(limit)])
    ]
    found: list[Json] = [
        {
            **_collection(*row),
            "models": [model.full_name for model in world.catalogue if model.collection == row[1]],
        }
        for row in _COLLECTIONS
        if all(word in " ".join(row).lower() for word in words)
    ]
    pages: list[Json] = [
        {"name": name, "href": href}
        for name, href in _PAGES
        if all(word in name.lower() for word in words)
    ]
    return json_reply({"query": query, "models": models, "collections": found, "pages": pages})


async def webhook_secret(world: World, _request: Request) -> Reply:
    """Answer the secret that the account's webhooks would be signed with."""
    return json_reply({"key": "whsec_" + base64.b64encode(world.webhook_key).decode()})
