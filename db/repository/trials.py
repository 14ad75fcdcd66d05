"""Trials: a version on a part of the traffic, or on a copy of it, beside the one in service. One at a time.

Who serves reads `running` with what is in service; a trial begins and ends within about a poll of its row.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from db.errors import IllegalMove, NotFound
from db.models import TrialRow
from db.records import Trial
from db.records.loop import Json
from db.repository import audit, outbox
from db.repository.checks import check_way_is_free
from db.repository.common import fetch_all, fetch_one, hold_the_loop, insert_into, rows_of, write
from db.repository.trial_ends import end_any, forget_other_pairs, running
from db.repository.versions import get_release, serving
from db.trials import MODES, Mode

__all__ = ["end", "get", "history", "last", "running", "start"]

TRIABLE = ("candidate", "awaiting_approval")
"""States in which a version may be on trial."""


def start(session: Session, version: int, *, mode: Mode, share: float, who: str, why: str, now: datetime) -> Trial:
    """Try a version against the one in service.

    `IllegalMove` for a version that is in service or was, while another trial runs, and wherever the version could not
    be promoted either: what a trial shows is to hold in probation. `ValueError` for a mode or share that is none.
    """
    if mode not in MODES:
        raise ValueError(f"A trial's mode must be one of {', '.join(MODES)}, got {mode!r}. Choose one of them.")
    if not 0 < share <= 1:
        raise ValueError(f"A trial's share must lie in (0, 1], got {share}. For a tenth of the requests give 0.1.")
    hold_the_loop(session)
    release, in_service = get_release(session, version), serving(session)
    if release.state not in TRIABLE:
        raise IllegalMove(
            f"Version {version} is {release.state} and cannot be tried. Only a candidate or a version that awaits "
            "approval can; start a round for another one."
        )
    if in_service.version is None:
        raise IllegalMove(
            f"Version {version} has nothing to be tried against: no version is in service. "
            f"Approve version {version} as the first one instead."
        )
    other = running(session)
    if other is not None:
        raise IllegalMove(
            f"Version {version} cannot be tried while version {other.version} is on trial. "
            "Wait for its end, or stop it with `omniloop trials stop`."
        )
    check_way_is_free(session, release)
    forget_other_pairs(session, version, in_service.version)
    statement = insert_into(session, TrialRow).values(
        version=version,
        base_version=in_service.version,
        mode=mode,
        share=share,
        is_running=True,
        started_at=now,
        started_by=who,
        why=why,
    )
    write(session, statement)
    trial = running(session)
    assert trial is not None
    numbers = {"mode": mode, "share": share, "base_version": in_service.version}
    audit.add(
        session,
        who=who,
        action="start_trial",
        subject="trial",
        subject_id=trial.id,
        version=version,
        why=why,
        numbers=numbers,
        now=now,
    )
    payload = {"trial": trial.id, "version": version, "who": who, "why": why, **numbers}
    outbox.put(session, kind="notify", key=f"notify:trial:{trial.id}:started", payload=payload, now=now)
    return trial


def end(
    session: Session,
    *,
    who: str,
    outcome: str,
    now: datetime,
    why: str = "",
    numbers: Json | None = None,
    expect: int | None = None,
) -> Trial:
    """End the trial that runs. `IllegalMove` if none does, or another one than `expect` by id."""
    hold_the_loop(session)
    trial = running(session)
    if trial is None or expect not in (None, trial.id):
        raise IllegalMove("That trial does not run any more. See how it ended with `omniloop trials show`.")
    ended = end_any(session, outcome, who=who, why=why, numbers=numbers, now=now)
    assert ended is not None
    return ended


def get(session: Session, trial_id: int) -> Trial:
    """The trial with this id; `NotFound` if there is none."""
    found = fetch_one(session, Trial, rows_of(TrialRow).where(TrialRow.id == trial_id))
    if found is None:
        raise NotFound(f"There is no trial {trial_id}. List them with `omniloop trials show`.")
    return found


def last(session: Session) -> Trial | None:
    """The trial that runs, or else the one that was started last."""
    found = history(session, limit=1)
    return found[0] if found else None


def history(session: Session, *, version: int | None = None, limit: int = 100) -> list[Trial]:
    """Trials, the latest first; of one version, if one is named."""
    statement = rows_of(TrialRow).order_by(TrialRow.id.desc()).limit(limit)
    if version is not None:
        statement = statement.where(TrialRow.version == version)
    return fetch_all(session, Trial, statement)
