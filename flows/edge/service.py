"""The edge without HTTP: the engine over a bundle, the cloud above it, and the spool below."""

import asyncio
import logging
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows.edge.bundle import MODEL, MSN, Bundle, BundleError, read_bundle
from flows.edge.cloud import Cloud, CloudRefused, CloudSilent
from flows.edge.config import EdgeConfig
from flows.edge.forms import BundleOut
from flows.edge.records import GivenFeedback, OtherFeedback, Spooled, SpoolError, UnknownPrediction
from flows.edge.spool import Spool
from flows.edge.syncing import Syncer
from flows.service.faults import Fault, halves, named
from flows.service.forms import FeedbackIn, PredictIn
from flows.service.metrics import Level, Metrics
from flows.service.wire import answer_out, request_of
from omni_model.checkpoint import digest, load
from omni_model.data.errors import RowError
from omni_model.model import OmniModel
from omni_model.msn.rules import STATIC_RULES
from omni_model.msn.selector import selector_from
from omni_model.serve.engine import Engine
from omni_model.serve.exchange import Answer, Request

logger = logging.getLogger(__name__)

KNOWN_MODELS = (OmniModel,)
"""Classes that bundles may hold; importing them makes them known to checkpoints."""


class EdgeService:
    """Everything behind the edge's routes. Make it inside the event loop; `close` drains it."""

    def __init__(self, folder: Path, config: EdgeConfig, spool_folder: Path) -> None:
        self.config = config
        self.bundle: Bundle = read_bundle(folder, digest_of=digest)
        selector = _selector(folder, self.bundle)
        self.metrics = Metrics(self._levels)
        self.parsers = ThreadPoolExecutor(2, thread_name_prefix="parser")
        self.spool = Spool(spool_folder, max_bytes=config.spool_bytes)
        self.engine = Engine(
            config, secret=os.urandom(32), on_batch=self.metrics.batch_rows.observe, fallback=STATIC_RULES
        )
        self.engine.put_in_service(self.bundle.version, 0, lambda: load(folder / MODEL), selector=selector)
        self.cloud = Cloud(config) if config.cloud else None
        self._syncer = Syncer(self.spool, self.cloud, config) if self.cloud is not None else None

    async def answer(self, body: PredictIn, *, request_id: str, began: float) -> dict[str, Any]:
        """The edge's answer, or the cloud's where the edge is unsure; in the form of `EdgePredictOut`.

        Raises what the engine raises, and :class:`Fault`.
        """
        request = request_of(body)
        deadline_s = min(body.deadline_s or self.config.deadline_s, self.config.deadline_s)
        ends = began + deadline_s
        try:
            answer = await asyncio.wrap_future(self.engine.submit(request, deadline_s=ends - time.monotonic()))
        except RowError as error:  # a task or modalities that only the full model knows
            return await self._only_cloud(body, error, ends=ends, request_id=request_id)
        sure = answer.probability >= self.config.confidence
        why = f"a probability of {answer.probability:.3f}, {'at least' if sure else 'below'} {self.config.confidence:g}"
        if not sure:
            if self.cloud is None:
                why += ", and no cloud is named"
            else:
                try:
                    return await self._ask_cloud(self.cloud, body, why=f"the edge has {why}", ends=ends, id_=request_id)
                except CloudSilent as error:
                    why += f", and the cloud cannot be asked: {error}"
                except CloudRefused as error:
                    why += f", and the cloud refuses: {error}"
        self._note(request, body, answer, why, request_id)
        return {**answer_out(answer), "answered_by": "edge", "why": why}

    async def _only_cloud(self, body: PredictIn, error: RowError, *, ends: float, request_id: str) -> dict[str, Any]:
        """What the edge's model does not know, asked of the cloud; the edge's own refusal if that cannot answer."""
        if self.cloud is None:
            raise error
        fact, _ = halves(str(error))
        try:
            return await self._ask_cloud(self.cloud, body, why=f"the edge cannot: {fact}", ends=ends, id_=request_id)
        except CloudRefused as refusal:
            raise Fault(422, fact, named(fact), f"The cloud was asked and cannot either: {refusal}.") from error
        except CloudSilent as silence:
            mend = f"The cloud might know more, but it cannot be asked now: {silence}."
            raise Fault(422, fact, named(fact), mend) from error

    async def _ask_cloud(self, cloud: Cloud, body: PredictIn, *, why: str, ends: float, id_: str) -> dict[str, Any]:
        left_s = ends - time.monotonic()
        if left_s <= 0:
            raise CloudSilent("the deadline has passed")
        said = await cloud.predict(body, within_s=left_s, request_id=id_)
        self.spool.note(said["prediction"], task=body.task)
        self.metrics.predictions.labels("cloud", body.task).inc()
        return {**said, "answered_by": "cloud", "why": why}

    async def give_feedback(self, body: FeedbackIn) -> bool:
        """Store what was right, durably; False if the same was said before. Raises :class:`Fault`, `ValueError`."""
        given = GivenFeedback(prediction=body.prediction, answer=body.answer, who=body.who)
        try:
            return await asyncio.wrap_future(self.spool.give_feedback(given, self.bundle.tasks))
        except SpoolError as error:
            status = {UnknownPrediction: 404, OtherFeedback: 409}.get(type(error), 503)
            fact, mend = halves(str(error))
            headers = {"Retry-After": "5"} if status == 503 else {}
            raise Fault(status, fact, body.prediction, mend, headers) from error

    def about(self) -> BundleOut:
        """What runs here and how it stands with the cloud."""
        counts = self.spool.counts()
        return BundleOut(
            version=self.bundle.version,
            digest=self.bundle.digest,
            modalities=list(self.bundle.modalities),
            tasks=list(self.bundle.tasks),
            cloud=self.cloud.breaker.state if self.cloud else "none",
            waiting=counts.waiting,
            waiting_feedback=counts.waiting_feedback,
            dropped=counts.dropped,
            refused=counts.refused,
            synced=counts.synced,
        )

    async def close(self) -> None:
        """Answer what was taken, write what was answered, end every thread."""
        await asyncio.to_thread(self.engine.close)
        if self._syncer is not None:
            await asyncio.to_thread(self._syncer.close)
        if self.cloud is not None:
            await self.cloud.close()
        await asyncio.to_thread(self.spool.close)
        self.parsers.shutdown(wait=True)

    def _note(self, request: Request, body: PredictIn, answer: Answer, why: str, request_id: str) -> None:
        """Put an answer into metrics and spool. Waits for nothing."""
        self.metrics.note(answer)
        row = spooled(request, body, answer, bundle=self.bundle.digest, why=why, request_id=request_id)
        self.spool.add(row, task=answer.task)

    def _levels(self) -> Iterator[Level]:
        engine, spool = self.engine.counts(), self.spool.counts()
        is_closed = self.cloud is not None and self.cloud.breaker.state == "closed"
        for name, help_, value, is_total in (
            ("omniloop_open_rows", "Requests taken and not answered yet.", engine.num_open, False),
            ("omniloop_cache_hits", "Encoder outputs found in the cache.", engine.cache.num_hits, True),
            ("omniloop_cache_misses", "Encoder outputs that were computed.", engine.cache.num_misses, True),
            ("omniloop_version", "Version that the edge's model was made of.", self.bundle.version, False),
            ("omniloop_edge_cloud", "1 while the cloud may be asked.", int(is_closed), False),
            ("omniloop_edge_waiting", "Answers that wait to be synced.", spool.waiting, False),
            ("omniloop_edge_waiting_feedback", "Feedback that waits to be synced.", spool.waiting_feedback, False),
            ("omniloop_edge_waiting_bytes", "Bytes that wait to be synced.", spool.waiting_bytes, False),
            ("omniloop_edge_dropped", "Answers dropped because the spool was full.", spool.dropped, True),
            ("omniloop_edge_refused", "Rows that the cloud refused for good.", spool.refused, True),
            ("omniloop_edge_synced", "Answers that the cloud has.", spool.synced, True),
        ):
            yield Level(name=name, help=help_, value=value, is_total=is_total)


def spooled(request: Request, body: PredictIn, answer: Answer, *, bundle: str, why: str, request_id: str) -> Spooled:
    """An answer as it waits for the cloud; only inputs that were used go along."""
    parts = answer.latency
    return Spooled(
        id=answer.id,
        body={
            "version": answer.version,
            "bundle": bundle,
            "task": answer.task,
            "instruction": answer.instruction,
            "answer": answer.answer,
            "probabilities": {name: min(1.0, max(0.0, value)) for name, value in answer.probabilities.items()},
            "received": list(answer.received),
            "used": list(answer.used),
            "ignored": dict(answer.ignored),
            "latency_s": {
                "queue": max(0.0, parts.queue_s),
                "decode": parts.decode_s,
                "encode": parts.encode_s,
                "fuse": parts.fuse_s,
            },
            "why": why,
            "source": body.source,
            "domain": body.domain,
            "item": body.item,
            "request_id": request_id,
            "at": datetime.now(UTC).isoformat(),
        },
        content={name: request.content[name] for name in answer.used},
    )


def _selector(folder: Path, bundle: Bundle) -> Any:
    """The bundle's own selector; None if it has none. Raises :class:`BundleError`."""
    if not bundle.msn_digest:
        return None
    try:
        return selector_from((folder / MSN).read_bytes())
    except (OSError, ValueError) as error:
        raise BundleError(f"{folder / MSN} is damaged: {error} Copy the folder anew.") from error
