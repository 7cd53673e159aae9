"""My predictions: a gallery of what was made, and one of them in full beside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlencode

from gateway.dashboard.items import Card, Detail, card_of, detail_of
from gateway.dashboard.start_page import first_lines
from gateway.dashboard.visit import Page, Place, Redirect, Reply, Visit
from gateway.domain import problems
from gateway.domain.cursors import Cursor, decode_cursor, encode_cursor
from gateway.domain.urls import UrlMap
from gateway.flows.answer import Answer, Refused
from gateway.flows.erase_predictions import ErasePredictions
from gateway.flows.present import Presenter, may_read
from gateway.flows.read_prediction import ReadPrediction, ReadRequest
from gateway.flows.report_usage import Question, ReportUsage
from gateway.ledger import Connection, Ledger, audit, predictions
from gateway.ledger.predictions import Filter, Row

PAGE = 24
STATUSES = ("running", "succeeded", "failed", "canceled", "aborted")
SPANS = {"1": "last day", "7": "last 7 days", "30": "last 30 days"}
_DAY_S = 86_400
_MODELS_OF_DAYS = 90
_FILTERS = ("status", "model", "days", "whose")


@dataclass(frozen=True, slots=True)
class Links:
    """Addresses that keep the filters: without a selection, to a card, to other pages."""

    here: str
    older: str | None
    newer: str | None
    card: str
    """What a prediction's id is appended to."""


class PredictionsPage:
    """Answers `/dashboard/predictions`."""

    def __init__(
        self,
        ledger: Ledger,
        urls: UrlMap,
        presenter: Presenter,
        read: ReadPrediction,
        usage: ReportUsage,
        erase: ErasePredictions,
    ) -> None:
        self._ledger = ledger
        self._urls = urls
        self._presenter = presenter
        self._read = read
        self._usage = usage
        self._erase = erase

    def places(self) -> tuple[Place, ...]:
        """Return the addresses."""
        return (
            Place("GET", "/predictions", self.show),
            Place("GET", "/predictions/cards", self.some),
            Place("GET", "/predictions/{prediction}.json", self.document),
            Place("POST", "/predictions/{prediction}/erase", self.erase),
        )

    async def show(self, visit: Visit) -> Reply:
        """Show the gallery, and the selected prediction."""
        query = {name: visit.query[name] for name in _FILTERS if visit.query.get(name)}
        cursor = _cursor(visit.query.get("cursor"))
        which = _which(query, visit)
        selected = visit.query.get("id")
        me = visit.identity.user_id
        found, one, running = await self._ledger.read(
            partial(_found, which=which, cursor=cursor, selected=selected, user_id=me)
        )
        cards, links = self._cards(found, cursor, query, visit)
        detail = None
        if selected:
            if one is None or not may_read(visit.caller, one[0].user_id, one[0].team):
                raise Refused(problems.not_found())
            detail = self._detail(*one, visit)
        report = await self._usage(
            Question(
                by=("model",),
                since=visit.now // _DAY_S * _DAY_S - _MODELS_OF_DAYS * _DAY_S,
                until=visit.now + 1,
                user_id=which.user_id,
                team=which.team,
            )
        )
        models = sorted({line.model for line in report.lines if line.model})
        wanted = query.get("model")
        if wanted and wanted not in models:
            models = sorted([*models, wanted])
        return Page(
            "predictions.html",
            {
                "cards": cards,
                "links": links,
                "detail": detail,
                "query": query,
                "statuses": STATUSES,
                "spans": SPANS,
                "models": models,
                "lines": first_lines(visit.origin),
                "first_page": cursor is None,
                "running": running,
            },
        )

    async def some(self, visit: Visit) -> Reply:
        """Show the cards of `ids`, for pages whose list has moved on without them."""
        wanted = [one for one in visit.query.get("ids", "").split(",") if one][: PAGE + 1]
        found = await self._ledger.read(
            lambda conn: predictions.get_many_with_documents(conn, wanted)
        )
        user_id = visit.identity.user_id
        cards = [
            card_of(row, body, self._urls, visit.now, user_id)
            for row, body in found.values()
            if may_read(visit.caller, row.user_id, row.team)
        ]
        return Page("cards.html", {"cards": cards})

    async def document(self, visit: Visit) -> Reply:
        """Answer with the document as the API does."""
        answer = await self._read(ReadRequest(visit.caller, visit.path["prediction"]))
        kept = tuple(pair for pair in answer.headers if pair[0] == "content-type")
        return Answer(answer.status, (*kept, ("cache-control", "no-store")), answer.body)

    async def erase(self, visit: Visit) -> Reply:
        """Erase what one of the visitor's own predictions holds."""
        prediction_id = visit.path["prediction"]
        row = await self._ledger.read(lambda conn: predictions.get(conn, prediction_id))
        if row is None or row.user_id != visit.identity.user_id:
            raise Refused(problems.not_found())
        who, source = visit.identity.user_name, visit.client
        await self._erase(
            [prediction_id],
            lambda conn, name: audit.add(
                conn, visit.now, who, "predictions.delete", name, source=source
            ),
        )
        return Redirect("/dashboard/predictions")

    def _cards(
        self,
        found: list[tuple[Row, bytes]],
        cursor: Cursor | None,
        query: Mapping[str, str],
        visit: Visit,
    ) -> tuple[list[Card], Links]:
        backwards = cursor is not None and cursor.backwards
        more = len(found) > PAGE
        page = found[-PAGE:] if backwards else found[:PAGE]
        user_id = visit.identity.user_id
        cards = [card_of(row, body, self._urls, visit.now, user_id) for row, body in page]
        older = newer = None
        if page:
            first, last = page[0][0], page[-1][0]
            if more or backwards:
                older = _address(query, cursor=encode_cursor(Cursor(last.created_at, last.id)))
            if (more and backwards) or (cursor is not None and not backwards):
                place = Cursor(first.created_at, first.id, backwards=True)
                newer = _address(query, cursor=encode_cursor(place))
        given = visit.query.get("cursor")
        here = _address(query, cursor=given) if given else _address(query)
        return cards, Links(here, older, newer, f"{here}{'&' if '?' in here else '?'}id=")

    def _detail(self, row: Row, body: bytes, visit: Visit) -> Detail:
        shown = self._presenter.document(body, self._presenter.view(row, visit.caller))
        user_id = visit.identity.user_id
        return detail_of(row, body, shown, self._urls, visit.now, user_id, visit.origin)


def _found(
    conn: Connection, which: Filter, cursor: Cursor | None, selected: str | None, user_id: str
) -> tuple[list[tuple[Row, bytes]], tuple[Row, bytes] | None, int]:
    """Find a page, the selected one, and how many the user has running, shown here or not."""
    place = None if cursor is None else predictions.Cursor(cursor.created_at, cursor.id)
    backwards = cursor is not None and cursor.backwards
    return (
        predictions.page(
            conn,
            which,
            before=None if backwards else place,
            after=place if backwards else None,
            limit=PAGE + 1,
        ),
        predictions.get_with_document(conn, selected) if selected else None,
        predictions.running_count(conn, user_id),
    )


def _which(query: Mapping[str, str], visit: Visit) -> Filter:
    me = visit.identity
    status = query.get("status")
    days = query.get("days")
    team = me.team if query.get("whose") == "team" and me.share else None
    return Filter(
        user_id=me.user_id if team is None else None,
        team=team,
        model=query["model"].lower() if "model" in query else None,
        status=status if status in STATUSES and status != "running" else None,
        running=True if status == "running" else None,
        created_after=visit.now - int(days) * _DAY_S if days in SPANS else None,
    )


def _cursor(text: str | None) -> Cursor | None:
    if not text:
        return None
    try:
        return decode_cursor(text)
    except ValueError:
        raise Refused(problems.invalid_query("cursor", "it is not one of this list")) from None


def _address(query: Mapping[str, str], **more: str) -> str:
    pairs = {**query, **more}
    return f"/dashboard/predictions?{urlencode(pairs)}" if pairs else "/dashboard/predictions"
