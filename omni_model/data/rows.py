"""One row of a manifest: what it says, whether it may be taken, and the sample that its content makes."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from datetime import datetime

from omni_model.data.codecs import CODECS, Codec
from omni_model.data.errors import DecodeError, RowError
from omni_model.sample import Sample, TaskSpec, Value

Ref = str | bytes
"""Where the content of a modality is: a path or URI (`str`), or the content itself (`bytes`)."""


@dataclass(frozen=True, kw_only=True)
class ManifestRow:
    """A row as written, before its files are opened."""

    line: int
    """Line of the JSONL file or row of the Parquet file, from 1."""
    id: str
    task: str
    instruction: str = ""
    """Empty: the task's first instruction."""
    item: str = ""
    source: str = ""
    domain: str = ""
    time: datetime | None = None
    """UTC."""
    answer: str | None = None
    inputs: Mapping[str, Ref]
    """Modality to reference; absent modalities have no key."""


@dataclass(frozen=True, kw_only=True)
class RowFault:
    """A row that cannot be taken, and why. The rows after it are not touched by it."""

    line: int
    id: str | None
    """As far as it could be read."""
    reason: str
    """Fact, value, mend."""
    raw: str = ""
    """The beginning of the row as found, for whoever mends it."""


def validate_row(
    row: ManifestRow,
    tasks: Mapping[str, TaskSpec],
    *,
    codecs: Mapping[str, Codec] = CODECS,
    seen: Container[str] = (),
) -> None:
    """Raise `RowError` unless the row names a known task, one of its answers (or none), and known modalities.

    `seen` holds ids that were taken before; give it where a repeated id is a mistake.
    """
    if row.task not in tasks:
        known = ", ".join(sorted(tasks)) or "none"
        raise RowError(f"Unknown task {row.task!r}; known: {known}. Correct the row, or add the task's spec first.")
    answers = tasks[row.task].answers
    if row.answer is not None and row.answer not in answers:
        raise RowError(
            f"The answer {row.answer!r} is not in the answer set of task {row.task}: {_listed(answers)}. "
            "Correct it, or leave it out to have the row labelled."
        )
    for modality in row.inputs:
        if modality not in codecs:
            raise RowError(
                f"Unknown modality {modality!r}; known: {', '.join(sorted(codecs))}. "
                "Correct the column's name, or register a codec for it."
            )
    if not row.inputs:
        raise RowError(f"The row has no modality. Give at least one of {', '.join(sorted(codecs))}.")
    if row.id in seen:
        raise RowError(f"The id {row.id!r} was used before. Give every row an id of its own.")


def decode_sample(
    row: ManifestRow,
    data: Mapping[str, bytes],
    tasks: Mapping[str, TaskSpec],
    *,
    codecs: Mapping[str, Codec] = CODECS,
) -> Sample:
    """The sample that a row and the content of its modalities make.

    Raises `RowError` as `validate_row` does, or if content and row do not name the same modalities; raises
    `DecodeError`, which begins with the modality, for content that cannot be decoded.
    """
    validate_row(row, tasks, codecs=codecs)
    if set(data) != set(row.inputs):
        raise RowError(f"The row names {sorted(row.inputs)}, but content came for {sorted(data)}. Pass exactly those.")
    return Sample(
        id=row.id,
        task=row.task,
        instruction=row.instruction or tasks[row.task].instructions[0],
        inputs={modality: _decoded(codecs[modality], content) for modality, content in data.items()},
        answer=row.answer,
        item=row.item,
        source=row.source,
        domain=row.domain,
        time=row.time,
    )


def _decoded(codec: Codec, content: bytes) -> Value:
    try:
        return codec.decode(content)
    except DecodeError as error:
        raise DecodeError(f"{codec.modality}: {error}") from error


def _listed(answers: tuple[str, ...], most: int = 12) -> str:
    """
    >>> _listed(tuple("abcd"), most=3)
    'a, b, c and 1 more'
    """
    rest = len(answers) - most
    return ", ".join(answers[:most]) + (f" and {rest} more" if rest > 0 else "")
