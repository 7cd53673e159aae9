"""The usage page as an ASGI application: who may see what, and what surrounds every page."""

import base64
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.types import Receive, Scope, Send

import gateway
from gateway.clock import Clock
from gateway.dashboard import words
from gateway.dashboard.keys_page import KeysPage
from gateway.dashboard.live_page import LivePage
from gateway.dashboard.predictions_page import PredictionsPage
from gateway.dashboard.session import Attempts, Sessions, drop_cookie, has_cookie, set_cookie
from gateway.dashboard.start_page import StartPage
from gateway.dashboard.statics import Statics
from gateway.dashboard.team_page import TeamPage
from gateway.dashboard.usage_page import UsagePage
from gateway.dashboard.visit import Page, Place, Redirect, Reply, Visit
from gateway.domain import problems
from gateway.domain.keys import mask
from gateway.domain.plans import Identity, Role
from gateway.domain.problems import Problem
from gateway.flows.answer import Answer, Refused
from gateway.ledger import LedgerUnavailable
from gateway.web.body import read_body
from gateway.web.identity import KeyRing
from gateway.web.origin import Origins
from gateway.web.problem_response import ProblemError
from gateway.web.request_facts import facts, header

_log = logging.getLogger(__name__)

PREFIX = "/dashboard"
_SIGN_IN = f"{PREFIX}/sign-in"
_STATIC = "/static/"
_MAX_FORM_BYTES = 64 * 1024
_SECRET_BYTES = 18
_PLACE = re.compile(r"\{(\w+)\}")
_HTML = ("content-type", "text/html; charset=utf-8")


@dataclass(frozen=True, slots=True)
class Services:
    """The pages, built by whoever assembles the gateway."""

    usage: UsagePage
    predictions: PredictionsPage
    keys: KeysPage
    start: StartPage
    team: TeamPage
    live: LivePage

    def places(self) -> Sequence[Place]:
        """Return every address for those who have signed in."""
        return (
            *self.usage.places(),
            *self.predictions.places(),
            *self.keys.places(),
            *self.start.places(),
            *self.team.places(),
            *self.live.places(),
        )


class Dashboard:
    """Serves `/dashboard` and everything below it."""

    def __init__(
        self,
        services: Services,
        sessions: Sessions,
        keys: KeyRing,
        origins: Origins,
        clock: Clock,
    ) -> None:
        self._sessions = sessions
        self._keys = keys
        self._origins = origins
        self._clock = clock
        self._attempts = Attempts(clock)
        self._statics = Statics()
        self._places = [(_pattern(place.path), place) for place in services.places()]
        self._templates = Environment(
            loader=FileSystemLoader(Path(__file__).parent / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._templates.globals.update(
            static=self._statics.address, words=words, version=gateway.__version__
        )

    async def session_identity(self, scope: Scope) -> Identity | None:
        """Return who has signed in, for other addresses that let sessions in."""
        session = await self._sessions.current(scope)
        return None if session is None else await self._keys.identify_holder(session.key_id)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path: str = scope["path"].removeprefix(PREFIX).rstrip("/")
        if path.startswith(_STATIC):
            facts(scope).route = f"{PREFIX}/static/{{file}}"
            await self._send_static(scope, path.removeprefix(_STATIC), send)
            return
        nonce = base64.b64encode(self._clock.secret(_SECRET_BYTES)).decode()
        try:
            status, headers, body = await self._answer(scope, receive, path, nonce)
        except (Refused, ProblemError) as error:
            status, headers, body = self._problem(error.problem, nonce, self._back(scope, path))
        except LedgerUnavailable as error:
            _log.warning("a page could not be made: %s", error)
            status, headers, body = self._problem(
                problems.ledger_unavailable(), nonce, self._back(scope, path)
            )
        wire = [
            (name.encode(), value.encode("latin-1"))
            for name, value in (*headers, *_security(nonce))
        ]
        wire.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": wire})
        if scope["method"] == "HEAD":
            body = b""
        await send({"type": "http.response.body", "body": body})

    async def _answer(
        self, scope: Scope, receive: Receive, path: str, nonce: str
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        form: Mapping[str, str] = {}
        if method == "POST":
            _check_same_origin(scope)
            form = _pairs(
                (await read_body(scope, receive, _MAX_FORM_BYTES)).decode("utf-8", "replace")
            )
        query = _pairs(scope["query_string"].decode("latin-1"))
        if path == "/sign-in":
            facts(scope).route = _SIGN_IN
            return await self._sign_in(scope, method, query, form, nonce)
        place, places = self._find(method, path)
        facts(scope).route = PREFIX + place.path
        session = await self._sessions.current(scope)
        identity = None
        if session is not None:
            identity = await self._keys.identify_holder(session.key_id)
        if session is None or identity is None:
            return self._to_sign_in(scope, method)
        facts(scope).identified(identity.user_name)
        if place.admin and not identity.may_administer:
            raise ProblemError(problems.role_required(Role.ADMIN, self._keys.policy.contact))
        if method == "POST" and not self._sessions.form_is_ours(session, form.get("token", "")):
            raise ProblemError(_not_ours())
        if path == "/sign-out":
            await self._sessions.end(session)
            return 303, [("location", _SIGN_IN), drop_cookie(secure=self._secure(scope))], b""
        visit = Visit(
            identity=identity,
            session=session,
            origin=self._origins.of(scope),
            own_origins=self._origins.own_origins(scope),
            client=self._origins.client_address(scope),
            policy=self._keys.policy,
            now=self._clock.now(),
            path=places,
            query=query,
            form=form,
        )
        reply = await place.handler(visit)
        status, headers, body = self._written(reply, visit, path, nonce)
        if (renewed := self._sessions.renewed(session)) is not None:
            headers.append(set_cookie(self._sessions.seal(renewed), secure=self._secure(scope)))
        return status, headers, body

    def _find(self, method: str, path: str) -> tuple[Place, dict[str, str]]:
        allow = set()
        for pattern, place in self._places:
            found = pattern.fullmatch(path)
            if found is None:
                continue
            if place.method == method:
                return place, {name: unquote(value) for name, value in found.groupdict().items()}
            allow.add(place.method)
        if path == "/sign-out":
            if method == "POST":
                return Place("POST", "/sign-out", _nowhere), {}
            allow.add("POST")
        if allow:
            raise ProblemError(problems.method_not_allowed(tuple(sorted(allow))))
        raise ProblemError(problems.not_found("page"))

    def _back(self, scope: Scope, path: str) -> str | None:
        """Return the nearest page at or above an address that could not be answered, if any."""
        if scope["method"] in ("GET", "HEAD") and not scope["query_string"]:
            path = path.rpartition("/")[0]
        while path:
            for pattern, place in self._places:
                if place.method == "GET" and pattern.fullmatch(path):
                    return PREFIX + quote(path)
            path = path.rpartition("/")[0]
        return None

    def _written(
        self, reply: Reply, visit: Visit, path: str, nonce: str
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        match reply:
            case Redirect(to, headers):
                return 303, [("location", to), *headers], b""
            case Answer():
                return reply.status, list(reply.headers), reply.body
            case Page(template, values, status):
                body = self._render(
                    template,
                    {
                        "visit": visit,
                        "me": visit.identity,
                        "contact": visit.policy.contact,
                        "now": visit.now,
                        "token": self._sessions.form_token(visit.session),
                        "path": PREFIX + path,
                        **values,
                    },
                    nonce,
                )
                return status, [_HTML, ("cache-control", "no-store")], body

    def _render(self, template: str, values: Mapping[str, object], nonce: str) -> bytes:
        return self._templates.get_template(template).render(nonce=nonce, **values).encode()

    def _problem(
        self, problem: Problem, nonce: str, back: str | None
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        forbidden = problem.status == 403
        body = self._render(
            "error.html", {"problem": problem, "back": None if forbidden else back}, nonce
        )
        wait = [pair for pair in problem.headers if pair[0].lower() in ("retry-after", "allow")]
        return problem.status, [_HTML, ("cache-control", "no-store"), *wait], body

    async def _sign_in(
        self,
        scope: Scope,
        method: str,
        query: Mapping[str, str],
        form: Mapping[str, str],
        nonce: str,
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        following = _inside(form.get("next") or query.get("next") or "")
        values: dict[str, object] = {
            "next": following,
            "fault": None,
            "ended": method == "GET" and query.get("ended") == "yes",
            "contact": self._keys.policy.contact,
        }
        status = 200
        extra: list[tuple[str, str]] = []
        if method == "POST":
            address = self._origins.client_address(scope)
            wait = self._attempts.wait_s(address)
            key = form.get("key", "").strip()
            if wait:
                status, extra = 429, [("retry-after", str(wait))]
                values["fault"] = f"Too many attempts. Try again in {wait} s."
            elif (identity := await self._keys.identify(f"Bearer {key}")) is not None:
                facts(scope).identified(identity.user_name)
                sealed = self._sessions.seal(self._sessions.begin(identity.key_id))
                cookie = set_cookie(sealed, secure=self._secure(scope))
                return 303, [("location", following), cookie], b""
            else:
                self._attempts.failed(address)
                status = 401
                values["fault"] = (
                    "This key does not work: it is unknown, expired or revoked. "
                    "Check that all of it was pasted; it begins with hk-."
                )
        elif method != "GET":
            raise ProblemError(problems.method_not_allowed(("GET", "HEAD", "POST")))
        body = self._render("sign_in.html", values, nonce)
        return status, [_HTML, ("cache-control", "no-store"), *extra], body

    def _to_sign_in(self, scope: Scope, method: str) -> tuple[int, list[tuple[str, str]], bytes]:
        wanted = scope["path"] if method == "GET" else PREFIX
        query = scope["query_string"].decode("latin-1") if method == "GET" else ""
        following = quote(f"{wanted}?{query}" if query else wanted, safe="")
        had_one = has_cookie(scope)
        ended = "&ended=yes" if had_one else ""
        headers = [("location", f"{_SIGN_IN}?next={following}{ended}")]
        if had_one:
            headers.append(drop_cookie(secure=self._secure(scope)))
        return 303, headers, b""

    def _secure(self, scope: Scope) -> bool:
        return self._origins.of(scope).startswith("https:")

    async def _send_static(self, scope: Scope, name: str, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            raise ProblemError(problems.method_not_allowed(("GET", "HEAD")))
        found = self._statics.find(name)
        if found is None:
            raise ProblemError(problems.not_found("file"))
        headers = [
            (b"content-type", found.content_type.encode()),
            (b"cache-control", b"public, max-age=31536000, immutable"),
            (b"vary", b"accept-encoding"),
        ]
        body = found.plain
        if "gzip" in (header(scope, b"accept-encoding") or ""):
            body = found.compressed
            headers.append((b"content-encoding", b"gzip"))
        headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if scope["method"] == "HEAD":
            body = b""
        await send({"type": "http.response.body", "body": body})


async def _nowhere(_: Visit) -> Reply:
    raise ProblemError(problems.not_found("page"))


def _pattern(path: str) -> re.Pattern[str]:
    pieces = _PLACE.split(path)
    text = "".join(
        f"(?P<{piece}>[^/]+)" if place % 2 else re.escape(piece)
        for place, piece in enumerate(pieces)
    )
    return re.compile(text)


def _pairs(text: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=100))
    except ValueError:
        return {}


def _inside(path: str) -> str:
    """Return an address of these pages: never one that leads elsewhere."""
    plain = path.isprintable() and "\\" not in path and path.isascii()
    if plain and (path == PREFIX or path.startswith((f"{PREFIX}/", f"{PREFIX}?"))):
        return mask(path)
    return PREFIX


def _check_same_origin(scope: Scope) -> None:
    """Refuse a form that another site sends. Raises ProblemError: 403."""
    site = header(scope, b"sec-fetch-site")
    origin = header(scope, b"origin")
    if site not in (None, "same-origin"):
        raise ProblemError(_not_ours())
    # Behind a proxy the scheme may differ; the host is what tells sites apart.
    if origin is not None and urlsplit(origin).netloc != (header(scope, b"host") or ""):
        raise ProblemError(_not_ours())


def _not_ours() -> Problem:
    return Problem(
        403,
        "Form not accepted",
        "The form did not come from a page of this session. Nothing was changed. "
        "Load the page again and repeat.",
    )


def _security(nonce: str) -> tuple[tuple[str, str], ...]:
    """Return what every page says about itself.

    Scripts and styles run by nonce only: 'self' would let in what the mirror serves.
    """
    policy = (
        "default-src 'none'",
        f"script-src 'nonce-{nonce}'",
        f"style-src 'nonce-{nonce}'",
        "img-src 'self' data:",
        "media-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
    return (
        ("content-security-policy", "; ".join(policy)),
        ("referrer-policy", "same-origin"),
        ("x-frame-options", "DENY"),
        ("cross-origin-opener-policy", "same-origin"),
        ("permissions-policy", "camera=(), microphone=(), geolocation=()"),
    )
