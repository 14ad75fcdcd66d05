"""A round that a person cancels while a run works on it: the run ends at its next transaction, and it is no failure."""

from collections.abc import Callable
from functools import wraps

from db.errors import IllegalMove
from db.records import Round
from db.repository import round_ends, rounds
from flows.workspace import Workspace

StepFunction = Callable[[Workspace, Round], None]


def cancel_round(ws: Workspace, round_id: int, *, who: str, why: str) -> Round:
    """Cancel an open round; ``db.errors.IllegalMove`` if it has ended already."""
    with ws.database.write() as session:
        return round_ends.cancel(session, round_id, who=who, why=why, now=ws.clock())


def until_cancelled(step: StepFunction) -> StepFunction:
    """The step, ended quietly when its round was cancelled meanwhile: what it was about to write is refused then."""

    @wraps(step)
    def run(ws: Workspace, round_: Round) -> None:
        try:
            step(ws, round_)
        except IllegalMove:
            with ws.database.read() as session:
                told = why_ended(rounds.get_round(session, round_.id), round_ends.who_cancelled(session, round_.id))
            if not told:
                raise
            ws.reporter.say(f"cancelled   {told} Nothing of it was promoted.")

    return run


def why_ended(round_: Round, told: str) -> str:
    """What is said of a cancelled round; empty for any other."""
    return (told or f"Round {round_.id} was cancelled.") if round_.outcome == round_ends.CANCELLED else ""
