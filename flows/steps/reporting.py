"""Drift and quality reports: of a window of live traffic, and of a round's candidate against the version it challenged.

A report is a row with a snapshot in the blob store. That of a round is kept with its MLflow run too, page and all.
Making the same report twice gives the first one back.
"""

import tempfile
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from sqlalchemy.orm import Session

from db.records import NewReport, Prediction, Report
from db.repository import feedback, predictions, releases, reports, rounds, versions
from flows.errors import NothingInService, NothingToDo
from flows.steps.baselines import combination
from flows.workspace import Workspace
from monitoring.outcomes import Answers, PairedOutcomes

if TYPE_CHECKING:
    from monitoring.reports import Made

MOST_ROWS = 100_000
"""Predictions of a window that are looked at; of more, the latest."""
USUAL_WINDOW = timedelta(days=1)
WORKSPACE = "evidently"
"""Folder in the home that Evidently's own pages show; there once they have been asked for."""

Table = Mapping[str, Sequence[Any]]


def report_window(ws: Workspace, kind: str, *, start: datetime, end: datetime, version: int | None = None) -> Report:
    """A report of what a version (None: the one in service) answered from ``start`` up to ``end``.

    It is compared with the version's validation or, for one that never had any, with its first answers before. Raises
    ``NothingInService``, or ``NothingToDo`` where either side has too few rows.
    """
    with ws.database.read() as session:
        version = version or versions.serving(session).version
        if version is None:
            raise NothingInService("No version is in service. Train one with `omniloop train`.")
        key = f"{kind}:v{version}:{start.isoformat()}:{end.isoformat()}"
        if (known := reports.find(session, key)) is not None:
            return known
        current = live_table(session, version, start, end)
        reference = validation_table(ws, session, version) or first_answers(session, version, start)
    about = {"key": key, "version": str(version), "from": start.isoformat(), "to": end.isoformat()}
    made = _make(ws, kind, current, reference, name=f"v{version} live", about=about)
    return _note(ws, key, kind, made, version=version, starts_at=start, ends_at=end)


def report_round(ws: Workspace, kind: str, round_id: int) -> Report:
    """A report of a round's candidate on the validation samples, compared with the version in service then.

    Raises ``NothingToDo`` for a round that compared nothing.
    """
    key = f"{kind}:round:{round_id}"
    with ws.database.read() as session:
        if (known := reports.find(session, key)) is not None:
            return known
        evidence = rounds.get_round(session, round_id).evidence
    if evidence is None:
        raise NothingToDo(f"Round {round_id} compared no two versions, so there is nothing to report on.")
    outcomes = PairedOutcomes.from_bytes(ws.blobs.get(evidence))
    version, against = outcomes.provenance.new_version, outcomes.provenance.old_version
    about = {"key": key, "version": str(version), "against": str(against), "round": str(round_id)}
    current, reference = side_table(outcomes, outcomes.new), side_table(outcomes, outcomes.old)
    made = _make(ws, kind, current, reference, name=f"round {round_id}, v{version}", about=about)
    keep_with_round(ws, kind, version, made.snapshot)
    return _note(ws, key, kind, made, version=version, round_id=round_id)


def keep_with_round(ws: Workspace, kind: str, version: int, snapshot: str) -> bool:
    """Put a report into the MLflow run of the version's round, as JSON and as a page; False if there is no run."""
    from monitoring.reports import page

    with ws.database.read() as session:
        run = releases.get_release(session, version).mlflow_run_id
    if run is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        for suffix, text in (("json", snapshot), ("html", page(snapshot))):
            file = Path(folder) / f"{kind}.{suffix}"
            file.write_text(text)
            ws.registry.log_file(run, file, "reports")
    return True


def report_what_is_due(ws: Workspace, kinds: Sequence[str], *, window: timedelta = USUAL_WINDOW) -> list[Report]:
    """Reports of the last whole window, and of every round that has evidence and no report yet.

    What has too few rows for one is left out. Windows follow each other without gaps, from midnight UTC on.
    """
    now = ws.clock()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    end = midnight + window * ((now - midnight) // window)
    with ws.database.read() as session:
        compared = [row.id for row in rounds.list_rounds(session, limit=1000) if row.evidence is not None]
        known = {(row.kind, row.round_id) for row in reports.list_reports(session, limit=10_000)}
    made = []
    for kind in kinds:
        for round_id in sorted(compared):
            if (kind, round_id) not in known:
                made.append(report_round(ws, kind, round_id))
        try:
            made.append(report_window(ws, kind, start=end - window, end=end))
        except (NothingToDo, NothingInService) as reason:
            ws.reporter.say(f"report      {kind}: {reason}")
    return made


def snapshot_of(ws: Workspace, report: Report) -> str:
    """A report's snapshot, as Evidently's JSON."""
    return ws.blobs.get(report.digest).decode()


def page_of(ws: Workspace, report: Report) -> str:
    """A report as one HTML page."""
    from monitoring.reports import page

    return page(snapshot_of(ws, report))


def fill_workspace(ws: Workspace, folder: Path) -> int:
    """Put every report where Evidently's own pages find it; returns how many were not there yet."""
    from monitoring.reports import add_to_workspace

    with ws.database.read() as session:
        known = reports.list_reports(session, limit=10_000)
    with FileLock(folder.with_suffix(".lock")):
        return add_to_workspace(folder, {row.key: partial(snapshot_of, ws, row) for row in reversed(known)})


# -- rows as columns ---------------------------------------------------------------------------------------------------


def live_table(session: Session, version: int, start: datetime, end: datetime) -> Table:
    """What a version answered, with the right answers where somebody gave them."""
    rows = predictions.between(session, start, end, version=version, limit=MOST_ROWS)
    right = {
        entry.prediction.id: entry.feedback.answer for entry in feedback.scored(session, version=version, since=start)
    }
    return prediction_table(rows, right)


def first_answers(session: Session, version: int, before: datetime) -> Table:
    """The first answers of a version, before a moment."""
    began = datetime.fromtimestamp(0, before.tzinfo)
    return prediction_table(predictions.between(session, began, before, version=version, limit=1000), {})


def prediction_table(rows: Sequence[Prediction], right: Mapping[str, str]) -> Table:
    """Logged answers as columns; the columns are those of :func:`side_table` and the entropy."""
    return {
        "confidence": [row.confidence for row in rows],
        "latency_s": [row.latency_s for row in rows],
        "entropy": [row.detail.get("entropy") for row in rows],
        "task": [row.task for row in rows],
        "domain": [row.domain for row in rows],
        "modalities": [combination(row.modalities) for row in rows],
        "answer": [row.answer for row in rows],
        "target": [right.get(row.id) for row in rows],
        "is_right": [None if row.id not in right else str(row.answer == right[row.id]) for row in rows],
    }


def validation_table(ws: Workspace, session: Session, version: int) -> Table | None:
    """What a version answered at its validation; None for one that was compared with nothing.

    Answers are left out: there they are numbers of a vocabulary, here they are words.
    """
    round_id = releases.get_release(session, version).round_id
    evidence = None if round_id is None else rounds.get_round(session, round_id).evidence
    if evidence is None:
        return None
    outcomes = PairedOutcomes.from_bytes(ws.blobs.get(evidence))
    table = side_table(outcomes, outcomes.new)
    return {name: column for name, column in table.items() if name not in ("answer", "target")}


def side_table(outcomes: PairedOutcomes, side: Answers) -> Table:
    """One version's side of a comparison as columns."""
    known = outcomes.target >= 0
    is_right = side.answer == outcomes.target
    return {
        "confidence": side.confidence.tolist(),
        "latency_s": side.latency_s.tolist(),
        "task": outcomes.tasks.tolist(),
        "domain": outcomes.domains.tolist(),
        "modalities": outcomes.modalities.tolist(),
        "answer": [f"#{answer}" for answer in side.answer.tolist()],
        "target": [f"#{row}" if row >= 0 else None for row in outcomes.target.tolist()],
        "is_right": [str(right) if is_known else None for right, is_known in zip(is_right, known, strict=True)],
    }


def _make(ws: Workspace, kind: str, current: Table, reference: Table, *, name: str, about: Mapping[str, str]) -> "Made":
    """Make a report; nothing is remembered yet."""
    from monitoring.reports import NotEnoughRows, make

    try:
        made = make(kind, current, reference, name=f"{kind}, {name}", at=ws.clock(), about=about)
    except NotEnoughRows as reason:
        raise NothingToDo(f"{name}: {reason}") from reason
    sizes = f"{made.numbers['num_rows']} rows against {made.numbers['num_reference']}"
    ws.reporter.say(f"report      {kind}, {name}: {sizes}")
    return made


def _note(ws: Workspace, key: str, kind: str, made: "Made", **about: Any) -> Report:
    """Store a report's snapshot, then note it: whoever is killed before has made nothing, and makes it again."""
    new = NewReport(
        key=key,
        kind=kind,
        digest=ws.blobs.put(made.snapshot.encode()),
        num_rows=made.numbers["num_rows"],
        num_reference=made.numbers["num_reference"],
        numbers=made.numbers,
        **about,
    )
    with ws.database.write() as session:
        row = reports.add(session, new, now=ws.clock())
    if (ws.home / WORKSPACE).exists():
        fill_workspace(ws, ws.home / WORKSPACE)
    return row
