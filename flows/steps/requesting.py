"""Asking for a round: which words may ask, and how a request is left for whoever opens the next one."""

from db.records import Trigger
from db.repository import triggers
from flows.workspace import Workspace

EVOLVE = "evolve"
"""Asks for a round whose candidate has another architecture; `flows.evolve` proposes it first."""
TRIGGERS = ("manual", "schedule", "new_labels", "drift", "performance", EVOLVE)
"""What may ask for a round."""
RESUME = "resume"
"""Asks for no round, only that an open one goes on."""


def check_trigger(trigger: str, *allowed: str) -> None:
    """Refuse a word that asks for nothing we know.

    >>> check_trigger("drift", *TRIGGERS)
    >>> check_trigger("weather", "drift", "manual")
    Traceback (most recent call last):
    ValueError: There is no trigger 'weather'. Use one of drift, manual.
    """
    if trigger not in allowed:
        raise ValueError(f"There is no trigger {trigger!r}. Use one of {', '.join(allowed)}.")


def request_round(ws: Workspace, trigger: str, *, who: str = "", why: str = "somebody asked for it") -> Trigger:
    """Leave a request for a round; those of one kind that wait together count as one."""
    check_trigger(trigger, *TRIGGERS)
    with ws.database.write() as session:
        if who:
            return triggers.ask(session, trigger, who=who, why=why, now=ws.clock())
        return triggers.request(session, trigger, now=ws.clock())
