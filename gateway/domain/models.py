"""Which model a create asks for, and whether a plan allows it.

Names are ``owner/name`` in lower case. Patterns are like a shell's, on the whole name: ``*`` stands
for any run of characters (the slash included), ``?`` for exactly one; every other character, square
brackets too, stands for itself. Case never matters.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from gateway.domain.plans import Plan, QuotaRule

_PART = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
_MODEL = re.compile(rf"({_PART})/({_PART})")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_GLOB = re.compile(r"[A-Za-z0-9._*?/-]+")


@dataclass(frozen=True, slots=True)
class ByModel:
    """A create on a model's newest version."""

    owner: str
    name: str

    @property
    def model(self) -> str:
        """``owner/name``."""
        return f"{self.owner}/{self.name}"


@dataclass(frozen=True, slots=True)
class ByVersion:
    """A create by a version's id alone; whose version it is has to be found out."""

    version_id: str


@dataclass(frozen=True, slots=True)
class ByModelVersion:
    """A create on one version of a named model; the claim has to be checked."""

    owner: str
    name: str
    version_id: str

    @property
    def model(self) -> str:
        """``owner/name``."""
        return f"{self.owner}/{self.name}"


@dataclass(frozen=True, slots=True)
class ByDeployment:
    """A create on a deployment, whose model is its current release's."""

    owner: str
    name: str

    @property
    def deployment(self) -> str:
        """``owner/name`` of the deployment itself."""
        return f"{self.owner}/{self.name}"


CreateTarget = ByModel | ByVersion | ByModelVersion | ByDeployment


def parse_version_field(text: str) -> ByModel | ByVersion | ByModelVersion:
    """Read the ``version`` of a create: an id, ``owner/name`` or ``owner/name:id``.

    The parts come back in lower case, fit for comparing; raises ValueError for anything else, so
    that no spelling that upstream might understand otherwise gets past the rules.
    """
    folded = text.lower()
    model_text, colon, version_id = folded.partition(":")
    if colon and not _VERSION.fullmatch(version_id):
        raise ValueError("not a version")
    model = _MODEL.fullmatch(model_text)
    if model and colon:
        return ByModelVersion(model[1], model[2], version_id)
    if model:
        return ByModel(model[1], model[2])
    if colon or not _VERSION.fullmatch(folded):
        raise ValueError("not a version")
    return ByVersion(folded)


@lru_cache(maxsize=4096)
def _pattern(glob: str) -> re.Pattern[str]:
    # Atomic groups: once a piece between two stars is found, it is not looked for again, so a
    # pattern of many stars cannot take long.
    first, *rest = (
        "".join("." if char == "?" else re.escape(char) for char in piece)
        for piece in glob.casefold().split("*")
    )
    if not rest:
        return re.compile(first, re.DOTALL)
    *middle, last = rest
    found = "".join(f"(?>.*?{piece})" for piece in middle if piece)
    return re.compile(f"{first}{found}.*{last}", re.DOTALL)


def matches(globs: Iterable[str], name: str) -> bool:
    """Return whether any of the globs stands for this name."""
    folded = name.casefold()
    return any(_pattern(glob).fullmatch(folded) is not None for glob in globs)


def allowed(plan: Plan, *names: str) -> bool:
    """Return whether the plan allows a thing that goes by these names.

    A model has one name; a deployment has two, its own and its current release's model. Denying
    one denies the thing, allowing one is enough; an empty allow list allows everything.
    """
    if any(matches(plan.models_deny, name) for name in names):
        return False
    return not plan.models_allow or any(matches(plan.models_allow, name) for name in names)


def rule_applies(rule: QuotaRule, *names: str) -> bool:
    """Return whether a rule counts a prediction of the model with these names."""
    return not rule.models or any(matches(rule.models, name) for name in names)


def literal_models(globs: Iterable[str]) -> tuple[str, ...]:
    """Return the models that globs name without wildcards, in lower case and each once."""
    folded = dict.fromkeys(glob.lower() for glob in globs)
    return tuple(name for name in folded if _MODEL.fullmatch(name))


def glob_fault(glob: str) -> str | None:
    """Say what is wrong with a pattern that can match no model, None if it is good."""
    if not _GLOB.fullmatch(glob):
        return "write owner/name, with * and ? as the only wildcards"
    if glob.count("/") > 1:
        return "a model's name has one slash: owner/name"
    if "/" not in glob and "*" not in glob and "?" not in glob:
        return "write owner/name: the owner is missing"
    return None
