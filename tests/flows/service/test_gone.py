"""A database that is gone for a while: answers go on, the log waits within its bounds, nothing that fitted is lost."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from db.repository import alerts, measurements, outbox, predictions
from flows.pulse import Pulse
from flows.reporter import SILENT
from flows.settings import Settings
from flows.workspace import Workspace, open_workspace
from omni_model.sample import Sample
from tests.db.servers import PostgresFactory
from tests.flows import homes
from tests.flows.service.running import running, wait_for

BODY = {"task": "digit", "inputs": {"text": "siete"}}
ROWS = 30

pytestmark = [pytest.mark.slow, pytest.mark.postgres]


class Switch:
    """A real PostgreSQL database that can be shut to everybody, with the connections that there are."""

    def __init__(self) -> None:
        self._factory = PostgresFactory()
        self.url = self._factory.empty()
        self._name = self.url.partition("?")[0].rpartition("/")[2]

    def shut(self) -> None:
        self._factory.run(
            f"ALTER DATABASE {self._name} ALLOW_CONNECTIONS false",
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{self._name}'",
        )

    def open(self) -> None:
        self._factory.run(f"ALTER DATABASE {self._name} ALLOW_CONNECTIONS true")

    def stop(self) -> None:
        self._factory.stop()


@pytest.fixture
def switch() -> Iterator[Switch]:
    found = Switch()
    yield found
    found.stop()


@pytest.fixture
def remote(switch: Switch, small: Path, monkeypatch: pytest.MonkeyPatch, labelled: list[Sample]) -> Iterator[Workspace]:
    """A home with v1 whose database is the one behind the switch."""
    monkeypatch.setenv("OMNI_DATABASE_URL", switch.url)
    monkeypatch.setenv("OMNI_SERVICE__LOG_ROWS", str(ROWS))
    monkeypatch.setenv("OMNI_NOTIFY__HEARTBEAT", "log")
    homes.build(small, labelled, [])
    opened = open_workspace(Settings.load(), SILENT)
    yield opened
    opened.database.close()


def num_logged(ws: Workspace) -> int:
    now = ws.clock()
    with ws.database.read() as session:
        return len(
            predictions.newest(session, now - timedelta(hours=1), now + timedelta(hours=1), version=1, limit=999)
        )


def test_answers_go_on_while_the_database_is_gone_and_the_log_catches_up(
    remote: Workspace, switch: Switch, caplog: pytest.LogCaptureFixture
) -> None:
    pulse = Pulse(remote)
    jobs: Mapping[str, Callable[[], object]] = {
        name: job for name, (_, job) in pulse.jobs.items() if name in ("notices", "rules", "tidy", "heartbeat")
    }
    with running(remote) as (client, live):
        for name, job in jobs.items():
            pulse.guarded(name, job)
        assert client.post("/v1/predict", json=BODY).status_code == 200
        wait_for(lambda: live.log.counts().num_written == 1, 10)
        switch.shut()
        slowest_s = 0.0
        with caplog.at_level(logging.INFO):
            for _ in range(2 * ROWS):
                began = time.monotonic()
                assert client.post("/v1/predict", json=BODY).status_code == 200
                slowest_s = max(slowest_s, time.monotonic() - began)
            for name, job in jobs.items():
                pulse.guarded(name, job)
        assert slowest_s < 2, "no answer waits for the database"
        assert client.get("/health/ready").status_code == 200
        refused = client.post("/v1/feedback", json={"prediction": "x", "answer": "7"})
        assert (refused.status_code, "Retry-After" in refused.headers) == (503, True)
        counts = live.log.counts()
        assert counts.num_waiting <= ROWS
        assert counts.num_dropped >= ROWS
        assert counts.num_failed == 0
        for name in jobs:
            assert f"The pulse's job {name!r} failed" in caplog.text
        assert "No alert could be left about it." in caplog.text
        assert "is alive" not in caplog.text, "the sign of life stays away: whoever waits for it raises the alarm"
        switch.open()
        wait_for(lambda: live.log.counts().num_waiting == 0, 20)
        for name, job in jobs.items():
            pulse.guarded(name, job)
        counts = live.log.counts()
        assert counts.num_written + counts.num_dropped == 1 + 2 * ROWS
        assert num_logged(remote) == counts.num_written
        assert client.post("/v1/predict", json=BODY).status_code == 200
    with remote.database.read() as session:
        assert [alert.name for alert in alerts.list_alerts(session, is_open=True)] == [], "no false alert afterwards"
        ended = alerts.list_alerts(session, is_open=False)
        assert {alert.fingerprint for alert in ended} == {f"pulse:{name}" for name in jobs}, "it is on record"
        assert all("DatabaseUnavailable" in alert.summary and alert.resolved_at for alert in ended)
        assert outbox.waiting(session, "notify") == []
        assert measurements.latest(session, "disk_used") is not None
