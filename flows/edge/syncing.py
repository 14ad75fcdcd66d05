"""Hands the spool to the cloud, oldest first, on a thread of its own; nothing is forgotten before the cloud has it.

The cloud stores a part in one transaction and takes each id once, so a part that is sent again, because either side was
killed in between, changes nothing. While the cloud is silent the pauses double. A part that it refuses as a whole is
halved until the row that it will never take is found; that one is kept, marked with the reason, and not sent again.
"""

import logging
import random
import threading
from collections.abc import Callable

from flows.edge.cloud import Cloud, CloudRefused, CloudSilent
from flows.edge.config import EdgeConfig
from flows.edge.forms import EdgeLogOut
from flows.edge.records import Part, SpoolError
from flows.edge.spool import Spool

logger = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.5


class Syncer:
    """Works from when it is made until `close`."""

    def __init__(self, spool: Spool, cloud: Cloud, config: EdgeConfig) -> None:
        self._spool, self._cloud, self._config = spool, cloud, config
        self._edge = spool.edge
        self._stop = threading.Event()
        self.silence = ""
        """Why the last try failed; empty if it did not."""
        self._thread = threading.Thread(target=self._run, name="sync", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread, after the part that is on its way; what waits goes on waiting in the spool."""
        self._stop.set()
        self._spool.changed.set()
        self._thread.join(self._config.drain_s)

    def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._stop.is_set():
            try:
                while not self._stop.is_set() and sync(self._spool, self._cloud, self._edge, self._config):
                    pass
            except (CloudSilent, SpoolError) as error:
                if not self.silence:
                    logger.warning("the spool waits for the cloud: %s", error)
                self.silence = str(error)
                self._stop.wait(pause_s * random.uniform(0.8, 1.2))
                pause_s = min(2 * pause_s, self._config.longest_pause_s)
                continue
            except Exception:
                logger.exception("syncing failed; it is tried again")
                self._stop.wait(pause_s)
                pause_s = min(2 * pause_s, self._config.longest_pause_s)
                continue
            if self.silence:
                logger.warning("the cloud takes the spool again")
            self.silence, pause_s = "", FIRST_PAUSE_S
            self._spool.changed.wait(self._config.sync_every_s)
            self._spool.changed.clear()
            self._stop.wait(0.05)  # what comes together goes together


def sync(spool: Spool, cloud: Cloud, edge: str, config: EdgeConfig) -> bool:
    """Hand over the oldest part; False if nothing waits. Raises :class:`CloudSilent`."""
    part = spool.part(max_rows=config.sync_rows, max_bytes=config.sync_bytes)
    if not part:
        return False
    hand_over(part, lambda some: cloud.send(edge, some), spool)
    return True


def hand_over(part: Part, send: Callable[[Part], EdgeLogOut], spool: Spool) -> None:
    """Send a part and settle what the cloud says of each row; halve one that it refuses as a whole."""
    try:
        done = send(part)
    except CloudRefused as error:
        if len(part) > 1:
            for half in halves(part):
                hand_over(half, send, spool)
            return
        logger.error("the cloud refuses a row for good: %s", error)
        spool.settle(
            {row.id: str(error) for row in part.predictions}, {row.prediction: str(error) for row in part.feedback}
        )
        return
    spool.settle(
        {row.prediction: _refusal(row.state, row.reason) for row in done.predictions},
        {row.prediction: _refusal(row.state, row.reason) for row in done.feedback},
    )


def halves(part: Part) -> tuple[Part, Part]:
    """Two parts of nearly equal size, answers before feedback, so that an answer is there before what is said of it."""
    rows = [*part.predictions, *part.feedback]
    middle = len(rows) // 2
    num = len(part.predictions)
    return (
        Part(predictions=part.predictions[:middle], feedback=part.feedback[: max(0, middle - num)]),
        Part(predictions=part.predictions[middle:], feedback=part.feedback[max(0, middle - num) :]),
    )


def _refusal(state: str, reason: str) -> str:
    return (reason or "the cloud gave no reason") if state == "refused" else ""
