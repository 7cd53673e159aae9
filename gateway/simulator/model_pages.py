"""Models and versions as JSON."""

from gateway.simulator.catalogue import Model, Version
from gateway.simulator.documents import iso_micros, iso_millis, iso_nanos
from gateway.simulator.wire import JsonObject
from gateway.simulator.world import World

_EXAMPLE_RAN_S = 1.25


def version_page(version: Version) -> JsonObject:
    """Return what `models.versions.get` answers."""
    return {
        "id": version.id,
        "created_at": iso_micros(version.created_at),
        "cog_version": version.cog_version,
        "openapi_schema": version.as_schema(),
    }


def example(world: World, model: Model) -> JsonObject | None:
    """Return the prediction that a model's page shows; its picture is nobody's output."""
    if model.example_input is None:
        return None
    example_id = f"example{model.name}".replace("-", "")[:26].ljust(26, "0")
    created = model.created_at
    picture = f"{world.addresses.delivery}/pbxt/examples/{model.name}/out-0.webp"
    makes_pictures = model.collection == "text-to-image"
    return {
        "id": example_id,
        "model": model.full_name,
        "version": model.versions[0].id if model.versions else "hidden",
        "input": model.example_input,
        "logs": "",
        "output": [picture] if makes_pictures else "hello Alice",
        "data_removed": False,
        "error": None,
        "source": "web",
        "status": "succeeded",
        "created_at": iso_millis(created),
        "started_at": iso_nanos(created + 1, example_id),
        "completed_at": iso_nanos(created + 1 + _EXAMPLE_RAN_S, example_id),
        "urls": {
            "cancel": world.addresses.v1(f"/predictions/{example_id}/cancel"),
            "get": world.addresses.v1(f"/predictions/{example_id}"),
            "web": f"https://replicate.com/p/{example_id}",
        },
        "metrics": {"predict_time": _EXAMPLE_RAN_S, "total_time": 1 + _EXAMPLE_RAN_S},
    }


def model_page(world: World, model: Model) -> JsonObject:
    """Return what `models.get` answers."""
    return {
        "url": f"https://replicate.com/{model.full_name}",
        "owner": model.owner,
        "name": model.name,
        "description": model.description,
        "visibility": model.visibility,
        "is_official": model.official is not None,
        "github_url": model.github_url,
        "paper_url": model.paper_url,
        "license_url": model.license_url,
        "run_count": model.run_count,
        "cover_image_url": model.cover_image_url,
        "default_example": example(world, model),
        "latest_version": version_page(model.versions[0]) if model.versions else None,
    }
