"""Named places where a process can be killed on purpose, to prove that a restart loses and doubles nothing.

``OMNI_FAILPOINT=name`` makes the first passage of that place end the process with SIGKILL, as the out-of-memory killer
would. Without the variable a failpoint does nothing.
"""

import os
import signal

FAILPOINTS = (
    "round.opened",
    "filter.scored",
    "filter.before_commit",
    "filter.committed",
    "label.committed",
    "tune.epoch",
    "tune.trained",
    "tune.stored",
    "tune.committed",
    "register.logged",
    "register.committed",
    "validate.measured",
    "validate.committed",
    "decide.before_commit",
    "decide.committed",
    "reconcile.projected",
    "reconcile.committed",
)
"""All of them, in the order in which a round passes them."""


def failpoint(name: str) -> None:
    """Die here if ``OMNI_FAILPOINT`` names this place."""
    if name not in FAILPOINTS:
        raise ValueError(f"{name!r} is not a failpoint. Add it to flows.failpoints.FAILPOINTS.")
    if os.environ.get("OMNI_FAILPOINT") == name:
        os.kill(os.getpid(), signal.SIGKILL)
