"""``python -m flows.pulse``: what happens by itself between the rounds. ``omniloop up`` keeps it running.

Short jobs, one after the other in one thread: deliver the outbox and its notices, watch a probation, judge a trial,
hold the rules to what is measured, check the triggers, start the round that is due, fit a selector that is missing,
forget what was kept long enough, and say that all is well by touching a file. A job that fails is told of, by the
log and by an alert, and tried again when it is due again. Every job can be cut off at any point: all that it does is
in transactions.
"""

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC
from pathlib import Path

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from db.repository import mirrors, outbox, trials, versions
from flows.home import HomeError, exclusive
from flows.job_alerts import JobAlerts
from flows.refitting import Refitter
from flows.round_runs import prefect_runs
from flows.settings import Settings, SettingsError
from flows.starting import Starter
from flows.steps.heartbeat import send_heartbeat
from flows.steps.notifying import notify
from flows.steps.tidying import tidy
from flows.steps.triggering import check_triggers
from flows.steps.watching_rules import watch_rules
from flows.telemetry import silence
from flows.workspace import Workspace, open_workspace

logger = logging.getLogger(__name__)

BEAT_S = 2.0
OURS = ("omniloop", "flows")
"""Loggers whose lines about what was done go into the pulse's log."""


class Pulse:
    """The jobs, and what they remember from one time to the next."""

    def __init__(self, ws: Workspace, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._ws = ws
        self._monotonic = monotonic
        self._starter = Starter(ws, lambda: prefect_runs(ws.home), monotonic)
        self._refitter = Refitter(ws, monotonic=monotonic)
        self._stop = threading.Event()
        self._working: tuple[str, float] | None = None
        self._told = JobAlerts(ws)
        self._reconciled = monotonic()
        self._watched: tuple[int, frozenset[str]] | None = None

    @property
    def jobs(self) -> dict[str, tuple[float, Callable[[], object]]]:
        """Each job by name: the seconds between two of its turns, and what it does."""
        config, told = self._ws.settings.pulse, self._ws.settings.notify
        return {
            "deliver": (config.deliver_s, self.deliver),
            "notices": (config.deliver_s, lambda: notify(self._ws)),
            "probation": (config.probation_s, self.watch),
            "trials": (config.probation_s, self.judge),
            "forget": (config.forget_s, self.forget),
            "tidy": (config.tidy_s, lambda: tidy(self._ws)),
            "triggers": (config.triggers_s, lambda: check_triggers(self._ws)),
            "rounds": (config.rounds_s, self._starter.step),
            "selectors": (config.selectors_s, self._refitter.step),
            "rules": (config.rules_s, lambda: watch_rules(self._ws)),
            "probe": (config.probe_s, self.probe),
            **({"heartbeat": (told.heartbeat_s, lambda: send_heartbeat(self._ws))} if told.heartbeat else {}),
        }

    def deliver(self) -> bool:
        """Reconcile if a message is due, or if it is time again; says whether it did."""
        config = self._ws.settings.pulse
        with self._ws.database.read() as session:
            is_due = outbox.is_due(session, "mlflow_alias", now=self._ws.clock())
            is_time = self._monotonic() - self._reconciled >= config.reconcile_s and bool(versions.history(session))
        if not (is_due or is_time):
            return False
        from flows.steps.reconciling import reconcile

        self._reconciled = self._monotonic()
        reconcile(self._ws)
        return True

    def watch(self) -> bool:
        """Score feedback on the version on probation if there is new one; says whether it did."""
        with self._ws.database.read() as session:
            release = versions.on_probation(session)
            waiting = set() if release is None else mirrors.unscored(session, release.version)
        if release is None:
            self._watched = None
            return False
        version, left_over = self._watched or (0, frozenset[str]())
        if version == release.version and waiting <= left_over:
            return False
        from flows.steps.watching import watch_probation

        watch_probation(self._ws)
        with self._ws.database.read() as session:
            self._watched = release.version, frozenset(mirrors.unscored(session, release.version))
        return True

    def judge(self) -> bool:
        """Judge the trial that runs; says whether one does."""
        with self._ws.database.read() as session:
            if trials.running(session) is None:
                return False
        from flows.steps.trialling import judge_trial

        return judge_trial(self._ws) is not None

    def forget(self) -> bool:
        """Delete what the log has kept long enough; says whether it may have."""
        if self._ws.settings.service.log_days == 0:
            return False
        from flows.steps.forgetting import forget_old

        forget_old(self._ws)
        return True

    def probe(self) -> int:
        """Ask recent samples again; torch is imported when there is something to ask."""
        from flows.steps.probing import probe

        return probe(self._ws)

    def guarded(self, name: str, job: Callable[[], object]) -> None:
        """Do a job; a failure is logged and becomes an alert, which ends with the job's next success."""
        if self._stop.is_set():
            return
        self._working = name, self._monotonic()
        try:
            job()
            self._told.succeeded(name)
        except Exception as error:  # noqa: BLE001  whatever it is, the other jobs must go on
            self._told.failed(name, error)
        finally:
            self._working = None

    def run(self, heartbeat: Path | None = None) -> None:
        """Do the jobs until :meth:`stop` is called or a signal comes."""
        scheduler = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(1)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone=UTC,
        )
        for name, (seconds, job) in self.jobs.items():
            scheduler.add_job(self.guarded, "interval", (name, job), seconds=seconds, id=name)
        scheduler.start()
        try:
            while not self._stop.wait(BEAT_S):
                if heartbeat is not None and not self.is_stuck:
                    heartbeat.touch()
        finally:
            self._stop.set()
            scheduler.shutdown(wait=False)

    def stop(self) -> None:
        """Begin no further job."""
        self._stop.set()

    @property
    def is_stuck(self) -> bool:
        """Does a job take longer than a job may?"""
        working = self._working
        return working is not None and self._monotonic() - working[1] > self._ws.settings.pulse.job_limit_s

    def idle_within(self, seconds: float) -> bool:
        """Wait for the job that is going on, if one is; says whether it ended in time."""
        deadline = time.monotonic() + seconds
        while self._working is not None and time.monotonic() < deadline:
            time.sleep(0.05)
        return self._working is None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the pulse of the home that ``OMNI_HOME`` names until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m flows.pulse", description=__doc__)
    parser.add_argument("--heartbeat", type=Path, help="file to touch while alive")
    arguments = parser.parse_args(argv)
    silence()
    try:
        settings = Settings.load()
        logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        for name in OURS:
            logging.getLogger(name).setLevel(min(logging.INFO, logging.getLogger().level))
        logging.getLogger("apscheduler").setLevel(logging.ERROR)  # that a turn was skipped is no news
        ws = open_workspace(settings)
        with exclusive(ws.home, "the pulse"):
            return keep(ws, arguments.heartbeat)
    except (HomeError, SettingsError) as error:
        logger.error("%s", error)
        return 1


def keep(ws: Workspace, heartbeat: Path | None) -> int:
    """Run until a signal comes; a job that does not end in time is cut off."""
    pulse = Pulse(ws)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: pulse.stop())
    pulse.run(heartbeat)
    if not pulse.idle_within(ws.settings.pulse.stop_s):
        logger.warning("A job was still going on and is cut off; it will be done again.")
        logging.shutdown()
        os._exit(0)
    ws.database.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
