"""The two doors of the database: what gets through them, and what is said when something is wrong behind them."""

from __future__ import annotations

import shutil
import threading
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from db.engine import Database
from db.errors import DatabaseBusy, DatabaseUnavailable, NotFound, SchemaMismatch
from db.repository import releases, rounds, samples, tasks, triggers
from db.repository.common import hold_the_loop
from tests.db.builders import NOW, TASK, accepted, add_samples, candidate, sample


def test_a_write_that_raises_leaves_nothing(database: Database) -> None:
    def die() -> None:
        with database.write() as session:
            accepted(session)
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        die()
    with database.read() as session:
        assert releases.history(session) == []
        assert releases.serving(session).generation == 0


def test_a_reading_session_cannot_write(database: Database) -> None:
    with pytest.raises(DatabaseUnavailable, match=r"only reads.*Use Database.write"), database.read() as session:
        triggers.request(session, "drift", now=NOW)
    with database.write() as session:
        assert triggers.pending(session) == []


def test_a_reader_sees_one_picture_while_others_write(database: Database) -> None:
    with database.write() as session:
        accepted(session)
    with database.read() as reading:
        assert releases.serving(reading).version == 1
        with database.write() as writing:
            accepted(writing, "second", 1)
        assert releases.serving(reading).version == 1
    with database.read() as reading:
        assert releases.serving(reading).version == 2


def test_the_hook_is_called_around_every_commit_and_no_other_time(url: str) -> None:
    moments: list[str] = []
    database = Database(url, on_commit=moments.append)
    with database.read() as session:
        releases.serving(session)
    assert moments == []
    with database.write() as session:
        candidate(session, "first")
        assert moments == []
    assert moments == ["before", "after"]
    with pytest.raises(RuntimeError), database.write():
        raise RuntimeError
    assert moments == ["before", "after"]
    database.close()


def test_a_hook_that_raises_before_the_commit_stops_it(url: str) -> None:
    def stop(moment: str) -> None:
        if moment == "before":
            raise RuntimeError("stop")

    database = Database(url, on_commit=stop)
    with pytest.raises(RuntimeError, match="stop"), database.write() as session:
        triggers.request(session, "drift", now=NOW)
    with database.read() as session:
        assert triggers.pending(session) == []
    database.close()


def test_a_writer_that_waits_too_long_is_told_to_try_again(url: str) -> None:
    patient, impatient = Database(url), Database(url, busy_timeout_s=0.05)
    with patient.write() as holding:
        hold_the_loop(holding)
        with pytest.raises(DatabaseBusy, match=r"[Tt]ry again"), impatient.write() as session:
            hold_the_loop(session)
    with impatient.write() as session:
        hold_the_loop(session)
    patient.close()
    impatient.close()


def test_writers_in_threads_wait_for_each_other(database: Database) -> None:
    def ask() -> None:
        for _ in range(10):
            with database.write() as session:
                triggers.request(session, "drift", now=NOW)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as session:
        assert [trigger.num_requests for trigger in triggers.pending(session)] == [40]


def test_a_moment_without_a_time_zone_is_refused(database: Database) -> None:
    naive = datetime(2026, 1, 1)
    with pytest.raises(ValueError, match="needs a time zone"), database.write() as session:
        triggers.request(session, "drift", now=naive)


def test_a_value_that_json_cannot_say_is_refused(database: Database) -> None:
    with pytest.raises(ValueError, match="object cannot be remembered"), database.write() as session:
        triggers.request(session, "drift", now=NOW, detail={"what": object()})


def test_a_number_that_no_row_can_have_is_told_and_is_no_fault(database: Database) -> None:
    with pytest.raises((ValueError, NotFound), match=r"larger than any|no round"), database.read() as session:
        rounds.get_round(session, 10**20)


def test_missing_tables_are_told_as_such(empty_url: str) -> None:
    database = Database(empty_url)
    with pytest.raises(DatabaseUnavailable, match=r"tables are missing.*upgrade"), database.read() as session:
        releases.serving(session)
    with pytest.raises(SchemaMismatch, match="at nothing"):
        database.check()
    database.close()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_database_in_memory_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="forgets everything"):
        Database(url)


def test_other_databases_are_refused() -> None:
    with pytest.raises(ValueError, match="got 'mysql'"):
        Database("mysql://me@host/loop")
    with pytest.raises(ValueError, match="no database URL"):
        Database("loop.db")


def test_a_password_is_never_shown() -> None:
    database = Database("postgresql://me:secret@localhost:1/loop")
    assert "secret" not in database.url
    with pytest.raises(DatabaseUnavailable, match="Check that the server runs") as told:
        database.check()
    assert "secret" not in str(told.value)
    database.close()


def test_a_missing_folder_is_told_as_such(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/nowhere/loop.db")
    with pytest.raises(DatabaseUnavailable, match="Create its folder"):
        database.upgrade()
    database.close()


def test_a_file_that_is_no_database_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "loop.db").write_text("not a database, but long enough to be looked at by anyone" * 50)
    database = Database(f"sqlite:///{tmp_path}/loop.db")
    with pytest.raises(DatabaseUnavailable, match=r"no SQLite database\. Correct the path"):
        database.check()
    database.close()


def test_a_read_only_database_is_told_as_such_and_still_read(sqlite_file: Path) -> None:
    database = Database(f"sqlite:///file:{sqlite_file}?mode=ro&uri=true")
    told = "read-only. Make the file and its folder writable"
    with pytest.raises(DatabaseUnavailable, match=told), database.write() as session:
        triggers.request(session, "drift", now=NOW)
    with database.read() as session:
        assert triggers.pending(session) == []
    database.close()


def test_a_full_disk_loses_nothing(sqlite_file: Path) -> None:
    database = Database(f"sqlite:///{sqlite_file}")
    with database.write() as session:
        add_samples(session, "kept")
        pages = session.execute(text("PRAGMA page_count")).scalar_one()
        session.execute(text(f"PRAGMA max_page_count = {pages + 20}"))
    rows = [sample(f"s{number:05}", instruction="Which digit is it?" * 9) for number in range(2_000)]
    told = "disk is full. Free space.*Nothing of this transaction"
    with pytest.raises(DatabaseUnavailable, match=told), database.write() as session:
        samples.add_samples(session, rows, now=NOW)
    with database.write() as session:
        assert [entry.id for entry in samples.list_samples(session)] == ["kept"]
        session.execute(text("PRAGMA max_page_count = 1000000"))
    with database.write() as session:
        assert samples.add_samples(session, rows, now=NOW) == (2_000, 0)
    database.close()


def test_what_was_committed_is_in_a_copy_of_the_files(sqlite_file: Path, tmp_path: Path) -> None:
    """As after a power cut: the files as they lie on the disk, without the process that wrote them."""
    database = Database(f"sqlite:///{sqlite_file}")
    with database.write() as session:
        tasks.put_task(session, TASK)
    for file in sqlite_file.parent.glob(f"{sqlite_file.name}*"):
        shutil.copy(file, tmp_path / file.name)
    copy = Database(f"sqlite:///{tmp_path / sqlite_file.name}")
    with copy.read() as session:
        assert tasks.list_tasks(session) == [TASK]
    copy.close()
    database.close()
