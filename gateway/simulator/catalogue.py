"""Models, their versions and the shelf they stand on."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from gateway.simulator.scripts import Program
from gateway.simulator.wire import JsonObject

Visibility = Literal["public", "private"]


def version_id(text: str) -> str:
    """Return the 64 hex digits that name a version."""
    return hashlib.sha256(f"version of {text}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Version:
    """One pushed state of a model."""

    id: str
    program: Program
    created_at: float
    cog_version: str = "0.9.20"
    trainer: Program | None = None
    """What a training of this version runs; None if it cannot be trained."""

    def as_schema(self) -> JsonObject:
        """Return the OpenAPI document that describes input and output."""
        schemas: JsonObject = {
            "Input": self.program.schema.as_json(),
            "Output": self.program.output_schema,
        }
        if self.trainer is not None:
            schemas["TrainingInput"] = {
                **self.trainer.schema.as_json(),
                "title": "TrainingInput",
            }
        return {
            "info": {"title": "Cog", "version": "0.1.0"},
            "paths": {},
            "openapi": "3.0.2",
            "components": {"schemas": schemas},
        }


@dataclass(frozen=True, slots=True)
class Official:
    """How an official model runs: without a version, and perhaps under another name."""

    program: Program
    answered_version: str = "hidden"
    answered_model: str | None = None
    """What predictions call the model; None is its own name."""


@dataclass(slots=True)
class Model:
    """One model page."""

    owner: str
    name: str
    description: str | None
    created_at: float
    visibility: Visibility = "public"
    official: Official | None = None
    versions: list[Version] = field(default_factory=list)
    """Newest first."""
    run_count: int = 0
    hardware: str = "gpu-t4"
    github_url: str | None = None
    paper_url: str | None = None
    license_url: str | None = None
    weights_url: str | None = None
    cover_image_url: str | None = None
    readme: str | None = None
    collection: str | None = None
    example_input: JsonObject | None = None

    @property
    def full_name(self) -> str:
        """Return `owner/name`."""
        return f"{self.owner}/{self.name}"

    def version(self, wanted: str) -> Version | None:
        """Return one of the versions by its id."""
        return next((version for version in self.versions if version.id == wanted), None)


class Catalogue:
    """All models, by name and by version."""

    def __init__(self, username: str) -> None:
        self._username = username
        self._models: dict[str, Model] = {}
        self._by_version: dict[str, str] = {}

    def __iter__(self) -> Iterator[Model]:
        """Iterate in the order in which the models were added."""
        return iter(list(self._models.values()))

    def add(self, model: Model) -> Model:
        """Put a model on the shelf."""
        self._models[model.full_name] = model
        for version in model.versions:
            self._by_version[version.id] = model.full_name
        return model

    def remove(self, model: Model) -> None:
        """Take a model off the shelf."""
        self._models.pop(model.full_name, None)

    def add_version(self, model: Model, version: Version) -> None:
        """Push a version: it becomes the latest."""
        model.versions.insert(0, version)
        self._by_version[version.id] = model.full_name

    def remove_version(self, model: Model, version: Version) -> None:
        """Delete a version."""
        model.versions.remove(version)
        self._by_version.pop(version.id, None)

    def find(self, owner: str, name: str) -> Model | None:
        """Return a model that the account may see. Names are compared without case."""
        return self.named(f"{owner}/{name}")

    def named(self, full_name: str) -> Model | None:
        """Return a model that the account may see, by `owner/name`."""
        model = self._models.get(full_name) or self._models.get(full_name.lower())
        return model if model is not None and self.may_see(model) else None

    def may_see(self, model: Model) -> bool:
        """Return whether a model is public or the account's own."""
        return model.visibility == "public" or model.owner == self._username

    def by_version(self, wanted: str) -> tuple[Model, Version] | None:
        """Return the model of a bare version id, if the account may run it."""
        model = self.named(self._by_version.get(wanted, ""))
        version = model.version(wanted) if model is not None else None
        return (model, version) if model is not None and version is not None else None
