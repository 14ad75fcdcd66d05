"""The live service without HTTP: engine, log and watch, wired to a workspace."""

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from db.errors import NotFound
from db.records import Release, Serving
from db.repository import feedback, versions
from flows.service.config import ServiceConfig
from flows.service.faults import Fault, shown
from flows.service.levels import levels
from flows.service.log_policy import LogPolicy
from flows.service.machine_levels import machine_levels
from flows.service.metrics import Level, Metrics
from flows.service.own_key import own_salt
from flows.service.prediction_log import Entry, PredictionLog
from flows.service.version_watch import VersionWatch
from flows.service.wire import FeedbackIn, PredictIn, request_of
from flows.tracing import tracing
from flows.workspace import Workspace
from omni_model.msn.rules import StaticRules
from omni_model.serve.engine import Engine
from omni_model.serve.exchange import Answer, Request

LOG_WAIT_S = 10.0
"""How long feedback waits for its prediction to be logged."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request on its way, with what the log wants to know of it."""

    body: PredictIn
    request: Request
    future: Future[Answer]


class LiveService:
    """Everything behind the routes. Starts its threads when made; `close` drains them."""

    def __init__(self, ws: Workspace) -> None:
        self.ws = ws
        self.config: ServiceConfig = ws.settings.service
        self.metrics = Metrics(self._levels)
        self.tracing = tracing(ws.settings.tracing)
        self.parsers = ThreadPoolExecutor(2, thread_name_prefix="parser")
        self.stores = ThreadPoolExecutor(4, thread_name_prefix="store")
        self.log = PredictionLog(
            ws,
            max_rows=self.config.log_rows,
            max_bytes=self.config.log_bytes,
            policy=LogPolicy(
                share=self.config.log_share,
                omit=frozenset(self.config.log_omit),
                salt=own_salt(ws.home, "log"),
            ),
        )
        self.engine = Engine(
            self.config,
            secret=os.urandom(32),
            on_batch=self.metrics.batch_rows.observe,
            on_mirror=self.note_mirror,
            fallback=StaticRules(),
        )
        self.watch = VersionWatch(
            ws,
            self.engine,
            poll_s=self.config.poll_s,
            on_swap=self.metrics.swaps.inc,
            on_refusal=self.metrics.refused.inc,
        )

    def ask(self, body: PredictIn) -> Asked:
        """Hand a sample to the engine. Raises what the engine's door raises, and :class:`Fault`."""
        request = request_of(body)
        deadline_s = min(body.deadline_s or self.config.deadline_s, self.config.deadline_s)
        return Asked(body=body, request=request, future=self.engine.submit(request, deadline_s=deadline_s))

    def note(self, asked: Asked, answer: Answer, request_id: str) -> None:
        """Put an answer into metrics and log. Waits for nothing."""
        self.metrics.note(answer)
        self.log.add(
            Entry(
                request=asked.request,
                answer=answer,
                instruction=answer.instruction,
                source=asked.body.source,
                domain=asked.body.domain,
                item=asked.body.item,
                request_id=request_id,
            )
        )

    def note_mirror(self, told: Answer, second: Answer) -> None:
        """Put a second answer into metrics and log. Waits for nothing: the engine's own thread calls it."""
        agrees = "yes" if told.answer == second.answer else "no"
        self.metrics.mirrors.labels(str(second.version), agrees).inc()
        self.log.add_mirror(told, second)

    def give_feedback(self, body: FeedbackIn) -> bool:
        """Store what was right, durably; False if the same was said before. Waits for the prediction's own row first.

        Raises `db.errors.NotFound` for an unknown prediction, `ValueError` for an answer outside the task's set, and
        :class:`Fault` for a second, different answer, and for a prediction that the log may have left out or forgotten.
        """
        self.log.wait_for(body.prediction, LOG_WAIT_S)
        try:
            with self.ws.database.write() as session:
                origin = f"human:{body.who}" if body.who else "service"
                is_new = feedback.add(session, body.prediction, body.answer, origin=origin, now=self.ws.clock())
                first = feedback.get(session, body.prediction)
        except NotFound as error:
            raise not_logged(self.config, body.prediction) or error from error
        if first is not None and first.answer != body.answer:
            fact = f"Prediction {body.prediction} has feedback already: {first.answer!r}, and the first one counts."
            raise Fault(409, fact, body.answer, "Correct the sample's label with `omniloop labels import` instead.")
        return is_new

    def versions(self) -> tuple[list[Release], Serving]:
        """What the database says of versions."""
        with self.ws.database.read() as session:
            return versions.history(session), versions.serving(session)

    def close(self) -> None:
        """Answer what was taken, write what was answered, end every thread."""
        self.watch.close()
        self.engine.close()
        self.log.close()
        self.parsers.shutdown(wait=True)
        self.stores.shutdown(wait=True)
        self.tracing.close()

    def _levels(self) -> Iterator[Level]:
        yield from machine_levels()
        yield from levels(self.engine, self.log.counts())


def not_logged(config: ServiceConfig, prediction_id: str) -> Fault | None:
    """The refusal of feedback on a prediction that is not in the log, if the log does not keep everything."""
    why = []
    if config.log_share < 1:
        why.append(f"keeps a share of {config.log_share:g} of the answers")
    if config.log_days > 0:
        why.append(f"forgets answers without feedback after {config.log_days:g} days")
    if not why:
        return None
    mend = "Send the sample with its answer to /v1/ingest, or let the log keep more with OMNI_SERVICE__LOG_SHARE."
    return Fault(404, f"The prediction is not in the log, which {' and '.join(why)}.", shown(prediction_id), mend)
