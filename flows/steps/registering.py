"""Registration: the trained model becomes a candidate in the database, and a run and a version in MLflow."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from db.records import Release, Round
from db.repository import releases, round_ends, rounds
from flows.errors import FrozenPartMoved
from flows.failpoints import failpoint
from flows.registry import RoundRun
from flows.steps.models import materialise
from flows.workspace import Workspace


def register(ws: Workspace, round_: Round) -> Release:
    """Make the round's model a candidate version and move the round to ``registered``. Repeating it changes nothing."""
    tuned = round_.outputs["tuned"]
    report = tuned["fit"]
    if report["frozen_digest_before"] != report["frozen_digest_after"]:
        raise FrozenPartMoved(
            f"Round {round_.id}: the frozen part changed during tuning ({report['frozen_digest_before']} became "
            f"{report['frozen_digest_after']}). The model is not registered; check what ElasticConfig.also names."
        )
    with ws.database.write() as session:
        round_ends.check_open(session, round_.id)
        release = releases.create_candidate(
            session,
            round_id=round_.id,
            parent_version=round_.base_version,
            digest=tuned["digest"],
            base_digest=tuned["base_digest"],
            now=ws.clock(),
        )
    run_id = ws.registry.log_round(round_run(ws, round_, report, release))
    mlflow_version = ws.registry.register(
        release.version,
        run_id,
        materialise(ws, release.digest),
        {"parent": str(release.parent_version or ""), "digest": release.digest},
    )
    failpoint("register.logged")
    with ws.database.write() as session:
        release = releases.set_mlflow(session, release.version, run_id=run_id, mlflow_version=mlflow_version)
        rounds.advance(session, round_.id, "registered", {"version": release.version}, now=ws.clock())
    failpoint("register.committed")
    ws.reporter.say(f"register    v{release.version} is a candidate (parent {_name(release.parent_version)})")
    return release


def round_run(ws: Workspace, round_: Round, report: Mapping[str, Any], release: Release) -> RoundRun:
    """What MLflow is told about a round."""
    config = ws.settings.train if round_.base_version is None else ws.settings.elastic
    params = {f"train.{key}": value for key, value in asdict(config).items()}
    params |= {f"model.{key}": value for key, value in asdict(ws.settings.model).items()}
    params |= {"trigger": round_.trigger, "seed": ws.settings.loop.seed}
    figures = ("seconds", "samples_seen", "trained_parameters", "compute", "best_val", "epochs")
    selection = {f"selection.{key}": value for key, value in round_.outputs.get("filtered", {}).items()}
    return RoundRun(
        round_id=round_.id,
        params=params | {key: value for key, value in selection.items() if isinstance(value, str)},
        metrics={key: float(report[key]) for key in figures if report.get(key) is not None}
        | {key: float(value) for key, value in selection.items() if isinstance(value, int | float)},
        history=report["history"],
        dataset_name="round snapshot",
        dataset_digest=round_.snapshot,
        tags={
            "omniloop.version": str(release.version),
            "omniloop.parent_version": str(release.parent_version or ""),
            "omniloop.trigger": round_.trigger,
        },
    )


def _name(version: int | None) -> str:
    return "none" if version is None else f"v{version}"
