"""Usage, predictions, creates in doubt, and the audit log."""

from dataclasses import dataclass, replace

from gateway.clock import Clock
from gateway.domain import problems
from gateway.domain.instants import iso
from gateway.domain.json_text import set_members
from gateway.flows.administer import Administer
from gateway.flows.answer import Answer, Refused
from gateway.flows.erase_predictions import ErasePredictions
from gateway.flows.report_usage import ReportUsage, report_record
from gateway.flows.show_rows import ListRows, orphan_record, row_record
from gateway.ledger import Connection, Ledger, audit, creates, files, predictions
from gateway.ledger.files import FileRow
from gateway.ledger.predictions import Row
from gateway.web.admin import shapes_of_records as shapes
from gateway.web.admin.paging import PageQuery, cut, link
from gateway.web.admin.place import PREFIX, actor_of
from gateway.web.endpoints import Call, Endpoint, answer, done
from gateway.web.me_api import read_place, read_question, which_rows
from gateway.web.shapes import PredictionPage, UsageReport


@dataclass(frozen=True, slots=True)
class Records:
    """Answers what was made and what was done."""

    ledger: Ledger
    clock: Clock
    administer: Administer
    usage: ReportUsage
    rows: ListRows
    erase: ErasePredictions

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return the addresses."""
        return (
            Endpoint(
                name="usage",
                method="GET",
                path="/usage",
                summary="Who used what, by user unless asked otherwise, in the last 30 days",
                handler=self._usage,
                query=shapes.AdminUsageQuery,
                answer=UsageReport,
                errors=(403, 404),
                tag="usage",
            ),
            Endpoint(
                name="list_predictions",
                method="GET",
                path="/predictions",
                summary="Predictions and trainings in short, newest first",
                handler=self._list,
                query=shapes.AdminPredictionQuery,
                answer=PredictionPage,
                errors=(403, 404),
                tag="predictions",
            ),
            Endpoint(
                name="show_prediction",
                method="GET",
                path="/predictions/{prediction}",
                summary="One prediction with its files and its document",
                handler=self._show,
                answer=shapes.PredictionDetail,
                errors=(403, 404),
                tag="predictions",
            ),
            Endpoint(
                name="erase_prediction",
                method="DELETE",
                path="/predictions/{prediction}",
                summary="Erase what a prediction holds; charges and totals stay",
                handler=self._erase,
                answer=None,
                status=204,
                errors=(403, 404),
                tag="predictions",
            ),
            Endpoint(
                name="list_orphans",
                method="GET",
                path="/orphans",
                summary="Creates whose answer was lost, oldest first",
                handler=self._orphans,
                query=PageQuery,
                answer=shapes.OrphanPage,
                tag="predictions",
            ),
            Endpoint(
                name="assign_orphan",
                method="POST",
                path="/orphans/{create}",
                summary="Say which prediction a create in doubt became",
                handler=self._assign,
                body=shapes.Assignment,
                answer=None,
                status=204,
                errors=(403, 404, 409, 413, 422),
                tag="predictions",
            ),
            Endpoint(
                name="release_orphan",
                method="DELETE",
                path="/orphans/{create}",
                summary="Say that a create in doubt became nothing, and give back what it reserved",
                handler=self._release,
                answer=None,
                status=204,
                errors=(403, 404),
                tag="predictions",
            ),
            Endpoint(
                name="audit",
                method="GET",
                path="/audit",
                summary="Who changed what, when, and from where; newest first",
                handler=self._audit,
                query=PageQuery,
                answer=shapes.AuditPage,
                tag="audit",
            ),
        )

    async def _usage(self, call: Call) -> Answer:
        query = call.asked(shapes.AdminUsageQuery)
        now = self.clock.now()
        owner = None if query.user is None else await self.administer.owner(query.user)
        question = read_question(query, now, ("user",), user_id=owner, team=query.team)
        return answer(report_record(await self.usage(question)))

    async def _list(self, call: Call) -> Answer:
        query = call.asked(shapes.AdminPredictionQuery)
        owner = None if query.user is None else await self.administer.owner(query.user)
        page = await self.rows(
            which_rows(query, self.clock.now(), user_id=owner, team=query.team),
            read_place(query.cursor),
            query.limit,
            f"{call.origin}{PREFIX}/predictions",
            call.query_text,
        )
        return answer(
            {"next": page.next, "results": [row_record(row, call.origin) for row in page.rows]}
        )

    async def _show(self, call: Call) -> Answer:
        wanted = call.path["prediction"]

        def work(conn: Connection) -> tuple[Row, bytes, list[FileRow]] | None:
            found = predictions.get_with_document(conn, wanted)
            return None if found is None else (*found, files.files_of(conn, wanted))

        found = await self.ledger.read(work)
        if found is None:
            raise Refused(problems.not_found())
        row, body, kept = found
        shown = answer(
            {
                "prediction": row_record(row, call.origin),
                "files": [_file_record(file) for file in kept],
            }
        )
        # As upstream wrote it: not all legal JSON can be printed again.
        return replace(shown, body=set_members(shown.body, {"document": body}))

    async def _erase(self, call: Call) -> Answer:
        actor = actor_of(call)
        found = await self.erase(
            [call.path["prediction"]],
            lambda conn, name: self.administer.note(conn, actor, "predictions.delete", name),
        )
        if found.unknown:
            raise Refused(problems.not_found())
        return done()

    async def _orphans(self, call: Call) -> Answer:
        query = call.asked(PageQuery)
        found = await self.ledger.read(creates.doubts)
        page, last = cut(found, lambda row: row.id, query.cursor, query.limit)
        return answer(
            {
                "next": link(call, f"{PREFIX}/orphans", last),
                "results": [orphan_record(row) for row in page],
            }
        )

    async def _assign(self, call: Call) -> Answer:
        wanted = call.sent(shapes.Assignment).prediction_id
        await self.administer.assign_orphan(actor_of(call), call.path["create"], wanted)
        return done()

    async def _release(self, call: Call) -> Answer:
        await self.administer.release_orphan(actor_of(call), call.path["create"])
        return done()

    async def _audit(self, call: Call) -> Answer:
        query = call.asked(PageQuery)
        place = read_place(query.cursor)
        before = None if place is None else int(place.created_at)
        found = await self.ledger.read(
            lambda conn: audit.entries(conn, before_id=before, limit=query.limit + 1)
        )
        page = found[: query.limit]
        last = page[-1].id if len(found) > query.limit else None
        return answer(
            {
                "next": None if last is None else link(call, f"{PREFIX}/audit", "a", float(last)),
                "results": [
                    {
                        "id": row.id,
                        "at": iso(row.at),
                        "actor": row.actor,
                        "source": row.source,
                        "action": row.action,
                        "subject": row.subject,
                        "detail": row.detail,
                    }
                    for row in page
                ],
            }
        )


def _file_record(file: FileRow) -> dict[str, object]:
    return {
        "url": file.url,
        "state": file.state,
        "size": file.size,
        "content_type": file.content_type,
        "stored_at": _iso(file.stored_at),
        "error": file.last_error,
    }


def _iso(at: float | None) -> str | None:
    return None if at is None else iso(at)
