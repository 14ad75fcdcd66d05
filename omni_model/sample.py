"""The two nouns that everything else is said in: a `Sample` (what the model sees) and a `TaskSpec` (what it is asked).

A sample carries decoded values, never files. What a value is depends on its modality:

| modality | Python type of the value                                           |
|----------|--------------------------------------------------------------------|
| text     | `str`, Unicode NFC                                                 |
| image    | `uint8 [H, W, 3]`, RGB                                             |
| audio    | `float32 [T]`, mono at `AUDIO_RATE_HZ`, within [-1, 1]             |
| video    | `uint8 [F, H, W, 3]`, RGB frames in order                          |
| sensor   | `float32 [T, C]`, one row per time step, one column per channel    |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import yaml

AUDIO_RATE_HZ = 8000

Value = str | np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One thing to answer about. Two samples are the same sample if their `id` is the same; compare by `id`."""

    id: str
    """Unique within a home."""
    task: str
    """Name of a `TaskSpec`."""
    instruction: str
    """What is asked, in words."""
    inputs: Mapping[str, Value]
    """Modality to decoded value. An absent modality has no key."""
    answer: str | None = None
    """One of the task's answers, or None while nobody has labelled it."""
    item: str = ""
    """The unit of splitting: renderings of one thing share it and so never straddle two splits. Defaults to `id`."""
    source: str = ""
    """Where it came from: a camera, a customer, a file."""
    domain: str = ""
    """Stratum that results are broken down by. Defaults to `source`."""
    time: datetime | None = None
    """When it was observed, UTC."""

    def __post_init__(self) -> None:
        if not self.id:
            raise ValueError("A sample's id is empty. Give every sample an id of its own.")
        if self.time is not None and self.time.utcoffset() != timedelta(0):
            raise ValueError(f"Sample {self.id}: time must be in UTC, got {self.time!r}. Use time.astimezone(UTC).")
        if not self.item:
            object.__setattr__(self, "item", self.id)
        if not self.domain:
            object.__setattr__(self, "domain", self.source)

    @property
    def modalities(self) -> frozenset[str]:
        """The modalities that are present."""
        return frozenset(self.inputs)


@dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """A question with a closed set of answers.

    >>> TaskSpec(name="sign", instructions=("Which sign is it?",), answers=("plus", "minus")).answers.index("minus")
    1
    """

    name: str
    """Unique; a sample names its task by it."""
    instructions: tuple[str, ...]
    """Wordings of the instruction; the first is the default for a row that brings none."""
    answers: tuple[str, ...]
    """The answer set, in the order of the model's outputs. Never reorder it once a model was trained."""

    def __post_init__(self) -> None:
        if not self.name or self.name != self.name.strip():
            raise ValueError(f"A task's name must be a non-empty word, got {self.name!r}. Name it, e.g. `digit`.")
        if not self.instructions or not all(text.strip() for text in self.instructions):
            raise ValueError(
                f"Task {self.name}: instructions must hold at least one non-empty text, got {self.instructions!r}. "
                "Say what is asked, e.g. `Which digit is it?`."
            )
        if len(self.answers) < 2 or not all(answer.strip() for answer in self.answers):
            raise ValueError(
                f"Task {self.name}: answers must hold at least two non-empty texts, got {self.answers!r}. "
                "List every answer that may be given."
            )
        twice = sorted({answer for answer in self.answers if self.answers.count(answer) > 1})
        if twice:
            raise ValueError(f"Task {self.name}: answers must differ, got {twice} more than once. Keep one of each.")


def load_task(path: str | Path) -> TaskSpec:
    """Read a task spec from YAML: a mapping with `name`, `instructions` (a text or a list) and `answers` (a list).

    Raises `ValueError` that names the file and the mend; a missing file raises `FileNotFoundError`.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No task spec at {path}. Write one (see docs/data.md) or correct the path.")
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no readable YAML: {error}. Save it as UTF-8 YAML.") from error
    if not isinstance(raw, dict):
        raise ValueError(f"{path} must hold a mapping with name, instructions, answers; got {type(raw).__name__}.")
    unknown = sorted(str(key) for key in raw if key not in ("name", "instructions", "answers"))
    if unknown:
        raise ValueError(f"{path}: unknown keys {unknown}. Keep only name, instructions, answers.")
    try:
        return TaskSpec(
            name=_text(raw.get("name"), "name"),
            instructions=_texts(raw.get("instructions"), "instructions"),
            answers=_texts(raw.get("answers"), "answers"),
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def dump_task(task: TaskSpec, path: str | Path) -> None:
    """Write a task spec that `load_task` reads back equal."""
    raw = {"name": task.name, "instructions": list(task.instructions), "answers": list(task.answers)}
    Path(path).write_text(yaml.safe_dump(raw, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _text(value: Any, key: str) -> str:
    """YAML reads a bare 7, no or 1.5 as something else than text; say so rather than guess how it was spelt."""
    if not isinstance(value, str):
        raise ValueError(f"{key} must be text, got {value!r}. Put it in quotes.")
    return value


def _texts(value: Any, key: str) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list):
        raise ValueError(f"{key} must be a list of texts, got {value!r}. Write one `- text` a line.")
    return tuple(_text(entry, f"{key}[{index}]") for index, entry in enumerate(value))
