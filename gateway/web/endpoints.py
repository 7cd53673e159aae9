"""Documented addresses of the gateway's own: one table, from which requests are led to handlers,
checked, and described in an OpenAPI document.
"""

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar
from urllib.parse import parse_qsl, unquote_to_bytes

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.types import Receive, Scope, Send

from gateway.domain import problems
from gateway.domain.json_text import InvalidJson, parse_object
from gateway.domain.keys import field_with_key
from gateway.domain.plans import Identity, Per, Role
from gateway.flows.answer import Answer
from gateway.web.answers import send_answer
from gateway.web.body import read_body
from gateway.web.identity import KeyRing
from gateway.web.openapi import NAME, openapi
from gateway.web.origin import Origins
from gateway.web.problem_response import ProblemError
from gateway.web.request_facts import authorization, facts

M = TypeVar("M", bound=BaseModel)

JSON = ("content-type", "application/json")
NO_STORE = ("cache-control", "no-store")
_NAME = re.compile(NAME)
_PLACE = re.compile(r"\{(\w+)\}")


class Shape(BaseModel):
    """A JSON object of the API; unknown members are refused in what comes in."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoQuery(Shape):
    """No query parameters at all."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request whose sender may make it and whose parts have been checked."""

    identity: Identity
    origin: str
    client: str
    """The address that it comes from, for the audit."""
    contact: str
    path: Mapping[str, str]
    query_text: str
    query: BaseModel
    body: BaseModel | None

    def asked(self, shape: type[M]) -> M:
        """Return the query, which the table says has this shape."""
        if not isinstance(self.query, shape):
            raise TypeError("the query has another shape than its handler expects")
        return self.query

    def sent(self, shape: type[M]) -> M:
        """Return the body, which the table says has this shape."""
        if not isinstance(self.body, shape):
            raise TypeError("the body has another shape than its handler expects")
        return self.body


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One method of one address."""

    name: str
    method: str
    path: str
    """Below the table's prefix, with places in braces: ``/users/{user}``."""
    summary: str
    handler: Callable[[Call], Awaitable[Answer]]
    answer: type[BaseModel] | None
    """What a success carries; None for 204."""
    status: int = 200
    query: type[BaseModel] = NoQuery
    body: type[BaseModel] | None = None
    errors: tuple[int, ...] = ()
    """Beside those that every address has: 400, 401 and 503."""
    tag: str = ""


class Admit(Protocol):
    """Counts a request; may raise Refused."""

    async def __call__(
        self, identity: Identity, *, spared: frozenset[Per], contact: str
    ) -> None:  # pragma: no cover
        """Count it."""


@dataclass(frozen=True, slots=True)
class EndpointTable:
    """All addresses below one prefix."""

    prefix: str
    title: str
    about: str
    endpoints: tuple[Endpoint, ...]
    role: Role | None = None
    """Who may use them; None for everybody with a key."""
    _patterns: tuple[tuple[re.Pattern[str], Endpoint], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        found = tuple((_pattern(each.path), each) for each in self.endpoints)
        object.__setattr__(self, "_patterns", found)

    def allowed(self, path: str) -> tuple[str, ...] | None:
        """Return the methods of a path below the prefix; None if there is no such address."""
        methods = [each.method for pattern, each in self._patterns if pattern.fullmatch(path)]
        if not methods:
            return None
        return tuple(sorted({*methods, *(["HEAD"] if "GET" in methods else [])}))

    def match(self, method: str, path: str) -> tuple[Endpoint, dict[str, str]]:
        """Find who answers. Raises ProblemError: 404, 405."""
        for pattern, endpoint in self._patterns:
            found = pattern.fullmatch(path)
            if found is not None and endpoint.method == method:
                return endpoint, {
                    name: _decoded(value) for name, value in found.groupdict().items()
                }
        allow = self.allowed(path)
        if allow is None:
            raise ProblemError(problems.not_found("address"))
        raise ProblemError(problems.method_not_allowed(allow))

    def document(self) -> dict[str, object]:
        """Return the OpenAPI document."""
        return openapi(self.prefix, self.title, self.about, self.endpoints)


class EndpointApp:
    """Serves one table."""

    def __init__(
        self,
        table: EndpointTable,
        keys: KeyRing,
        origins: Origins,
        admit: Admit,
        max_body_bytes: int,
    ) -> None:
        self.table = table
        self._keys = keys
        self._origins = origins
        self._admit = admit
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        path = raw_path.partition(b"?")[0].decode("latin-1").removeprefix(self.table.prefix)
        endpoint, places = self.table.match(scope["method"], path)
        seen = facts(scope)
        seen.route = self.table.prefix + endpoint.path
        identity = await self._keys.identify(authorization(scope))
        if identity is None:
            raise ProblemError(problems.unauthenticated())
        seen.identified(identity.user_name)
        contact = self._keys.policy.contact
        if self.table.role is Role.ADMIN and not identity.may_administer:
            raise ProblemError(problems.role_required(Role.ADMIN, contact))
        await self._admit(identity, spared=frozenset(Per), contact=contact)
        query_text = scope["query_string"].decode("latin-1")
        query = _query(endpoint.query, query_text)
        body = await read_body(scope, receive, self._max_body_bytes)
        call = Call(
            identity=identity,
            origin=self._origins.of(scope),
            client=self._origins.client_address(scope),
            contact=contact,
            path=places,
            query_text=query_text,
            query=query,
            body=None if endpoint.body is None else _body(endpoint.body, body),
        )
        await send_answer(await endpoint.handler(call), scope, send)


def answer(value: BaseModel | Mapping[str, object], status: int = 200) -> Answer:
    """Return a JSON answer that nobody keeps."""
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    body = json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode()
    return Answer(status, (JSON, NO_STORE), body)


def done() -> Answer:
    """Return the answer that says only that it is done."""
    return Answer(204, (NO_STORE,), b"")


def _pattern(path: str) -> re.Pattern[str]:
    pieces = _PLACE.split(path)
    text = "".join(
        f"(?P<{piece}>[^/]+)" if place % 2 else re.escape(piece)
        for place, piece in enumerate(pieces)
    )
    return re.compile(text)


def _decoded(text: str) -> str:
    value = unquote_to_bytes(text).decode("utf-8", "replace")
    if _NAME.fullmatch(value) is None:
        # No id and no name looks like this.
        raise ProblemError(problems.not_found("address"))
    return value


def _query(shape: type[BaseModel], text: str) -> BaseModel:
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError:
        raise ProblemError(problems.invalid_query("?", "it cannot be read")) from None
    given: dict[str, str] = {}
    for name, value in pairs:
        if name in given:
            raise ProblemError(problems.invalid_query(name, "it is given twice"))
        given[name] = value
    try:
        return shape.model_validate_strings(given)
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in detail["loc"]) or "?"
        raise ProblemError(problems.invalid_query(name, _said(detail["msg"]))) from None


def _body(shape: type[BaseModel], body: bytes) -> BaseModel:
    try:
        document = parse_object(body)
    except InvalidJson as error:
        raise ProblemError(problems.invalid_body(str(error))) from None
    # What is sent here is kept: as a label, a name, a line of the audit.
    if (field := field_with_key(document)) is not None:
        raise ProblemError(problems.key_in_body(field))
    try:
        return shape.model_validate_json(body, strict=True)
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(str(part) for part in detail["loc"]) or "body"
        raise ProblemError(problems.input_invalid(name, _said(detail["msg"]))) from None


def _said(message: str) -> str:
    return message.removeprefix("Value error, ")
