"""The retention of what was measured and told: in pieces, by its settings, and nobody is told twice because of it."""

from dataclasses import replace

import pytest

from db.records import NewMeasurement, NewReport
from db.repository import measurements, notifications, outbox, reports
from flows.pulse import Pulse
from flows.settings import Settings
from flows.steps import tidying
from flows.steps.tidying import Tidied, tidy
from flows.workspace import Workspace
from tests.flows import homes


@pytest.fixture
def clock() -> homes.Clock:
    return homes.Clock()


@pytest.fixture
def timed(ws: Workspace, clock: homes.Clock) -> Workspace:
    return ws.with_(clock=clock)


def tell(ws: Workspace, key: str, group: str) -> bool:
    with ws.database.write() as session:
        is_new = notifications.tell(
            session, key=key, group_key=group, receiver="log", reason="firing", payload={}, now=ws.clock()
        )
        for message in outbox.waiting(session, notifications.KIND):
            outbox.done(session, message.id, now=ws.clock())
            notifications.delivered(session, message.key, now=ws.clock())
    return is_new


def test_a_turn_deletes_what_is_old_in_pieces_and_the_next_one_nothing(
    timed: Workspace, clock: homes.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tidying, "CHUNK", 2)
    rows = [NewMeasurement(metric="latency_p95", slice=f"s{n}", value=1.0, num_samples=1) for n in range(5)]
    with timed.database.write() as session:
        measurements.add(session, rows, now=clock())
    for number in range(5):
        tell(timed, f"notice-{number}", "g")
    digest = timed.blobs.put(b"a snapshot")
    report = NewReport(key="w", kind="drift", version=1, digest=digest, num_rows=30, num_reference=30, numbers={})
    with timed.database.write() as session:
        reports.add(session, report, now=clock())
    with timed.database.read() as session:
        validated = measurements.series(session, "validation_accuracy")
    assert tidy(timed) == Tidied()
    clock.wait(days=366)
    done = tidy(timed)
    assert (done.num_notices, done.num_reports) == (4, 1)
    assert done.num_measurements == 5
    assert done.num_messages >= 4
    assert not timed.blobs.exists(digest)
    assert tidy(timed) == Tidied()
    with timed.database.read() as session:
        assert measurements.series(session, "validation_accuracy") == validated
        assert measurements.series(session, "latency_p95") == []
    assert not tell(timed, "notice-4", "g"), "what was told last is not told again"


def test_days_of_0_keep_everything(timed: Workspace, clock: homes.Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOTICES", "SILENCES", "REPORTS"):
        monkeypatch.setenv(f"OMNI_KEEP__{name}_DAYS", "0")
    kept = timed.with_(settings=Settings.load())
    for number in range(3):
        tell(kept, f"notice-{number}", "g")
    clock.wait(days=10_000)
    assert replace(tidy(kept), num_measurements=0) == Tidied()


def test_the_pulse_tidies(timed: Workspace, clock: homes.Clock) -> None:
    for number in range(3):
        tell(timed, f"notice-{number}", "g")
    clock.wait(days=91)
    _, job = Pulse(timed).jobs["tidy"]
    job()
    with timed.database.read() as session:
        assert [entry.key for entry in notifications.list_notifications(session)] == ["notice-2"]
