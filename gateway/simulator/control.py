"""The control origin: log, faults, dials and state over HTTP, for tests in another process."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import orjson

from gateway.simulator.creation import Refused
from gateway.simulator.faults import Fault
from gateway.simulator.wire import (
    BodyNotJson,
    Json,
    JsonObject,
    Receive,
    Reply,
    Request,
    Scope,
    Send,
    json_reply,
    problem,
    send_reply,
)

if TYPE_CHECKING:
    from gateway.simulator.simulation import Simulator

_MAX_BODY_BYTES = 8 * 1024 * 1024


class Control:
    """An ASGI application that steers a simulator.

    GET /health · GET, DELETE /log (filters as query: origin, method, path, path_prefix, operation,
    status, internal) · GET /log/count · GET, PUT, POST, DELETE /faults · GET, PATCH /config ·
    GET, POST /predictions · GET /predictions/{id} · POST /predictions/{id}/{expire|forget} ·
    GET /usage · POST /advance {"seconds"} · GET /origins · POST /origins/{name}/{stop|start}
    """

    def __init__(self, simulator: "Simulator") -> None:
        self._simulator = simulator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        await request.read(_MAX_BODY_BYTES)
        try:
            reply = await self._answer(request)
        except Refused as refused:
            reply = refused.reply
        except (BodyNotJson, TypeError, ValueError, KeyError) as error:
            reply = problem(422, f"{type(error).__name__}: {error}")
        await send_reply(reply, send, head=request.method == "HEAD")

    async def _answer(self, request: Request) -> Reply:
        parts = request.path.strip("/").split("/")
        match (request.method, *parts):
            case ("GET", "health"):
                return json_reply(self._simulator.addresses())
            case (_, "log", *_):
                return self._log(request, parts)
            case (_, "faults"):
                return self._faults(request)
            case (_, "config"):
                return self._config(request)
            case (_, "predictions", *rest):
                return self._predictions(request, rest)
            case ("GET", "usage"):
                usage: list[Json] = [row.as_json() for row in self._simulator.usage()]
                return json_reply(usage)
            case ("POST", "advance"):
                seconds = request.json_object()["seconds"]
                self._simulator.advance(float(str(seconds)))
                return json_reply({"now": self._simulator.now()})
            case (_, "origins", *_):
                return await self._origins(request, parts)
            case _:
                return problem(404, "no such control")

    def _predictions(self, request: Request, rest: list[str]) -> Reply:
        match (request.method, *rest):
            case ("GET",):
                shown: list[Json] = list(self._simulator.documents())
                return json_reply(shown)
            case ("POST",):
                body = request.json_object()
                given = body.get("input")
                made = self._simulator.create(
                    str(body["version"]),
                    dict(given) if isinstance(given, dict) else {},
                    str(body.get("source", "web")),
                )
                return json_reply({"id": made}, 201)
            case ("GET", wanted):
                document = self._simulator.prediction(wanted)
                return problem(404, "unknown") if document is None else json_reply(document)
            case ("POST", wanted, "expire"):
                return _done(self._simulator.expire(wanted))
            case ("POST", wanted, "forget"):
                return _done(self._simulator.forget(wanted))
            case _:
                return problem(404, "no such control")

    def _log(self, request: Request, parts: list[str]) -> Reply:
        log = self._simulator.log
        if request.method == "DELETE":
            log.clear()
            return Reply(204)
        query = request.query
        internal: Mapping[str, bool | None] = {"true": True, "any": None}
        found = log.entries(
            origin=query.get("origin"),
            method=query.get("method"),
            path=query.get("path"),
            path_prefix=query.get("path_prefix"),
            operation=query.get("operation"),
            status=int(query["status"]) if "status" in query else None,
            internal=internal.get(query.get("internal", ""), False),
        )
        if parts[1:] == ["count"]:
            return json_reply({"count": len(found)})
        return json_reply([entry.as_json() for entry in found])

    def _faults(self, request: Request) -> Reply:
        faults = self._simulator.faults
        if request.method == "DELETE":
            faults.clear()
        elif request.method == "PUT":
            wanted = orjson.loads(request.body)
            faults.replace(Fault.from_json(item) for item in wanted)
        elif request.method == "POST":
            faults.add(Fault.from_json(request.json_object()))
        armed: list[Json] = [fault.as_json() for fault in faults.armed()]
        return json_reply({"armed": armed, "hits": faults.hits()})

    def _config(self, request: Request) -> Reply:
        if request.method in ("PATCH", "PUT", "POST"):
            self._simulator.configure(**request.json_object())
        return json_reply(self._simulator.config_json())

    async def _origins(self, request: Request, parts: list[str]) -> Reply:
        if request.method == "POST" and len(parts) == 3 and parts[2] in ("stop", "start"):
            act = (
                self._simulator.stop_origin if parts[2] == "stop" else self._simulator.start_origin
            )
            await act(parts[1])
        running: JsonObject = dict(self._simulator.running())
        return json_reply(running)


def _done(known: bool) -> Reply:
    return Reply(204) if known else problem(404, "unknown")
