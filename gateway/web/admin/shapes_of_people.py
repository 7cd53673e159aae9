"""What users and keys look like in the administration."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from gateway.domain.names import user_name_fault
from gateway.web.admin.paging import PageQuery
from gateway.web.admin.shapes_of_plans import OverridesShape
from gateway.web.endpoints import Shape
from gateway.web.shapes import LimitsShape, Named

Role = Literal["member", "manage", "admin"]


def _check_user_name(name: str) -> str:
    fault = user_name_fault(name)
    if fault is not None:
        raise ValueError(fault)
    return name


UserName = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$"),
    AfterValidator(_check_user_name),
]
Label = Annotated[str, Field(max_length=100, pattern=r"^[ -~\u00a0-\u024f]*$")]


class NewUser(Shape):
    """A user to be added."""

    name: UserName
    team: Named | None = None
    plan: Named | None = None
    role: Role = "member"


class UserPatch(Shape):
    """What is to change; what is left out stays."""

    name: UserName | None = None
    team: Named | None = None
    plan: Named | None = None
    role: Role | None = None
    disabled: bool | None = None
    overrides: OverridesShape | None = None


class UserShape(Shape):
    """A user."""

    id: str
    name: str
    team: str | None
    plan: str | None = Field(description="Their own; null: the team's, or the default one.")
    role: Role
    disabled: bool
    created_at: str
    disabled_at: str | None
    overrides: OverridesShape


class UserPage(Shape):
    """A page of users, by name."""

    next: str | None
    results: list[UserShape]


class UserStanding(Shape):
    """A user, and where they stand now."""

    user: UserShape
    standing: LimitsShape


class RemoveQuery(Shape):
    """How a user is removed."""

    purge: bool = Field(False, description="Erase what they made too.")


class Removed(Shape):
    """What went with a user."""

    erased_predictions: int


class Secret(Shape):
    """A signing secret."""

    key: str


class NewKeyShape(Shape):
    """A key to be made."""

    user: Named
    label: Label = ""
    expires_in_s: Annotated[float, Field(gt=0, le=100 * 366 * 86_400)] | None = None


class KeyShape(Shape):
    """A key, as much as is known of it: the key itself is not kept."""

    id: str
    user: str
    user_id: str
    hint: str
    label: str
    state: Literal["active", "expired", "revoked"]
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None


class MadeKey(Shape):
    """A key that was just made, shown only this once."""

    key: str
    info: KeyShape


class KeyPage(Shape):
    """A page of keys, by user."""

    next: str | None
    results: list[KeyShape]


class KeyQuery(PageQuery):
    """Which keys."""

    user: Named | None = None
