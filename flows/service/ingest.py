"""Samples that come over HTTP, kept as those of a manifest are: each by itself, all that is good in one transaction.

What is kept is durable before it is acknowledged. The same rows again change nothing: a sample without an id is named
by its content, as the log of answers names it, and a faulty row is set aside once for each body it came in.
"""

import asyncio
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from db.digests import digest_of
from db.records import NewFault
from db.repository import ingests, samples
from flows.service.faults import Fault, invalid
from flows.service.forms import IngestOut, Inline, Remote, RowOut, SampleIn
from flows.service.live import LiveService
from flows.service.uris import Fetcher
from flows.service.wire import content_of
from flows.steps.ingesting import keep
from flows.steps.models import task_specs
from flows.steps.sorting import Accepted, sort_rows, without_clashes
from flows.workspace import Workspace
from omni_model.data.fields import RAW_CHARACTERS, id_of
from omni_model.data.rows import ManifestRow, RowFault
from omni_model.sample import TaskSpec


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """A row that is in form, its URIs read."""

    line: int
    sample: SampleIn
    inputs: Mapping[str, str | Inline | Remote | bytes]


class Intake:
    """Takes samples for a workspace."""

    def __init__(self, service: LiveService, fetcher: Fetcher) -> None:
        self._ws, self._stores, self._fetcher = service.ws, service.stores, fetcher

    async def take(self, rows: Sequence[Mapping[str, Any]]) -> IngestOut:
        """Keep what can be kept, and say of each row what became of it."""
        loop = asyncio.get_running_loop()
        manifest, read = await loop.run_in_executor(self._stores, in_form, rows)
        arrived = await asyncio.gather(*(self._fetched(line, row) for line, row in enumerate(read, start=1)))
        return await loop.run_in_executor(self._stores, store, self._ws, manifest, arrived)

    async def _fetched(self, line: int, row: SampleIn | RowFault) -> Arrival | RowFault:
        if isinstance(row, RowFault):
            return row
        try:
            inputs = await self._fetcher.fetch(row.inputs)
        except Fault as fault:
            if fault.status != 422:
                raise
            return RowFault(line=line, id=row.id or None, reason=str(fault), raw=shortened(row))
        return Arrival(line=line, sample=row, inputs=inputs)


def in_form(rows: Sequence[Mapping[str, Any]]) -> tuple[str, list[SampleIn | RowFault]]:
    """The name of a body, and its rows, each in form or with what is wrong with it."""
    whole = hashlib.blake2b(digest_size=32, salt=b"over http")
    found: list[SampleIn | RowFault] = []
    for line, row in enumerate(rows, start=1):
        raw = json.dumps(row, sort_keys=True)
        whole.update(f"{len(raw)} {raw}".encode())
        try:
            found.append(SampleIn.model_validate(row))
        except ValidationError as error:
            fault = invalid(error)
            found.append(RowFault(line=line, id=id_of(row), reason=str(fault), raw=raw[:RAW_CHARACTERS]))
    return whole.hexdigest(), found


def store(ws: Workspace, manifest: str, arrived: Sequence[Arrival | RowFault]) -> IngestOut:
    """Keep rows in one transaction. Bytes go first, so that a row never names bytes that are not there."""
    specs = task_specs(ws)
    rows = [row if isinstance(row, RowFault) else row_of(row, specs) for row in arrived]
    accepted, refused = sort_rows(ws, rows, specs, Path(), manifest)
    with ws.database.write() as session:
        accepted, clashes = without_clashes(session, accepted, manifest)
        refused += clashes
        known = {sample.id for sample in samples.get(session, [row.sample.id for row in accepted])}
        ingests.forget_faults(session, manifest, [row.line for row in rows])
        report = keep(session, manifest, accepted, refused, with_answers=True, now=ws.clock())
    media = {row.line: row.inputs for row in rows if isinstance(row, ManifestRow)}
    for row in accepted:  # a deletion may have met the same bytes between their put and their row
        for data in media[row.line].values():
            if isinstance(data, bytes):
                ws.blobs.put(data)
    return IngestOut(
        samples=list(told(accepted, refused, known)),
        num_new=report.num_new,
        num_known=report.num_known,
        num_refused=len(refused),
        num_labels=report.num_labels,
    )


def told(accepted: Sequence[Accepted], refused: Sequence[NewFault], known: set[str]) -> Iterator[RowOut]:
    """What became of each row, in their order."""
    seen = set(known)
    rows: list[Accepted | NewFault] = [*accepted, *refused]
    for row in sorted(rows, key=lambda row: row.line):
        if isinstance(row, NewFault):
            yield RowOut(id=row.sample_id, state="refused", reason=row.reason)
        else:
            yield RowOut(id=row.sample.id, state="known" if row.sample.id in seen else "new")
            seen.add(row.sample.id)


def row_of(arrival: Arrival, specs: Mapping[str, TaskSpec]) -> ManifestRow | RowFault:
    """A row as one of a manifest, with an id."""
    sample = arrival.sample
    try:
        time = utc(sample.time)
        inputs = {name: content_of(name, value) for name, value in arrival.inputs.items()}
    except (Fault, ValueError) as error:
        return RowFault(line=arrival.line, id=sample.id or None, reason=str(error), raw=shortened(sample))
    spec = specs.get(sample.task)
    instruction = sample.instruction.strip() or (spec.instructions[0] if spec else "")
    digests = {name: digest_of(data) for name, data in inputs.items()}
    return ManifestRow(
        line=arrival.line,
        id=sample.id or content_id(sample.task, instruction, sample.item, digests),
        task=sample.task,
        instruction=instruction,
        item=sample.item,
        source=sample.source,
        domain=sample.domain,
        time=time,
        answer=sample.answer,
        inputs=inputs,
    )


def content_id(task: str, instruction: str, item: str, digests: Mapping[str, str]) -> str:
    """The id of a sample without one, from its content; the same that the log of answers gives it.

    >>> content_id("digit", "Which digit?", "", {"text": "00"})
    'live-a4f23e8e11ed432c13f56214e45c908a'
    """
    whole = hashlib.blake2b(digest_size=16)
    for part in (task, instruction, item, *(f"{name} {digests[name]}" for name in sorted(digests))):
        whole.update(f"{len(part)} {part}".encode())
    return f"live-{whole.hexdigest()}"


def utc(time: datetime | None) -> datetime | None:
    """The moment in UTC. `ValueError` outside the calendar."""
    try:
        return None if time is None else time.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"time is outside the calendar in UTC: {time}. Correct it.") from error


def shortened(sample: SampleIn) -> str:
    """The beginning of a row, for whoever mends it."""
    return sample.model_dump_json()[:RAW_CHARACTERS]
