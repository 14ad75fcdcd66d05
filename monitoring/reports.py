"""Drift and quality reports by Evidently. The only file that imports it, when a report is made or shown.

What is kept is Evidently's snapshot as JSON; its self-contained page is made from that when somebody looks. Columns are
made safe first: rare categories are joined, and a column that either side does not have, or has only gaps in, is left
out and named, since a comparison with nothing would look like no drift.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

DRIFT, QUALITY = "drift", "quality"
KINDS = (DRIFT, QUALITY)
LEAST_ROWS = 30
"""Rows that each side needs."""
MOST_CATEGORIES = 30
"""Values of a column that are told apart; the others are joined."""
OTHERS, MISSING = "(others)", "(missing)"
TARGET, ANSWER = "target", "answer"
PROJECT = "omniloop"

Column = Sequence[Any]


class NotEnoughRows(ValueError):
    """One side has too few rows for a report; nothing is said rather than something wrong."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """A report."""

    snapshot: str
    """Evidently's JSON; `page` makes HTML of it."""
    numbers: Mapping[str, Any]
    """What a list shows, as JSON."""


def make(
    kind: str,
    current: Mapping[str, Column],
    reference: Mapping[str, Column],
    *,
    name: str,
    at: datetime,
    about: Mapping[str, str],
) -> Made:
    """A report of rows against rows of reference, each given as columns of numbers or texts with None for gaps.

    For `quality`, the columns `answer` and `target` become figures of classification where both are known. Raises
    `NotEnoughRows`, and `ValueError` for another kind.
    """
    if kind not in KINDS:
        raise ValueError(f"There is no report {kind!r}. There are {', '.join(KINDS)}.")
    for side, table in (("current", current), ("reference", reference)):
        if num_rows(table) < LEAST_ROWS:
            raise NotEnoughRows(f"The {side} side has {num_rows(table)} rows; a report needs {LEAST_ROWS}.")
    shared, left_out = safe(current, reference)
    if not shared:
        raise NotEnoughRows(f"No column is filled on both sides: {', '.join(left_out)}.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numerical ones about constant columns, which the report shows anyway
        snapshot = _run(kind, current, reference, shared, name=name, at=at, about=about)
        numbers = _numbers(snapshot.dict()["metrics"])
    sizes = {"num_rows": num_rows(current), "num_reference": num_rows(reference), "left_out": list(left_out)}
    return Made(snapshot=snapshot.dumps(), numbers={**numbers, **sizes})


def page(snapshot: str) -> str:
    """A report as one HTML page that needs nothing else; about 4 MB."""
    from evidently.core.report import Snapshot

    return str(Snapshot.loads(snapshot).get_html_str(as_iframe=False))


def add_to_workspace(folder: Path, reports: Mapping[str, Callable[[], str]]) -> int:
    """Put snapshots where Evidently's own pages find them, by key; those that are there already are not read again.

    `folder` holds Evidently's workspace; `added.txt` in it lists the keys. Returns how many were new.
    """
    from evidently.core.report import Snapshot
    from evidently.ui.workspace import Workspace

    workspace = Workspace.create(str(folder))
    known = workspace.search_project(PROJECT)
    project = known[0] if known else workspace.create_project(PROJECT)
    note = folder / "added.txt"
    added = set(note.read_text().split("\n")) if note.exists() else set()
    new = {key: read for key, read in reports.items() if key not in added}
    for key, read in new.items():
        workspace.add_run(project.id, Snapshot.loads(read()))
        with note.open("a") as out:
            out.write(f"{key}\n")
    return len(new)


def num_rows(table: Mapping[str, Column]) -> int:
    """Rows of a table; `ValueError` if its columns differ in length.

    >>> num_rows({"a": [1, 2], "b": ["x", None]}), num_rows({})
    (2, 0)
    """
    lengths = {name: len(column) for name, column in table.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"Columns must be of one length, got {lengths}.")
    return next(iter(lengths.values()), 0)


def safe(
    current: Mapping[str, Column], reference: Mapping[str, Column]
) -> tuple[dict[str, tuple[list[Any], list[Any], bool]], tuple[str, ...]]:
    """What can be compared: per column both sides and whether it is numeric; and the names of what cannot.

    >>> shared, left_out = safe({"x": [1.0, None], "y": ["a", "b"]}, {"x": [2.0, 3.0], "z": [1, 2]})
    >>> shared, left_out
    ({'x': ([1.0, nan], [2.0, 3.0], True)}, ('y', 'z'))
    """
    shared: dict[str, tuple[list[Any], list[Any], bool]] = {}
    for name in current:
        sides = current[name], reference.get(name, ())
        if not all(any(_is_there(value) for value in side) for side in sides):
            continue
        is_number = all(not _is_there(value) or isinstance(value, int | float) for side in sides for value in side)
        if is_number:
            shared[name] = (_numeric(sides[0]), _numeric(sides[1]), True)
        else:
            shared[name] = (*_joined(*sides), False)
    return shared, tuple(name for name in dict.fromkeys((*current, *reference)) if name not in shared)


def _run(
    kind: str,
    current: Mapping[str, Column],
    reference: Mapping[str, Column],
    shared: Mapping[str, tuple[list[Any], list[Any], bool]],
    *,
    name: str,
    at: datetime,
    about: Mapping[str, str],
) -> Any:
    import pandas as pd
    from evidently import DataDefinition, Dataset, MulticlassClassification, Report
    from evidently.presets import ClassificationQuality, DataDriftPreset, DataSummaryPreset

    frames = [pd.DataFrame({column: sides[index] for column, sides in shared.items()}) for index in (0, 1)]
    classified = kind == QUALITY and all(_num_classified(table) >= LEAST_ROWS for table in (current, reference))
    if classified:
        frames = [
            frame[[value is not None for value in table[TARGET]]]
            for frame, table in zip(frames, (current, reference), strict=True)
        ]
    definition = DataDefinition(
        numerical_columns=[column for column, (_, _, is_number) in shared.items() if is_number],
        categorical_columns=[column for column, (_, _, is_number) in shared.items() if not is_number],
        classification=([MulticlassClassification(target=TARGET, prediction_labels=ANSWER)] if classified else None),
    )
    metrics: list[Any] = [DataDriftPreset()] if kind == DRIFT else [DataSummaryPreset()]
    if classified:
        metrics = [ClassificationQuality(), *metrics]
    report = Report(metrics, metadata={key: str(value) for key, value in about.items()}, tags=[kind])
    sides = [Dataset.from_pandas(frame, data_definition=definition) for frame in frames]
    return report.run(sides[0], sides[1], timestamp=at, name=name)


def _numbers(metrics: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The figures of a snapshot: a number by the metric's name, or several by its name and theirs."""
    found: dict[str, Any] = {}
    for metric in metrics:
        name = str(metric["metric_name"]).replace(" ", "")
        value = metric["value"]
        if isinstance(value, Mapping):
            found |= {f"{name}.{part}": _finite(each) for part, each in value.items() if _is_scalar(each)}
        elif _is_scalar(value):
            found[name] = _finite(value)
    return found


def _is_scalar(value: Any) -> bool:
    return hasattr(value, "__float__")


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(float(value)) else None


def _num_classified(table: Mapping[str, Column]) -> int:
    pairs = zip(table.get(TARGET, ()), table.get(ANSWER, ()), strict=False)
    return sum(_is_there(target) and _is_there(answer) for target, answer in pairs)


def _is_there(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))


def _numeric(values: Column) -> list[float]:
    return [float(value) if _is_there(value) else math.nan for value in values]


def _joined(current: Column, reference: Column) -> tuple[list[str], list[str]]:
    """Both sides as texts, with the rare values of both together joined.

    >>> _joined(["a"] * 3, ["a", None, "b"])
    (['a', 'a', 'a'], ['a', '(missing)', 'b'])
    """
    words = [[str(value) if _is_there(value) else MISSING for value in side] for side in (current, reference)]
    often = {word for word, _ in Counter(words[0] + words[1]).most_common(MOST_CATEGORIES)}
    first, second = ([word if word in often else OTHERS for word in side] for side in words)
    return first, second
