"""The decision: the gate judges the stored comparison, and one transaction moves the release.

Judging and acting are apart: :func:`verdict_of` can be asked again later, under other limits, without moving anything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from db.records import Release, Round
from db.repository import audit, lineage, releases, rounds, triggers, versions
from db.repository.common import hold_the_loop
from flows.failpoints import failpoint
from flows.workspace import Workspace
from monitoring.comparison import from_json
from monitoring.gate import GateConfig, Verdict, judge

GATE = "gate"
"""Who decides in the audit trail when no person did."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What became of a candidate."""

    release: Release
    verdict: str
    """``accept``, ``reject``, ``inconclusive``, or ``first`` for a version with nothing to be compared to."""
    reasons: tuple[str, ...]


def decide(ws: Workspace, round_: Round, release: Release) -> Decision:
    """Judge the candidate and promote it, reject it, or put it before a person; then close the round."""
    validated = round_.outputs["validated"]
    if validated["comparisons"] is None:
        verdict, reasons = "first", ["The first version: nothing is in service to compare it with."]
    else:
        judged = verdict_of(ws, validated, ws.settings.gate)
        verdict, reasons = judged.decision, judged.reasons
    with ws.database.write() as session:
        hold_the_loop(session)
        release = versions.get_release(session, release.version)
        if release.state != "candidate":
            moved, told = release, overtaken(session, release)
        elif (newest := newer_base(session, release)) is not None and verdict != "reject":
            moved, told = refuse_superseded(session, ws, round_, release, newest)
        else:
            moved, told = move(session, ws, release, verdict, reasons, validated["num_samples"])
        reasons = list(dict.fromkeys([told, *reasons]))
        outputs = {"verdict": verdict, "reasons": reasons[:20], "state": moved.state}
        rounds.advance(session, round_.id, "decided", outputs, now=ws.clock())
        rounds.close(session, round_.id, outcome=moved.state, now=ws.clock())
        failpoint("decide.before_commit")
    failpoint("decide.committed")
    ws.reporter.say(f"decide      v{release.version}: {verdict} → {moved.state.replace('_', ' ')}. {told}")
    return Decision(release=moved, verdict=verdict, reasons=tuple(reasons))


def move(
    session: Session, ws: Workspace, release: Release, verdict: str, reasons: Sequence[str], num_samples: int
) -> tuple[Release, str]:
    """Move the release as the verdict and the promotion policy say; returns it and why."""
    numbers = {"verdict": verdict, "reasons": list(reasons[:5]), "num_samples": num_samples}
    told: dict[str, Any] = {"who": GATE, "numbers": numbers, "now": ws.clock()}
    why = reasons[0]
    if verdict == "reject":
        return releases.reject(session, release.version, why=why, **told), why
    hindrance = why_not_by_itself(session, release)
    if verdict == "inconclusive" or ws.settings.loop.promotion == "manual" or hindrance:
        why = f"{hindrance} {why}".strip()
        return releases.await_approval(session, release.version, why=why, **told), why
    return releases.promote(session, release.version, why=why, probation=verdict != "first", **told), why


def why_not_by_itself(session: Session, release: Release) -> str:
    """What keeps an acceptable candidate from being promoted without a person; empty if nothing does."""
    on_probation = versions.on_probation(session)
    if on_probation is not None:
        return f"v{on_probation.version} is still on probation."
    num_tainted = lineage.count_tainted(session, release.version)
    return f"It learnt {num_tainted} labels that have been quarantined since." if num_tainted else ""


def overtaken(session: Session, release: Release) -> str:
    """Who moved the candidate before the gate could, as a sentence."""
    last = audit.history(session, version=release.version)[-1]
    return f"{last.who} was faster ({release.state.replace('_', ' ')}): {last.why}"


def newer_base(session: Session, release: Release) -> Release | None:
    """The version accepted last, if it is another one than the candidate was made from."""
    newest = versions.last_accepted(session)
    return None if newest is None or newest.version == release.parent_version else newest


def refuse_superseded(
    session: Session, ws: Workspace, round_: Round, release: Release, newest: Release
) -> tuple[Release, str]:
    """Refuse a candidate whose base was replaced or taken back; its labels are not to blame, so another round is asked
    for that takes them along.
    """
    why = f"It was made from v{release.parent_version}, but v{newest.version} is the version accepted last by now."
    releases.reject(session, release.version, who=GATE, why=why, now=ws.clock())
    rounds.lift_quarantine(
        session, round_.id, who=GATE, why="The base was replaced; the labels are good.", now=ws.clock()
    )
    triggers.request(session, round_.trigger, now=ws.clock(), detail={"why": why})
    return versions.get_release(session, release.version), why


def verdict_of(ws: Workspace, validated: Mapping[str, Any], config: GateConfig) -> Verdict:
    """The gate's verdict on a stored comparison under ``config``; today's or another one's."""
    comparisons = from_json(ws.blobs.get(validated["comparisons"]).decode())
    with ws.database.read() as session:
        serving = versions.serving(session).version
    return judge(comparisons, config, now=ws.clock(), serving_version=serving)


def rejudge(ws: Workspace, round_: Round, config: GateConfig) -> Verdict:
    """What the gate would have said of a past round under ``config``, as of the day of its validation."""
    validated = round_.outputs.get("validated")
    if validated is None or validated["comparisons"] is None:
        raise ValueError(f"Round {round_.id} compared nothing, so there is no decision to make again.")
    comparisons = from_json(ws.blobs.get(validated["comparisons"]).decode())
    provenance = comparisons[0].provenance
    return judge(comparisons, config, now=provenance.measured_at, serving_version=provenance.old_version)
