"""Probation: every labelled live sample is answered by the new and by the previous version, and the pairs are judged.
Those that both answered in a trial are pairs already.

The verdict looks at all pairs in the order in which they were stored, so it is the same whenever, and however often,
it is asked. A fall rolls back to the last accepted version in one transaction, once.
"""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from db.records import NewPair, ProbationPair, Release, ScoredPrediction
from db.repository import mirrors, probation, releases, samples, trials, versions
from db.repository.common import hold_the_loop
from flows.steps.models import load_release
from flows.steps.stored import load_samples
from flows.workspace import Workspace
from monitoring.probation import ACCEPT, CONTINUE, ROLLBACK, ProbationState, replay
from omni_model.evaluate import predict
from omni_model.protocol import LoopModel
from omni_model.sample import Sample

WATCHER = "probation"
"""Who moves a release in the audit trail when the sequential test did."""
CHUNK_ROWS = 256
OVERRULED = ("failed", "undecided")
"""Outcomes of a trial that a person overrules by promoting its version."""


@dataclass(frozen=True, kw_only=True)
class ProbationReport:
    """Where a probation stands."""

    release: Release
    state: ProbationState
    num_new_pairs: int


def watch_probation(ws: Workspace) -> ProbationReport | None:
    """Score the feedback that has come in and act on the verdict; None when no version is on probation."""
    with ws.database.read() as session:
        release = versions.on_probation(session)
    if release is None:
        return None
    num_new = pair_mirrors(ws, release.version, previous_of(ws, release).version) + score_feedback(ws, release)
    with ws.database.read() as session:
        pairs = [(pair.new_correct, pair.old_correct) for pair in pairs_of(session, release)]
    state = replay(ws.settings.probation, pairs)
    return ProbationReport(release=act(ws, release, state), state=state, num_new_pairs=num_new)


def previous_of(ws: Workspace, release: Release) -> Release:
    """The version that one on probation is compared with."""
    with ws.database.read() as session:
        return versions.get_release(session, versions.serving(session).previous_version or release.parent_version or 0)


def pair_mirrors(ws: Workspace, new: int, old: int) -> int:
    """Make pairs of the requests with feedback that both versions answered live; returns how many were new. Nothing is
    computed again, and what is a pair by now is not scored once more.
    """
    with ws.database.read() as session:
        if not mirrors.pairs(session, new, old):
            return 0
    with ws.database.write() as session:
        return probation.add_pairs(session, new, mirrors.pairs(session, new, old), now=ws.clock())


def pairs_of(session: Session, release: Release) -> list[ProbationPair]:
    """The pairs that a probation is judged by: those of the trial before it too, unless the trial did not pass and a
    person promoted the version all the same. Then they are overruled, and the probation begins anew.
    """
    found, past = probation.pairs(session, release.version), trials.history(session, version=release.version, limit=1)
    if past and past[0].outcome in OVERRULED:
        return [pair for pair in found if pair.at > release.updated_at]
    return found


def score_feedback(ws: Workspace, release: Release) -> int:
    """Let both versions answer each sample with feedback that is not a pair yet; returns the number of new pairs."""
    previous = previous_of(ws, release)
    with ws.database.read() as session:
        waiting = probation.unscored(session, release.version)
    if not waiting:
        return 0
    new_model, old_model = load_release(ws, release), load_release(ws, previous)
    num_new = 0
    with ws.reporter.bar(f"probation of v{release.version}", len(waiting)) as tick:
        for start in range(0, len(waiting), CHUNK_ROWS):
            chunk = waiting[start : start + CHUNK_ROWS]
            pairs = scored(ws, chunk, new_model, old_model)
            with ws.database.write() as session:
                num_new += probation.add_pairs(session, release.version, pairs, now=ws.clock())
            tick(len(chunk))
    return num_new


def scored(ws: Workspace, chunk: list[ScoredPrediction], new_model: LoopModel, old_model: LoopModel) -> list[NewPair]:
    """Both models' answers to a chunk of samples with feedback, as one pair a prediction."""
    with ws.database.read() as session:
        wanted = dict.fromkeys(entry.prediction.sample_id for entry in chunk if entry.prediction.sample_id)
        stored = samples.get(session, list(wanted))
    loaded = load_samples(ws, stored)
    new, old = answers_of(new_model, loaded), answers_of(old_model, loaded)
    return [
        NewPair(
            key=entry.prediction.id,
            new_correct=new[sample_id] == entry.feedback.answer,
            old_correct=old[sample_id] == entry.feedback.answer,
        )
        for entry in chunk
        if (sample_id := entry.prediction.sample_id) in new and sample_id is not None
    ]


def answers_of(model: LoopModel, loaded: list[Sample]) -> dict[str, str]:
    """What a model answers, by sample id."""
    said = predict(model, loaded)
    return {id_: said.answers[int(answer)] for id_, answer in zip(said.ids, said.answer, strict=True)}


def act(ws: Workspace, release: Release, state: ProbationState) -> Release:
    """Roll back, accept, or leave a version on probation, as the verdict says. A person who was faster wins."""
    if state.verdict not in (ROLLBACK, ACCEPT):
        if state.verdict != CONTINUE:
            ws.reporter.say(f"probation   v{release.version}: {state.reason}")
        return release
    step = releases.rollback if state.verdict == ROLLBACK else releases.accept
    with ws.database.write() as session:
        hold_the_loop(session)
        present = versions.get_release(session, release.version)
        if present.state != release.state:
            ws.reporter.say(f"probation   v{release.version} was moved by somebody else meanwhile: {present.state}")
            return present
        moved = step(session, release.version, who=WATCHER, why=state.reason, numbers=numbers_of(state), now=ws.clock())
    ws.reporter.say(f"probation   v{release.version}: {state.reason}")
    return moved


def numbers_of(state: ProbationState) -> dict[str, float]:
    """The figures behind a verdict, for the audit trail."""
    return {
        "num_pairs": state.num_pairs,
        "old_accuracy": state.old_accuracy,
        "new_accuracy": state.new_accuracy,
        "relative_fall": state.relative_fall,
    }
