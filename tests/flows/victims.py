"""Processes that are killed on purpose. One server imports everything once and forks a victim for each order.

An order is a JSON line: the home, what to do (``act``), and where to die: at a failpoint of the product, or before or
after the n-th call of a function (``module:name``). The answer tells how the victim ended. Run as a module.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flows.workspace import Workspace

ROOT = Path(__file__).parents[2]
CHUNK_ROWS = 7
"""Rows that an ingest commits together here, so that a small manifest has many chunks."""


@dataclass(frozen=True, kw_only=True)
class Death:
    """Where a victim dies: around a call of a function."""

    function: str
    """``module:name`` or ``module:Class.name``."""
    call: int = 1
    """At which call, counted from 1."""
    after: bool = False
    """After the call has returned rather than before it begins."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a victim does, and how it dies."""

    home: str
    act: str
    """Name of a function in ``ACTS``."""
    answers: Mapping[str, str] = field(default_factory=dict)
    """What a person would answer, by sample id."""
    manifest: str = ""
    failpoint: str = ""
    death: Death | None = None
    fork: bool = True
    """False: the server itself does it, and all who come after find the libraries warm."""


class VictimServer:
    """The parent's end."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.flows.victims"],
            cwd=ROOT,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, order: Order) -> int:
        """Let a victim carry out an order; returns its exit status, negative for the signal that ended it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(order)) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def kill(self, order: Order) -> None:
        """Let a victim carry out an order, and see that it died on the way where it was to die."""
        assert self.run(order) == -signal.SIGKILL

    def close(self) -> None:
        """End the server."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()


# -- the victims' side ------------------------------------------------------------------------------------------------


def serve() -> None:
    """Fork a victim for each line of stdin and write how it ended to stdout."""
    import torch

    import flows.registry
    import flows.steps.rounds
    import flows.steps.watching  # noqa: F401
    import tests.flows.homes  # noqa: F401

    torch.set_num_threads(1)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin:
        raw = json.loads(line)
        order = Order(**{**raw, "death": Death(**raw["death"]) if raw["death"] else None})
        status = end_of_victim(order) if order.fork else live(order)
        print(status, file=answers, flush=True)


def end_of_victim(order: Order) -> int:
    """Fork a victim; returns how it ended."""
    pid = os.fork()
    if pid == 0:
        os._exit(live(order))
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def live(order: Order) -> int:
    """Carry out an order, unless death comes first; returns an exit status."""
    os.environ.update(OMNI_HOME=order.home, OMNI_FAILPOINT=order.failpoint)
    if order.death is not None:
        arrange(order.death)
    try:
        ACTS[order.act](order)
    except Exception:  # noqa: BLE001  whatever it is, the parent must learn of it
        traceback.print_exc()
        return 1
    return 0


def arrange(death: Death) -> None:
    """Wrap the function so that its n-th call is the victim's last."""
    module, _, path = death.function.partition(":")
    *owners, name = path.split(".")
    owner: Any = importlib.import_module(module)
    for part in owners:
        owner = getattr(owner, part)
    original = getattr(owner, name)
    num_calls = 0

    def last(*args: Any, **kwargs: Any) -> Any:
        nonlocal num_calls
        num_calls += 1
        if num_calls == death.call and not death.after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*args, **kwargs)
        if num_calls == death.call:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, last)


def whole_round(order: Order) -> None:
    """A round from its trigger to its decision, and the reconciler after it."""
    from flows.steps.reconciling import reconcile
    from tests.flows.homes import run_whole_round

    ws = opened()
    run_whole_round(ws, order.answers)
    reconcile(ws)


def read_manifest(order: Order) -> None:
    """Ingest a manifest in small chunks."""
    from flows.steps import ingesting

    ingesting.CHUNK_ROWS = CHUNK_ROWS
    ingesting.ingest(opened(), Path(order.manifest))


def look_at_probation(order: Order) -> None:
    """What the probation flow does."""
    from flows.steps.reconciling import reconcile
    from flows.steps.watching import watch_probation

    ws = opened()
    watch_probation(ws)
    reconcile(ws)


def opened() -> "Workspace":
    """The home of the order, which the environment names by now."""
    from flows.reporter import SILENT
    from flows.settings import Settings
    from flows.workspace import open_workspace

    return open_workspace(Settings.load(), SILENT)


ACTS: Mapping[str, Callable[[Order], None]] = {
    "round": whole_round,
    "ingest": read_manifest,
    "probation": look_at_probation,
}

if __name__ == "__main__":
    serve()
