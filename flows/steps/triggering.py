"""Triggers: looks at labels, traffic and feedback, and leaves a request for a round where they call for one.

A request is a row; nothing is started here. Nothing is asked while a round is open or a request of the same kind waits,
and what a round has answered is not asked again: afterwards only what came later counts. Each look is written down as
measurements, which is also where the next look learns what it has not seen yet, so it does not matter who looks or
how often.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from db.records import Measurement, NewMeasurement, Prediction, Round, ScoredPrediction, Serving
from db.repository import alerts, feedback, measurements, predictions, rounds, samples, triggers, versions
from flows.steps.baselines import combination, recall
from flows.workspace import Workspace
from monitoring.config import TriggerConfig
from monitoring.mixes import added, count
from monitoring.traffic import judge_drift, traffic
from monitoring.triggers import (
    DRIFT,
    NEW_LABELS,
    NOT_ENOUGH,
    NOT_MEASURED,
    OFF,
    PERFORMANCE,
    Judgement,
    judge_new_labels,
    judge_performance,
    rows_of_look,
)

RECENT = timedelta(minutes=5)
"""Where predictions come in faster than looks are taken, a look is at the beginning of this stretch."""
MANY = 1000
"""Requests looked back upon."""
INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True)
class Look:
    """A look that is due, or will be: where it starts, and what it knows of those before."""

    number: int
    num_wanted: int
    """Rows that it waits for."""
    start: datetime
    num_seen_at_start: int
    """Rows of that very instant that an earlier look has seen."""
    before: Mapping[str, Any]
    """Rows by domain and by modalities of the earlier looks."""


def check_triggers(ws: Workspace) -> list[Judgement]:
    """Judge every trigger that may ask, and request a round for each that does. Empty while a round is open."""
    with ws.database.read() as session:
        latest = next(iter(rounds.list_rounds(session, limit=1)), None)
        if latest is not None and latest.is_open:
            return []
        waiting = {trigger.kind for trigger in triggers.pending(session)}
        serving = versions.serving(session)
    found = [] if NEW_LABELS in waiting else [check_new_labels(ws, latest)]
    if serving.version is not None:
        checks: dict[str, Callable[[Workspace, Serving], Judgement]] = {
            DRIFT: check_drift,
            PERFORMANCE: check_performance,
        }
        found += [check(ws, serving) for kind, check in checks.items() if kind not in waiting]
    return found


def check_new_labels(ws: Workspace, latest: Round | None) -> Judgement:
    """Judge the training samples that were labelled since the last round read its labels."""
    loop = ws.settings.loop
    threshold = loop.new_labels_trigger and max(loop.new_labels_trigger, loop.min_new_labels)
    with ws.database.read() as session:
        num_new = samples.count_labelled_since(session, None if latest is None else _labels_read(session, latest))
    judgement = judge_new_labels(num_new, threshold)
    if judgement.asks:
        with ws.database.write() as session:
            _ask(session, ws, judgement, {})
    return judgement


def check_drift(ws: Workspace, serving: Serving) -> Judgement:
    """Judge the predictions of the version in service that no look has seen, once there are enough of them."""
    config, version = ws.settings.triggers, _version(serving)
    if config.drift_first_rows == 0 or (held := _held_back(ws, DRIFT, version)):
        return Judgement(kind=DRIFT, verdict=OFF, sentence=held if config.drift_first_rows else "Switched off.")
    with ws.database.read() as session:
        look = _next_look(session, DRIFT, serving, config.drift_first_rows, config.drift_most_rows)
        rows = _unseen_predictions(session, version, look, ws.clock())
        validated = recall(session, version)
    if len(rows) < look.num_wanted:
        return _too_early(DRIFT, len(rows), look)
    unlike = _distinct(rows)
    now = traffic(
        [row.confidence for row in unlike],
        [row.domain for row in unlike],
        [combination(row.modalities) for row in unlike],
    )
    judgement = judge_drift(now, validated and validated.traffic, look.before, config, look=look.number)
    mix = {"domains": count(now.domains), "modalities": count(now.modalities)}
    seen = {name: added(look.before.get(name, {}), part) for name, part in mix.items()}
    _write_down(ws, version, judgement, look, [row.at for row in rows], {"mix": seen})
    return judgement


def check_performance(ws: Workspace, serving: Serving) -> Judgement:
    """Judge the feedback on the version in service that no look has seen, once there is enough of it."""
    config, version = ws.settings.triggers, _version(serving)
    if config.feedback_first_rows == 0 or (held := _held_back(ws, PERFORMANCE, version)):
        return Judgement(
            kind=PERFORMANCE, verdict=OFF, sentence=held if config.feedback_first_rows else "Switched off."
        )
    with ws.database.read() as session:
        look = _next_look(session, PERFORMANCE, serving, config.feedback_first_rows, config.feedback_most_rows)
        rows = _unseen_feedback(session, version, look)
        validated = recall(session, version)
    if len(rows) < look.num_wanted:
        return _too_early(PERFORMANCE, len(rows), look)
    num_right = sum(row.is_correct for row in rows)
    judgement = judge_performance(num_right, len(rows), validated and validated.share, config, look=look.number)
    _write_down(ws, version, judgement, look, [row.feedback.at for row in rows], {})
    return judgement


# -- what a look is at -------------------------------------------------------------------------------------------------


def _next_look(session: Session, kind: str, serving: Serving, first_rows: int, most_rows: int) -> Look:
    """The look after the last one at this version, or the first since the version or the last answer is in service."""
    answered = _answered(session, kind)
    start = max(moment for moment in (serving.updated_at, answered) if moment is not None)
    last = measurements.latest(session, kind, version=serving.version)
    if last is None or last.at <= start:
        return Look(number=1, num_wanted=first_rows, start=start, num_seen_at_start=0, before={})
    number = int(last.detail["look"]) + 1
    return Look(
        number=number,
        num_wanted=rows_of_look(number, first_rows, most_rows),
        start=datetime.fromisoformat(last.detail["until"]),
        num_seen_at_start=int(last.detail["num_at_until"]),
        before=last.detail.get("mix", {}),
    )


def _unseen_predictions(session: Session, version: int, look: Look, now: datetime) -> list[Prediction]:
    """As many of the predictions since the last look as this one wants, or all if they are fewer; oldest first."""
    recent = now - RECENT
    if recent > look.start:
        rows = predictions.between(session, recent, now + INSTANT, version=version, limit=look.num_wanted)
        if len(rows) == look.num_wanted:
            return rows
    limit = look.num_wanted + look.num_seen_at_start
    rows = predictions.between(session, look.start, now + INSTANT, version=version, limit=limit)
    return rows[look.num_seen_at_start :]


def _unseen_feedback(session: Session, version: int, look: Look) -> list[ScoredPrediction]:
    """As much of the feedback since the last look as this one wants, or all if it is less; oldest first."""
    limit = look.num_wanted + look.num_seen_at_start
    rows = feedback.scored(session, version=version, since=look.start - INSTANT, limit=limit)
    return rows[look.num_seen_at_start :]


def _distinct(rows: list[Prediction]) -> list[Prediction]:
    """One row a stored sample: the same sample asked a hundred times says no more than once."""
    return list({row.sample_id or row.id: row for row in reversed(rows)}.values())[::-1]


def _labels_read(session: Session, latest: Round) -> datetime:
    """When the last round read its labels; what came later is new."""
    steps = {step.step: step.at for step in rounds.steps_of(session, latest.id)}
    return steps.get("labelled", latest.opened_at)


def _answered(session: Session, kind: str) -> datetime | None:
    """When the last round that answered a request of this kind was closed."""
    for trigger in triggers.list_triggers(session, limit=MANY):
        if trigger.kind == kind and trigger.taken_at is not None:
            round_ = None if trigger.round_id is None else rounds.get_round(session, trigger.round_id)
            return trigger.taken_at if round_ is None else round_.closed_at
    return None


def _held_back(ws: Workspace, kind: str, version: int) -> str:
    """Why this version may not ask yet; empty if it may."""
    again = timedelta(seconds=ws.settings.triggers.ask_again_s)
    with ws.database.read() as session:
        asked = [
            trigger.last_requested_at
            for trigger in triggers.list_triggers(session, limit=MANY)
            if trigger.kind == kind and trigger.detail.get("version") == version
        ]
    if not asked or (until := max(asked) + again) <= ws.clock():
        return ""
    return f"v{version} asked for a round on {max(asked):%Y-%m-%d %H:%M} UTC and may again on {until:%Y-%m-%d %H:%M}."


# -- what a look leaves behind -----------------------------------------------------------------------------------------


def _write_down(
    ws: Workspace, version: int, judgement: Judgement, look: Look, times: list[datetime], extra: Mapping[str, Any]
) -> None:
    """The look as measurements and, if it asks, the request: both or neither. Of two who look at once, one writes."""
    until = times[-1]
    num_at_until = times.count(until) + (look.num_seen_at_start if until == look.start else 0)
    detail = {"look": look.number, "until": until.isoformat(), "num_at_until": num_at_until, **extra}
    with ws.database.write() as session:
        if _is_taken(measurements.latest(session, judgement.kind, version=version), look, until):
            return
        measurements.add(session, _measured(version, judgement, len(times), detail), now=ws.clock())
        if judgement.asks:
            _ask(session, ws, judgement, {"version": version})
        _tell_of_missing_numbers(session, ws, judgement, version)


def _is_taken(last: Measurement | None, look: Look, until: datetime) -> bool:
    """Has somebody else taken this look in the meantime?"""
    return last is not None and last.at > look.start and datetime.fromisoformat(last.detail["until"]) >= until


def _measured(version: int, judgement: Judgement, num_rows: int, detail: Mapping[str, Any]) -> list[NewMeasurement]:
    """The judgement and its findings as numbers that can be drawn."""
    told = {**detail, "verdict": judgement.verdict, "sentence": judgement.sentence, "numbers": dict(judgement.numbers)}
    value = judgement.numbers.get("relative_change", float(judgement.asks))
    whole = NewMeasurement(metric=judgement.kind, value=value, version=version, num_samples=num_rows, detail=told)
    return [
        whole,
        *(
            NewMeasurement(
                metric=judgement.kind,
                slice=f"test={each.name}",
                value=each.value,
                version=version,
                num_samples=each.num_rows,
                detail={"verdict": each.verdict, "sentence": each.sentence, "look": detail["look"]},
            )
            for each in judgement.findings
        ),
    ]


def _ask(session: Session, ws: Workspace, judgement: Judgement, more: Mapping[str, Any]) -> None:
    """Leave the request, unless one of the kind waits already or a round has been opened since."""
    is_waiting = any(trigger.kind == judgement.kind for trigger in triggers.pending(session))
    if is_waiting or rounds.resume_target(session) is not None:
        return
    detail = {"why": judgement.sentence, "numbers": dict(judgement.numbers), **more}
    triggers.request(session, judgement.kind, detail=detail, now=ws.clock())
    ws.reporter.say(f"trigger     {judgement.kind.replace('_', ' ')}: {judgement.sentence}")


def _tell_of_missing_numbers(session: Session, ws: Workspace, judgement: Judgement, version: int) -> None:
    """An alert while a number that should be there is missing: nobody knows then whether all is well."""
    fingerprint = f"trigger:{judgement.kind}"
    if judgement.verdict == NOT_MEASURED:
        alerts.raise_alert(
            session,
            fingerprint,
            name=f"{judgement.kind} cannot be measured",
            severity="warning",
            summary=judgement.sentence,
            labels={"version": version},
            now=ws.clock(),
        )
    else:
        alerts.resolve(session, fingerprint, now=ws.clock())


def _too_early(kind: str, num_rows: int, look: Look) -> Judgement:
    what = "predictions" if kind == DRIFT else "predictions with feedback"
    sentence = f"{num_rows:,} of the {look.num_wanted:,} {what} that look {look.number} waits for are there."
    numbers = {"num_rows": float(num_rows), "num_wanted": float(look.num_wanted), "look": float(look.number)}
    return Judgement(kind=kind, verdict=NOT_ENOUGH, sentence=sentence, numbers=numbers)


def _version(serving: Serving) -> int:
    assert serving.version is not None
    return serving.version
