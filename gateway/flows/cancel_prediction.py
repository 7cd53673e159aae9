"""Cancel a prediction of one's own."""

from gateway.clock import Clock
from gateway.domain import problems
from gateway.domain.documents import NotAPrediction, facts, is_terminal
from gateway.domain.json_text import InvalidJson
from gateway.flows.answer import Answer, Caller, Refused
from gateway.flows.observe import Observe
from gateway.flows.present import JSON, Presenter, finished_of
from gateway.flows.upstream_answer import refused_by_upstream, upstream_problem
from gateway.ledger import Ledger, predictions
from gateway.upstream.client import Upstream
from gateway.upstream.errors import UpstreamError
from gateway.upstream.line import Urgency
from gateway.upstream.operations import OPERATIONS


class CancelPrediction:
    """Passes a cancel on, and takes in what upstream says of the prediction then."""

    def __init__(
        self,
        ledger: Ledger,
        upstream: Upstream,
        observe: Observe,
        presenter: Presenter,
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._upstream = upstream
        self._observe = observe
        self._presenter = presenter
        self._clock = clock

    async def __call__(self, caller: Caller, prediction_id: str) -> Answer:
        """Cancel, and answer with the document; one that has ended already stays as it ended.

        Raises:
            Refused: not the caller's own (a team may read each other's, not cancel them), or
                upstream cannot be asked.
        """
        known = await self._ledger.read(
            lambda conn: predictions.get_with_document(conn, prediction_id)
        )
        if known is None or known[0].user_id != caller.identity.user_id:
            raise Refused(problems.not_found())
        row, body = known
        if row.settled_at is not None:
            shown = self._presenter.finished(
                finished_of(row, body), caller.origin, caller.aborted_as
            )
            return Answer(200, (JSON,), shown.body)
        name = "trainings.cancel" if row.kind == "training" else "predictions.cancel"
        asked = OPERATIONS[name]
        try:
            answer = await self._upstream.call(
                asked,
                f"/v1/{row.kind}s/{row.id}/cancel",
                body=b"",
                urgency=Urgency.ACT,
                user=caller.identity.user_id,
            )
        except UpstreamError as error:
            raise Refused(upstream_problem(error, create=False)) from error
        if not 200 <= answer.status < 300:
            return refused_by_upstream(answer)
        try:
            told = facts(answer.body)
            observed = await self._observe(
                row, answer.body, final=is_terminal(told.status) and told.completed_at is not None
            )
        except (InvalidJson, NotAPrediction) as error:
            raise Refused(problems.upstream_garbage(create=False)) from error
        shown_body = self._presenter.document(
            observed.body, self._presenter.view(observed.row, caller)
        )
        return Answer(answer.status, (JSON, ("cache-control", "no-store")), shown_body)
