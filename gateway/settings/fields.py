"""Finding one's way in the tables of the model: which table, which field, what kind of value."""

import types
from collections.abc import Mapping
from typing import Annotated, TypeAlias, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

# A type as it stands in an annotation: a class, or one of typing's generic forms.
TypeForm: TypeAlias = object


def bare(form: TypeForm) -> TypeForm:
    """Return a type without ``Annotated`` around it and without ``| None`` beside it."""
    while get_origin(form) is Annotated:
        form = get_args(form)[0]
    if get_origin(form) in (Union, types.UnionType):
        return bare(next(arm for arm in get_args(form) if arm is not types.NoneType))
    return form


def table(form: TypeForm) -> type[BaseModel] | None:
    """Return the table that a type is, or None for a plain value."""
    form = bare(form)
    return form if isinstance(form, type) and issubclass(form, BaseModel) else None


def named_tables(form: TypeForm) -> type[BaseModel] | None:
    """Return the table behind each name of ``[section.NAME]``, or None when there are no names."""
    form = bare(form)
    return table(get_args(form)[1]) if get_origin(form) is Mapping else None


def element(form: TypeForm) -> TypeForm | None:
    """Return the type of a list's elements, or None for what is not a list."""
    form = bare(form)
    return get_args(form)[0] if get_origin(form) is tuple else None


def table_of(model: type[BaseModel], location: tuple[str | int, ...]) -> type[BaseModel] | None:
    """Return the table at a place below ``model``, or None when there is none."""
    form: TypeForm | None = model
    for part in location:
        if isinstance(part, int):
            form = element(form)
        else:
            current = table(form)
            field = current.model_fields.get(part) if current else None
            form = field.annotation if field else None
    return table(form)


def field_at(model: type[BaseModel], location: tuple[str | int, ...]) -> FieldInfo | None:
    """Return the field that a place below ``model`` belongs to; for a list's element the list's."""
    while location and isinstance(location[-1], int):
        location = location[:-1]
    if not location:
        return None
    owner = table_of(model, location[:-1])
    return owner.model_fields.get(str(location[-1])) if owner else None
