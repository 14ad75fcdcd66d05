"""The decision: the gate judges the stored comparison, and one transaction moves the release.

Judging and acting are apart: :func:`verdict_of` can be asked again later, under other limits, without moving anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from db.records import Release, Round
from db.repository import releases, rounds, versions
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
    why, numbers = reasons[0], {"verdict": verdict, "reasons": reasons[:5], "num_samples": validated["num_samples"]}
    outputs = {"verdict": verdict, "reasons": reasons[:20]}
    with ws.database.write() as session:
        moved = move(session, release, verdict, ws, why, numbers)
        rounds.advance(session, round_.id, "decided", outputs | {"state": moved.state}, now=ws.clock())
        rounds.close(session, round_.id, outcome=moved.state, now=ws.clock())
        failpoint("decide.before_commit")
    failpoint("decide.committed")
    ws.reporter.say(f"decide      v{release.version}: {verdict} → {moved.state.replace('_', ' ')}. {why}")
    return Decision(release=moved, verdict=verdict, reasons=tuple(reasons))


def move(session: Any, release: Release, verdict: str, ws: Workspace, why: str, numbers: Mapping[str, Any]) -> Release:
    """The release's next state for a verdict, under the promotion policy."""
    now = ws.clock()
    if verdict == "reject":
        return releases.reject(session, release.version, who=GATE, why=why, numbers=numbers, now=now)
    on_probation = versions.on_probation(session)
    if verdict == "inconclusive" or ws.settings.loop.promotion == "manual" or on_probation is not None:
        if on_probation is not None and verdict != "inconclusive":
            why = f"v{on_probation.version} is still on probation. {why}"
        return releases.await_approval(session, release.version, who=GATE, why=why, numbers=numbers, now=now)
    return releases.promote(
        session, release.version, who=GATE, why=why, numbers=numbers, probation=verdict != "first", now=now
    )


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
