"""One round from its trigger to its decision, step by step; a killed one goes on after the last step it reached."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy.orm import Session

from db.records import Release, Round
from db.repository import rounds, samples, triggers, versions
from flows.errors import NothingToDo
from flows.failpoints import failpoint
from flows.home import exclusive
from flows.steps.cancelling import StepFunction, until_cancelled
from flows.steps.carding import make_card
from flows.steps.deciding import Decision, decide
from flows.steps.evolving import proposal_digest, train_proposed
from flows.steps.labelling import finish_labelling, waiting_for_labels
from flows.steps.registering import register
from flows.steps.requesting import EVOLVE, RESUME, TRIGGERS, check_trigger
from flows.steps.selecting import filter_pool
from flows.steps.tuning import NothingToTrain, Superseded, train_first, tune_round
from flows.steps.validating import validate
from flows.tracing import tracing
from flows.workspace import Workspace


def plain(step: StepFunction) -> StepFunction:
    """The step as it is."""
    return step


@dataclass(frozen=True, kw_only=True)
class RoundReport:
    """Where a round stands after it was worked on."""

    round: Round
    decision: Decision | None
    num_labels_missing: int
    """Samples that wait for a label before the round can go on."""


def open_round(ws: Workspace, trigger: str, *, who: str = "") -> Round:
    """The round that is open, or a new one (``who`` asked). A trigger while one is open is answered by the next round.
    Raises :class:`NothingToDo` when the same trigger, data, base version and settings have had their round, and
    ``ValueError`` for a trigger that is not known.
    """
    check_trigger(trigger, *TRIGGERS, RESUME)
    now = ws.clock()
    with ws.database.write() as session:
        known = rounds.resume_target(session)
        if known is not None:
            if trigger not in (known.trigger, RESUME):
                triggers.request(session, trigger, now=now)
            return known
        if trigger == RESUME:
            raise NothingToDo("No round is open, so there is none to go on with. Start one with `omniloop retrain`.")
        base = versions.last_accepted(session)
        config, snapshot = round_config(ws), data_snapshot(session)
        if trigger == EVOLVE and base is not None:
            config |= {"proposal": proposal_digest(session, base.version)}
        key = digest([trigger, snapshot, base.version if base else None, config])
        round_, created = rounds.open_round(
            session,
            key=key,
            trigger=trigger,
            base_version=base.version if base else None,
            config=config,
            snapshot=snapshot,
            now=now,
        )
        if not created:
            raise NothingToDo(
                f"Round {round_.id} has answered {trigger!r} for this very data and these settings: {round_.outcome}. "
                "Ingest or label more samples first."
            )
        if who:
            triggers.ask(session, trigger, who=who, why="asked for at the terminal", now=now)
        triggers.take_trigger(session, now=now, round_id=round_.id)
    failpoint("round.opened")
    ws.reporter.say(f"round {round_.id:<5} opened by {trigger}, from {f'v{base.version}' if base else 'nothing'}")
    return round_


def run_round(
    ws: Workspace, trigger: str, *, wrap: Callable[[StepFunction], StepFunction] = plain, who: str = ""
) -> RoundReport:
    """Open or resume a round and take it as far as it goes: to its decision, or to where it waits for labels.

    ``wrap`` sees each step before it runs; a flow makes a task of it.
    """
    with exclusive(ws.home, "a round"):
        round_ = open_round(ws, trigger, who=who)
        return work_on(ws, round_, trigger, tuple(NEXT.values()), wrap)


def run_steps(ws: Workspace, *steps: StepFunction, trigger: str = RESUME, who: str = "") -> RoundReport:
    """Do just these steps of the open round, in order, as far as it goes; with a ``trigger``, of a new one if none is
    open. ``ValueError`` if it is not their turn.
    """
    with exclusive(ws.home, "a round"):
        if trigger != RESUME:
            open_round(ws, trigger, who=who)
        with ws.database.read() as session:
            round_ = rounds.resume_target(session)
        if round_ is None:
            raise ValueError("No round is open. Start one with `omniloop filter` or `omniloop retrain`.")
        due = NEXT[round_.step]
        if due not in steps:
            raise ValueError(f"Round {round_.id} is {round_.step}: its next step is `omniloop {COMMANDS[due]}`.")
        return work_on(ws, round_, trigger, steps)


def work_on(
    ws: Workspace,
    round_: Round,
    trigger: str,
    steps: tuple[StepFunction, ...],
    wrap: Callable[[StepFunction], StepFunction] = plain,
) -> RoundReport:
    """Do the steps that are due one after the other, until another is due or one did not bring the round further.

    All work on a round, of several processes too, is one trace, whose id is the round's key.
    """
    traces, about = tracing(ws.settings.tracing), {"omniloop.round": round_.id}
    try:
        with traces.step("round", {**about, "omniloop.trigger": trigger}, trace_id=round_.key):
            while round_.is_open and (step := NEXT.get(round_.step)) in steps:
                before = round_.step
                with traces.step(step.__name__.removeprefix("do_"), about) as trace:
                    wrap(until_cancelled(step))(ws, round_)
                    round_ = reread(ws, round_.id)
                    trace.tell(version_of(round_))
                if round_.step == before:
                    break
    finally:
        traces.close()
    return report_on(ws, round_)


def version_of(round_: Round) -> dict[str, Any]:
    """The version that a round made, as its span tells it; nothing before there is one."""
    registered = round_.outputs.get("registered")
    return {} if registered is None else {"omniloop.version": registered["version"], "omniloop.step": round_.step}


def report_on(ws: Workspace, round_: Round) -> RoundReport:
    """The report of a round as it stands."""
    with ws.database.read() as session:
        release = versions.release_of_round(session, round_.id)
    decided = round_.outputs.get("decided")
    decision = None
    if decided is not None and release is not None:
        decision = Decision(release=release, verdict=decided["verdict"], reasons=tuple(decided["reasons"]))
    missing = len(waiting_for_labels(ws, round_)) if round_.is_open else 0
    return RoundReport(round=round_, decision=decision, num_labels_missing=missing)


def do_filter(ws: Workspace, round_: Round) -> None:
    """opened → filtered; a first round has nothing to filter with and trains on what is labelled."""
    if round_.base_version is None:
        train_first(ws, round_)
    elif round_.trigger == EVOLVE:
        do_evolve(ws, round_)
    else:
        filter_pool(ws, round_)


def do_labels(ws: Workspace, round_: Round) -> None:
    """filtered → labelled, when enough labels are there."""
    if not finish_labelling(ws, round_):
        num_missing = len(waiting_for_labels(ws, round_))
        ws.reporter.say(f"label       {num_missing} samples wait for a label (`omniloop labels export`)")


def do_tune(ws: Workspace, round_: Round) -> None:
    """labelled → tuned; a round without enough new labels, or whose base was replaced, is closed instead."""
    try:
        tune_round(ws, round_)
    except NothingToTrain as reason:
        with ws.database.write() as session:
            rounds.close(session, round_.id, "nothing_to_train", now=ws.clock())
        ws.reporter.say(f"tune        {reason}")
    except Superseded as reason:
        with ws.database.write() as session:
            rounds.close(session, round_.id, "superseded", now=ws.clock())
            triggers.request(session, round_.trigger, now=ws.clock(), detail={"why": str(reason)})
        ws.reporter.say(f"tune        {reason}")


def do_evolve(ws: Workspace, round_: Round) -> None:
    """opened → tuned, with the architecture proposed for the base; a round without a proposal is closed instead."""
    try:
        train_proposed(ws, round_)
    except NothingToTrain as reason:
        with ws.database.write() as session:
            rounds.close(session, round_.id, "nothing_to_train", now=ws.clock())
        ws.reporter.say(f"evolve      {reason}")


def do_register(ws: Workspace, round_: Round) -> None:
    """tuned → registered."""
    register(ws, round_)


def do_validate(ws: Workspace, round_: Round) -> None:
    """registered → validated."""
    validate(ws, round_, candidate(ws, round_))


def do_decide(ws: Workspace, round_: Round) -> None:
    """validated → decided and closed, and the version's model card made."""
    decision = decide(ws, round_, candidate(ws, round_))
    try:
        make_card(ws, decision.release.version)
    except Exception as error:  # noqa: BLE001  the decision stands, whatever the card fails for
        ws.reporter.say(f"card        none was made ({error}); try `omniloop models card {decision.release.version}`")


NEXT: dict[str, StepFunction] = {
    "opened": do_filter,
    "filtered": do_labels,
    "labelled": do_tune,
    "tuned": do_register,
    "registered": do_validate,
    "validated": do_decide,
}
"""What to do with a round by the last step that is done."""

COMMANDS: dict[StepFunction, str] = {
    do_filter: "filter",
    do_labels: "finetune",
    do_tune: "finetune",
    do_register: "finetune",
    do_validate: "validate",
    do_decide: "release",
}
"""The command that does a step by itself."""


def candidate(ws: Workspace, round_: Round) -> Release:
    """The version that the round made."""
    with ws.database.read() as session:
        return versions.get_release(session, round_.outputs["registered"]["version"])


def reread(ws: Workspace, round_id: int) -> Round:
    """The round as the database has it now."""
    with ws.database.read() as session:
        return rounds.get_round(session, round_id)


def round_config(ws: Workspace) -> dict[str, Any]:
    """The settings that a round's result depends on."""
    settings = ws.settings
    parts = {name: getattr(settings, name) for name in ("loop", "model", "train", "elastic", "selection", "gate")}
    return json.loads(json.dumps({name: asdict(part) for name, part in parts.items()}))  # type: ignore[no-any-return]


def data_snapshot(session: Session) -> str:
    """Digest of what there is to learn from: every sample or label that comes, goes or is quarantined changes it."""
    return digest(samples.fingerprint(session))


def digest(value: object) -> str:
    """BLAKE2b of a JSON-able value."""
    return hashlib.blake2b(json.dumps(value, sort_keys=True, default=str).encode(), digest_size=16).hexdigest()
