"""``python -m flows.runner``: the process that starts a flow whenever Prefect says that it is due.

``omniloop up`` keeps it running. Every run is a process of its own, so a crash of one takes nothing else down.
"""

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path

from flows.deployments import SERVED, deployment
from flows.prefect_server import users_own
from flows.telemetry import silence
from flows.usual_schedules import make_usual

POLL_S = 5.0
BEAT_S = 2.0


async def serve(
    entrypoints: Sequence[str], *, poll_s: float = POLL_S, heartbeat: Path | None = None, usual: Path | None = None
) -> None:
    """Register the flows and run what falls due until the process is told to stop. Schedules stay active then.

    ``usual`` notes which of the usual schedules were made; without it none is. Once registered, ``heartbeat`` is
    touched every few seconds for as long as the loop turns.
    """
    from prefect.runner import Runner

    runner = Runner(name="omniloop", query_seconds=poll_s, pause_on_shutdown=False)
    for entrypoint in entrypoints:
        await runner.aadd_deployment(deployment(entrypoint))
    if usual is not None and (api := users_own()) is not None:
        await asyncio.to_thread(make_usual, api, usual, entrypoints)
    beating = asyncio.create_task(_beat(heartbeat)) if heartbeat else None
    try:
        await runner.start()
    finally:
        if beating:
            beating.cancel()


async def _beat(heartbeat: Path) -> None:
    while True:
        heartbeat.touch()
        await asyncio.sleep(BEAT_S)


def main(argv: Sequence[str] | None = None) -> None:
    """Serve the entry points on the command line, or all of :data:`flows.deployments.SERVED`."""
    parser = argparse.ArgumentParser(prog="python -m flows.runner", description=__doc__)
    parser.add_argument("entrypoints", nargs="*", default=list(SERVED), help="module paths of flows")
    parser.add_argument("--poll-s", type=float, default=POLL_S, help="seconds between looks at what is due")
    parser.add_argument("--heartbeat", type=Path, help="file to touch while alive")
    parser.add_argument("--usual", type=Path, help="file that notes which of the usual schedules were made")
    arguments = parser.parse_args(argv)
    silence()
    patience = {"poll_s": arguments.poll_s, "heartbeat": arguments.heartbeat, "usual": arguments.usual}
    asyncio.run(serve(arguments.entrypoints, **patience))


if __name__ == "__main__":
    main()
