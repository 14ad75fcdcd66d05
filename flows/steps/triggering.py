"""Triggers: looks at labels, traffic and feedback, and leaves a request for a round where they call for one.

A request is a row; nothing is started here. Nothing is asked while a round is open or a request of the same kind waits.
What a round has answered is not asked again: afterwards only what came later counts.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from db.records import Prediction, Round
from db.repository import alerts, rounds, samples, triggers, versions
from flows.steps.baselines import combination, recall
from flows.steps.looking import Look, next_look, unseen_feedback, unseen_predictions, write_down
from flows.workspace import Workspace
from monitoring.mixes import added, count
from monitoring.traffic import judge_drift, traffic
from monitoring.triggers import (
    DRIFT,
    HELD,
    NEW_LABELS,
    NOT_ENOUGH,
    NOT_MEASURED,
    OFF,
    PERFORMANCE,
    Judgement,
    judge_new_labels,
    judge_performance,
)

MANY = 1000
"""Requests looked back upon."""


def check_triggers(ws: Workspace) -> list[Judgement]:
    """Judge every trigger that may ask, and request a round for each that does. Empty while a round is open."""
    with ws.database.read() as session:
        latest = next(iter(rounds.list_rounds(session, limit=1)), None)
        if latest is not None and latest.is_open:
            return []
        waiting = {trigger.kind for trigger in triggers.pending(session)}
        serving = versions.serving(session)
    found = [] if NEW_LABELS in waiting else [check_new_labels(ws, latest)]
    if serving.version is not None and serving.updated_at is not None:
        for kind, check in ((DRIFT, check_drift), (PERFORMANCE, check_performance)):
            if kind not in waiting:
                found.append(check(ws, serving.version, serving.updated_at))
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


def check_drift(ws: Workspace, version: int, in_service_since: datetime) -> Judgement:
    """Judge the predictions of the version in service that no look has seen, once there are enough of them."""
    config = ws.settings.triggers
    if config.drift_first_rows == 0:
        return Judgement(kind=DRIFT, verdict=OFF, sentence="Drift asks for no round.")
    if held := _held_back(ws, DRIFT, version):
        return held
    with ws.database.read() as session:
        since = max(in_service_since, _answered(session, DRIFT) or in_service_since)
        first, most = config.drift_first_rows, config.drift_most_rows
        look = next_look(session, DRIFT, version, since, first_rows=first, most_rows=most)
        rows = unseen_predictions(session, version, look, ws.clock())
        validated = recall(session, version)
    if len(rows) < look.num_wanted:
        return _too_early(DRIFT, len(rows), look)
    unlike = _distinct(rows)
    now = traffic(
        [row.confidence for row in unlike],
        [row.domain for row in unlike],
        [combination(row.modalities) for row in unlike],
    )
    baseline = None if validated is None else validated.traffic
    judgement = judge_drift(now, baseline, look.before, config, look=look.number)
    mix = {"domains": count(now.domains), "modalities": count(now.modalities)}
    kept = {name: added(look.before.get(name, {}), part) for name, part in mix.items()}
    _conclude(ws, version, judgement, look, [row.at for row in rows], kept)
    return judgement


def check_performance(ws: Workspace, version: int, in_service_since: datetime) -> Judgement:
    """Judge the feedback on the version in service that no look has seen, once there is enough of it."""
    config = ws.settings.triggers
    if config.feedback_first_rows == 0:
        return Judgement(kind=PERFORMANCE, verdict=OFF, sentence="Performance asks for no round.")
    if held := _held_back(ws, PERFORMANCE, version):
        return held
    with ws.database.read() as session:
        since = max(in_service_since, _answered(session, PERFORMANCE) or in_service_since)
        first, most = config.feedback_first_rows, config.feedback_most_rows
        look = next_look(session, PERFORMANCE, version, since, first_rows=first, most_rows=most)
        rows = unseen_feedback(session, version, look)
        validated = recall(session, version)
    if len(rows) < look.num_wanted:
        return _too_early(PERFORMANCE, len(rows), look)
    baseline = None if validated is None else (validated.num_right, validated.num_labelled)
    judgement = judge_performance(sum(row.is_correct for row in rows), len(rows), baseline, config, look=look.number)
    _conclude(ws, version, judgement, look, [row.feedback.at for row in rows], {})
    return judgement


# -- what may be asked -------------------------------------------------------------------------------------------------


def _distinct(rows: list[Prediction]) -> list[Prediction]:
    """One row a stored sample: the same sample asked a hundred times says no more than once."""
    return list({row.sample_id or row.id: row for row in reversed(rows)}.values())[::-1]


def _labels_read(session: Session, latest: Round) -> datetime:
    """When the last round read its labels; what came later is new."""
    steps = {step.step: step.at for step in rounds.steps_of(session, latest.id)}
    return steps.get("labelled", latest.opened_at)


def _answered(session: Session, kind: str) -> datetime | None:
    """When the last round that answered a request of this kind was closed; None before the first."""
    for trigger in triggers.list_triggers(session, limit=MANY):
        if trigger.kind == kind and trigger.taken_at is not None:
            closed = None if trigger.round_id is None else rounds.get_round(session, trigger.round_id).closed_at
            return closed or trigger.taken_at
    return None


def _held_back(ws: Workspace, kind: str, version: int) -> Judgement | None:
    """Why this version may not ask yet; None if it may."""
    with ws.database.read() as session:
        asked = [
            trigger.last_requested_at
            for trigger in triggers.list_triggers(session, limit=MANY)
            if trigger.kind == kind and trigger.detail.get("version") == version
        ]
    if not asked or (until := max(asked) + timedelta(seconds=ws.settings.triggers.ask_again_s)) <= ws.clock():
        return None
    sentence = (
        f"v{version} asked for a round on {max(asked):%Y-%m-%d %H:%M} UTC, and may again on {until:%Y-%m-%d %H:%M}."
    )
    return Judgement(kind=kind, verdict=HELD, sentence=sentence)


# -- what comes of it --------------------------------------------------------------------------------------------------


def _conclude(
    ws: Workspace,
    version: int,
    judgement: Judgement,
    look: Look,
    times: list[datetime],
    kept: Mapping[str, Mapping[str, int]],
) -> None:
    """Write the look down and, in the same transaction, ask if it does. Of two who look at once, one acts."""
    with ws.database.write() as session:
        if write_down(session, version, judgement, look, times, now=ws.clock(), kept=kept):
            _tell_of_missing_numbers(session, ws, judgement, version)
            if judgement.asks:
                _ask(session, ws, judgement, {"version": version})


def _ask(session: Session, ws: Workspace, judgement: Judgement, more: Mapping[str, int]) -> None:
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
    if judgement.verdict != NOT_MEASURED:
        alerts.resolve(session, fingerprint, now=ws.clock())
        return
    alerts.raise_alert(
        session,
        fingerprint,
        name=f"{judgement.kind} cannot be measured",
        severity="warning",
        summary=judgement.sentence,
        labels={"version": version},
        now=ws.clock(),
    )


def _too_early(kind: str, num_rows: int, look: Look) -> Judgement:
    """What is said of a look that is not due."""
    what = "predictions" if kind == DRIFT else "predictions with feedback"
    sentence = f"{num_rows:,} of the {look.num_wanted:,} {what} that look {look.number} waits for are there."
    numbers = {"num_rows": float(num_rows), "num_wanted": float(look.num_wanted), "look": float(look.number)}
    return Judgement(kind=kind, verdict=NOT_ENOUGH, sentence=sentence, numbers=numbers)
