"""Every error that the gateway itself answers with, in Replicate's own shape.

One function per error, so that a text is written once and ``docs/errors.md`` lists all of them.
``detail`` is always a string, because one popular client reads nothing else. Nothing secret gets
in: the functions take names, numbers and descriptions, never keys or addresses with signatures;
what a caller chose is shortened, stripped of control characters and masked.

Two headers steer clients. ``Retry-After`` is a whole number of seconds, and only where waiting is
short: the Python client sleeps it out however long it is. ``x-should-retry: false`` stands wherever
a repetition cannot help or could be paid twice.
"""

import json
import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.domain.admission import QuotaRefused, Refusal
from gateway.domain.instants import iso
from gateway.domain.keys import mask
from gateway.domain.plans import Role
from gateway.domain.quota import Standing, from_units, instant, ratelimit_headers

CONTENT_TYPE = "application/problem+json"

_NO_RETRY = (("x-should-retry", "false"),)
_LONGEST_TEXT = 300


@dataclass(frozen=True, slots=True)
class Problem:
    """One error answer: a status, what is in the body, and the headers that go with it."""

    status: int
    title: str
    detail: str
    type: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    extra: Mapping[str, object] = field(default_factory=dict)

    def body(self) -> bytes:
        """Return the JSON body, of the media type :data:`CONTENT_TYPE`."""
        members: dict[str, object] = {"title": self.title, "detail": self.detail}
        members["status"] = self.status
        if self.type is not None:
            members["type"] = self.type
        return json.dumps({**members, **self.extra}, ensure_ascii=False).encode()


def printable(text: str, longest: int = _LONGEST_TEXT) -> str:
    """Return somebody else's text fit for a message: one line, bounded, nothing invisible."""
    # Cut first: what follows costs time for every character.
    kept = "".join(
        char if unicodedata.category(char)[0] != "C" else " " for char in text[: longest + 1]
    )
    return mask(kept if len(kept) <= longest else f"{kept[:longest]}…")


def _final(status: int, title: str, detail: str, **extra: object) -> Problem:
    """An answer that will be the same next time."""
    return Problem(status, title, detail, headers=_NO_RETRY, extra=extra)


def _later(
    status: int,
    title: str,
    detail: str,
    retry_after: float,
    headers: tuple[tuple[str, str], ...] = (),
) -> Problem:
    """An answer that may be another one after some seconds."""
    seconds = max(1, math.ceil(retry_after))
    return Problem(
        status,
        title,
        detail,
        headers=(("Retry-After", str(seconds)), *headers),
        extra={"retry_after": seconds},
    )


def _ask(contact: str) -> str:
    return f" Questions: {contact}." if contact else ""


# What is wrong with the request itself.


def invalid_body(detail: str) -> Problem:
    """400: the body is not the JSON object that it should be; `detail` says in what way."""
    return _final(400, "Invalid request body", printable(detail))


def invalid_query(parameter: str, fault: str) -> Problem:
    """400: a query parameter makes no sense."""
    return _final(400, "Invalid query", f"`{printable(parameter)}`: {printable(fault)}")


def unauthenticated() -> Problem:
    """401: no key, or one that is unknown, expired or revoked: which, is nobody's business."""
    problem = _final(401, "Unauthenticated", "You did not pass a valid authentication token")
    return Problem(
        problem.status,
        problem.title,
        problem.detail,
        headers=(*problem.headers, ("WWW-Authenticate", "Bearer")),
    )


def not_found(what: str = "prediction") -> Problem:
    """404: unknown, or somebody else's."""
    return _final(404, "Not found", f"This {printable(what)} does not exist, or it is not yours")


def method_not_allowed(allow: tuple[str, ...]) -> Problem:
    """405: the path is known, the method is not one of its own."""
    methods = ", ".join(allow)
    problem = _final(405, "Method not allowed", f"This address understands {methods}")
    return Problem(
        problem.status, problem.title, problem.detail, headers=(("Allow", methods), *_NO_RETRY)
    )


def idempotency_conflict() -> Problem:
    """409: an ``Idempotency-Key`` came back with another body."""
    return _final(
        409,
        "Idempotency key reused",
        "This Idempotency-Key was used with another request in the last 24 hours. "
        "Use a new key for a new prediction",
    )


def already_exists(what: str) -> Problem:
    """409: there is one of this name already."""
    return _final(409, "Already exists", f"There is {printable(what)} already")


def gone(what: str = "file") -> Problem:
    """410: it was here, and retention or its owner removed it."""
    return _final(410, "Gone", f"This {printable(what)} has been removed")


def too_large(limit: int) -> Problem:
    """413: more bytes than the limit."""
    return _final(413, "Too large", f"The body must not exceed {limit:,} bytes", limit=limit)


def range_not_satisfiable(size: int) -> Problem:
    """416: the file has no bytes in the range asked for."""
    problem = _final(416, "Range not satisfiable", f"This file has {size:,} bytes")
    return Problem(
        problem.status,
        problem.title,
        problem.detail,
        headers=(("Content-Range", f"bytes */{size}"), *_NO_RETRY),
    )


def input_invalid(field: str, description: str) -> Problem:
    """422: one field of the input cannot be used; `field` is its path, ``input.images[0]``."""
    name, fault = printable(field), printable(description)
    return _final(
        422,
        "Input validation failed",
        f"- {name}: {fault}\n",
        invalid_fields=[{"type": "value_error", "field": name, "description": fault}],
    )


def key_in_body(field: str) -> Problem:
    """422: a key of this gateway stands in the body, where others would get it."""
    return input_invalid(
        field or "body",
        "a key of this gateway stands here. It opens nothing but this gateway, and would be given "
        "away: send it in the Authorization header only",
    )


def invalid_version() -> Problem:
    """422: the ``version`` is neither an id nor ``owner/name`` nor ``owner/name:id``."""
    return _final(
        422,
        "Invalid version or not permitted",
        "The version must be a version's id, owner/name or owner/name:id",
    )


def webhook_not_allowed(reason: str = "it must be an https: URL of a public address") -> Problem:
    """422: webhooks are not sent to such an address."""
    return input_invalid("webhook", f"this webhook URL is not allowed: {reason}")


# What the caller may not do.


def model_not_allowed(model: str, contact: str) -> Problem:
    """403: the plan does not allow this model or deployment."""
    return _final(
        403,
        "Model not allowed",
        f"Your plan does not allow {printable(model)}.{_ask(contact)}",
    )


def unknown_version(contact: str) -> Problem:
    """403: whose version this is cannot be told, and the plan restricts models."""
    return _final(
        403,
        "Unknown version",
        "Your plan restricts models, and it is not known which model this version belongs to: "
        f"call models.versions.get(owner, name, id) once, then repeat.{_ask(contact)}",
    )


def trainings_not_allowed(contact: str) -> Problem:
    """403: the plan has no trainings."""
    return _final(403, "Trainings not allowed", f"Your plan has no trainings.{_ask(contact)}")


def role_required(role: Role, contact: str) -> Problem:
    """403: the operation is for another role."""
    return _final(
        403, "Role required", f'This operation needs the role "{role.value}".{_ask(contact)}'
    )


# What is used up, and how long.


def quota_used_up(standing: Standing, contact: str, needed: int = 0) -> Problem:
    """402: a quota of an hour or longer is used up, or too little is left for this request."""
    return _final(
        402,
        "Quota used up",
        f"{_account(standing, needed)} It resets at {instant(standing.window.end)}.{_ask(contact)}",
        quota=_numbers(standing),
    )


def rate_limited(standing: Standing, now: float, needed: int = 0) -> Problem:
    """429: a quota per second or minute is used up until the window ends."""
    headers = ratelimit_headers(standing, now)
    return _later(
        429,
        "Too many requests",
        f"{_account(standing, needed)} It resets at {instant(standing.window.end)}.",
        standing.window.end - now,
        headers,
    )


def too_many_running(running: int, limit: int) -> Problem:
    """429: as many predictions are running as the plan allows at a time."""
    are = "is" if running == 1 else "are"
    return _later(
        429,
        "Too many running predictions",
        f"{running:,} of your predictions {are} running, and your plan allows {limit:,} at a time. "
        "Wait for one to finish, or cancel one.",
        1,
        _used_up(limit, 1),
    )


def queue_full(retry_after: float, limit: int) -> Problem:
    """429: the account's allowance of creates is used up, and the line too long.

    `retry_after` is the honest number of seconds until a create would get its turn.
    """
    seconds = max(1, math.ceil(retry_after))
    return _later(
        429,
        "Too many requests",
        "The Replicate account is at its rate limit, and too many predictions are waiting in line. "
        f"Try again in {seconds} s.",
        seconds,
        _used_up(limit, seconds),
    )


def refusal(refused: Refusal, contact: str, now: float) -> Problem:
    """Return the answer to a request that admission refused."""
    if isinstance(refused, QuotaRefused):
        if refused.status == 402:
            return quota_used_up(refused.standing, contact, refused.needed)
        return rate_limited(refused.standing, now, refused.needed)
    return too_many_running(refused.running, refused.limit)


# What is wrong behind the gateway, or with it.


def upstream_unreachable() -> Problem:
    """502: no connection to Replicate; nothing was sent."""
    return Problem(502, "Upstream unreachable", "Replicate cannot be reached. Nothing was sent.")


def upstream_account_unknown() -> Problem:
    """502: Replicate did not say whose account it is, which is asked first; nothing was sent."""
    return Problem(
        502,
        "Upstream account unknown",
        "Replicate did not say whose account this gateway uses. Nothing was sent: the request can "
        "be repeated.",
    )


def upstream_broke_off(create: bool) -> Problem:
    """502: the connection broke after sending. The fate of a create is found out later."""
    return _of_fate(502, "Upstream broke off", "The connection to Replicate broke", create)


def upstream_timed_out(create: bool) -> Problem:
    """504: Replicate did not answer in time."""
    return _of_fate(504, "Upstream timed out", "Replicate did not answer in time", create)


def upstream_garbage(create: bool) -> Problem:
    """502: Replicate's answer is not JSON where JSON is due."""
    return _of_fate(502, "Upstream answer unreadable", "Replicate's answer is not JSON", create)


def upstream_token_refused() -> Problem:
    """502: Replicate refuses the gateway's own token; the caller's key is not to blame."""
    return _final(
        502,
        "Upstream token refused",
        "Replicate refuses the token of this gateway. Your own key is not to blame: "
        "tell whoever runs the gateway.",
    )


def create_in_doubt(retry_after: float) -> Problem:
    """503: this repeats a create whose fate is still unknown. A second one is never sent."""
    return _later(
        503,
        "Earlier attempt undecided",
        "An earlier attempt at this prediction is still undecided. "
        "Repeat the request to get its outcome: no second prediction is made.",
        retry_after,
    )


def shutting_down(retry_after: float = 1) -> Problem:
    """503: the gateway is being stopped or restarted."""
    return _later(503, "Shutting down", "The gateway is restarting. Nothing was sent.", retry_after)


def overloaded(retry_after: float = 1) -> Problem:
    """503: more requests than the gateway can hold."""
    return _later(503, "Overloaded", "The gateway is overloaded. Nothing was sent.", retry_after)


def ledger_unavailable(retry_after: float = 1) -> Problem:
    """503: the gateway's database does not answer, so nobody can be believed or charged."""
    return _later(
        503, "Ledger unavailable", "The gateway's database is not available.", retry_after
    )


def internal_error() -> Problem:
    """500: a fault of the gateway, described in its log under the answer's ``X-Request-Id``."""
    return _final(
        500,
        "Internal error",
        "The gateway failed to answer. Name the X-Request-Id of this answer when you report it.",
    )


def _of_fate(status: int, title: str, cause: str, create: bool) -> Problem:
    if not create:
        return Problem(status, title, f"{cause}.")
    return _final(
        status,
        title,
        f"{cause}. Whether your prediction was created is being found out: look for it in "
        "predictions.list() before you repeat the request.",
    )


def _used_up(limit: int, seconds: int) -> tuple[tuple[str, str], ...]:
    return (
        ("ratelimit-limit", str(limit)),
        ("ratelimit-remaining", "0"),
        ("ratelimit-reset", str(seconds)),
    )


def _account(standing: Standing, needed: int) -> str:
    metric = standing.rule.metric
    whose = "Your team's" if standing.shared else "Your"
    state = "has too little left" if standing.remaining else "is used up"
    text = f"{whose} quota of {standing.describe()} {state}: {from_units(metric, standing.used)}"
    text += " used"
    if standing.reserved:
        text += f", {from_units(metric, standing.reserved)} reserved for running predictions"
    if needed and standing.remaining:
        text += f", and this one is expected to take {from_units(metric, needed)}"
    return f"{text}."


def _numbers(standing: Standing) -> dict[str, object]:
    return {
        "metric": standing.rule.metric.value,
        "per": standing.rule.per.value,
        "models": list(standing.rule.models),
        "scope": "team" if standing.shared else "user",
        "resets_at": iso(standing.window.end),
    }
