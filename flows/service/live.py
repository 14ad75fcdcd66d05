"""The live service without HTTP: engine, log and watch, wired to a workspace."""

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from db.records import Release, Serving
from db.repository import feedback, versions
from flows.service.config import ServiceConfig
from flows.service.faults import Fault
from flows.service.machine_levels import machine_levels
from flows.service.metrics import Level, Metrics
from flows.service.prediction_log import Entry, PredictionLog
from flows.service.version_watch import VersionWatch
from flows.service.wire import FeedbackIn, PredictIn, request_of
from flows.workspace import Workspace
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
        self.parsers = ThreadPoolExecutor(2, thread_name_prefix="parser")
        self.stores = ThreadPoolExecutor(4, thread_name_prefix="store")
        self.log = PredictionLog(ws, max_rows=self.config.log_rows, max_bytes=self.config.log_bytes)
        self.engine = Engine(self.config, secret=os.urandom(32), on_batch=self.metrics.batch_rows.observe)
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
        self.metrics.predictions.labels(str(answer.version), answer.task).inc()
        self.metrics.observe(answer.latency)
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

    def give_feedback(self, body: FeedbackIn) -> bool:
        """Store what was right, durably; False if the same was said before. Waits for the prediction's own row first.

        Raises `db.errors.NotFound` for an unknown prediction, `ValueError` for an answer outside the task's set, and
        :class:`Fault` for a second, different answer.
        """
        self.log.wait_for(body.prediction, LOG_WAIT_S)
        with self.ws.database.write() as session:
            origin = f"human:{body.who}" if body.who else "service"
            is_new = feedback.add(session, body.prediction, body.answer, origin=origin, now=self.ws.clock())
            first = feedback.get(session, body.prediction)
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

    def _levels(self) -> Iterator[Level]:
        yield from machine_levels()
        engine, log, served = self.engine.counts(), self.log.counts(), self.engine.served
        for name, help_, value, is_total in (
            ("omniloop_open_rows", "Requests taken and not answered yet.", engine.num_open, False),
            ("omniloop_queued_rows", "Requests that wait for a batch.", engine.num_queued, False),
            ("omniloop_cache_hits", "Encoder outputs found in the cache.", engine.cache.num_hits, True),
            ("omniloop_cache_misses", "Encoder outputs that were computed.", engine.cache.num_misses, True),
            ("omniloop_cache_bytes", "Memory that the cache takes.", engine.cache.num_bytes, False),
            ("omniloop_cache_saved_bytes", "Encoder outputs not computed again.", engine.cache.bytes_saved, True),
            ("omniloop_log_written", "Answers logged.", log.num_written, True),
            ("omniloop_log_dropped", "Answers not logged: the buffer was full.", log.num_dropped, True),
            ("omniloop_log_failed", "Answers not logged: they could not be.", log.num_failed, True),
            ("omniloop_log_waiting_rows", "Answers on their way into the log.", log.num_waiting, False),
            ("omniloop_version", "Version that answers; 0 for none.", served.version if served else 0, False),
            ("omniloop_generation", "Generation of that version.", served.generation if served else 0, False),
        ):
            yield Level(name=name, help=help_, value=value, is_total=is_total)
