"""`/me/v1`: a user's own use, what is left of it, and what they made. Never refused by a quota."""

from gateway.clock import Clock
from gateway.domain import problems
from gateway.domain.cursors import Cursor, decode_cursor
from gateway.domain.instants import instant_of
from gateway.flows.answer import Answer, Refused
from gateway.flows.erase_predictions import ErasePredictions
from gateway.flows.report_limits import ReportLimits, limits_record
from gateway.flows.report_usage import DEFAULT_SPAN_S, Question, ReportUsage, report_record
from gateway.flows.show_rows import ListRows, row_record
from gateway.ledger import Ledger, audit, predictions
from gateway.ledger.predictions import Filter
from gateway.ledger.usage import By
from gateway.web.endpoints import Call, Endpoint, EndpointTable, NoQuery, answer, done
from gateway.web.shapes import (
    AnyDocument,
    LimitsShape,
    PredictionPage,
    PredictionQuery,
    UsageQuery,
    UsageReport,
    axes,
)

PREFIX = "/me/v1"

_ABOUT = (
    "What a user may know about themselves. Times are UTC; costs are estimates by the gateway's "
    "price table, and null where no price is known. None of this is refused by a quota."
)


class MeApi:
    """What everybody with a key can ask about themselves."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        usage: ReportUsage,
        limits: ReportLimits,
        rows: ListRows,
        erase: ErasePredictions,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._usage = usage
        self._limits = limits
        self._rows = rows
        self._erase = erase

    def table(self) -> EndpointTable:
        """Return the addresses."""
        return EndpointTable(
            PREFIX,
            "replicate-gateway: about yourself",
            _ABOUT,
            (
                Endpoint(
                    name="usage",
                    method="GET",
                    path="/usage",
                    summary="What you used, by model unless asked otherwise, in the last 30 days",
                    handler=self._get_usage,
                    query=UsageQuery,
                    answer=UsageReport,
                ),
                Endpoint(
                    name="limits",
                    method="GET",
                    path="/limits",
                    summary="What is left of each of your quotas, and when it resets",
                    handler=self._get_limits,
                    answer=LimitsShape,
                ),
                Endpoint(
                    name="predictions",
                    method="GET",
                    path="/predictions",
                    summary="Your predictions and trainings in short, newest first",
                    handler=self._get_predictions,
                    query=PredictionQuery,
                    answer=PredictionPage,
                ),
                Endpoint(
                    name="erase_prediction",
                    method="DELETE",
                    path="/predictions/{prediction}",
                    summary="Erase what one of your predictions holds; its charges stay",
                    handler=self._delete_prediction,
                    query=NoQuery,
                    answer=None,
                    status=204,
                    errors=(404,),
                ),
                Endpoint(
                    name="openapi",
                    method="GET",
                    path="/openapi.json",
                    summary="This description",
                    handler=self._get_description,
                    answer=AnyDocument,
                ),
            ),
        )

    async def _get_description(self, _: Call) -> Answer:
        return answer(self.table().document())

    async def _get_usage(self, call: Call) -> Answer:
        query = call.asked(UsageQuery)
        now = self._clock.now()
        question = read_question(query, now, ("model",), user_id=call.identity.user_id)
        return answer(report_record(await self._usage(question)))

    async def _get_limits(self, call: Call) -> Answer:
        return answer(limits_record(await self._limits(call.identity), call.contact))

    async def _get_predictions(self, call: Call) -> Answer:
        query = call.asked(PredictionQuery)
        which = which_rows(query, self._clock.now(), user_id=call.identity.user_id)
        page = await self._rows(
            which,
            read_place(query.cursor),
            query.limit,
            f"{call.origin}{PREFIX}/predictions",
            call.query_text,
        )
        return answer(
            {"next": page.next, "results": [row_record(row, call.origin) for row in page.rows]}
        )

    async def _delete_prediction(self, call: Call) -> Answer:
        prediction_id = call.path["prediction"]
        row = await self._ledger.read(lambda conn: predictions.get(conn, prediction_id))
        # What a team shares may be read by its members, not erased.
        if row is None or row.user_id != call.identity.user_id:
            raise Refused(problems.not_found())
        await self._erase(
            [prediction_id],
            lambda conn, name: audit.add(
                conn,
                self._clock.now(),
                call.identity.user_name,
                "predictions.delete",
                name,
                source=call.client,
            ),
        )
        return done()


def read_question(
    query: UsageQuery,
    now: float,
    by: tuple[By, ...],
    *,
    user_id: str | None,
    team: str | None = None,
) -> Question:
    """Return the question that a query means. Raises Refused: 400 for a time without length."""
    try:
        return Question(
            by=by if query.by is None else axes(query.by),
            since=now - DEFAULT_SPAN_S if query.since is None else instant_of(query.since, now),
            until=now + 1 if query.until is None else instant_of(query.until, now),
            user_id=user_id,
            team=team,
            model=query.model,
        )
    except ValueError as error:
        raise Refused(problems.invalid_query("since", str(error))) from None


def which_rows(
    query: PredictionQuery, now: float, *, user_id: str | None = None, team: str | None = None
) -> Filter:
    """Return the filter that a query means."""
    return Filter(
        user_id=user_id,
        team=team,
        kind=query.kind,
        model=None if query.model is None else query.model.lower(),
        status=query.status,
        created_after=None if query.since is None else instant_of(query.since, now),
        created_before=None if query.until is None else instant_of(query.until, now),
    )


def read_place(text: str | None) -> Cursor | None:
    """Return the place that a cursor names. Raises Refused: 400 for one that is none of ours."""
    if text is None:
        return None
    try:
        return decode_cursor(text)
    except ValueError:
        raise Refused(problems.invalid_query("cursor", "it is not one of this list")) from None
