"""What a killed service had not logged is known when it starts again."""

import multiprocessing
import os
import signal
from pathlib import Path

from flows.service.log_tally import LogTally


def be_killed(folder: Path, num_taken: int, num_settled: int) -> None:
    """Take and settle, then die."""
    tally = LogTally(folder)
    for _ in range(num_taken):
        tally.take()
    tally.settle(num_settled)
    os.kill(os.getpid(), signal.SIGKILL)


def kill_one(folder: Path, num_taken: int, num_settled: int) -> None:
    """In a process of its own."""
    process = multiprocessing.get_context("spawn").Process(target=be_killed, args=(folder, num_taken, num_settled))
    process.start()
    process.join(30)
    assert process.exitcode == -signal.SIGKILL


def test_what_a_killed_process_had_not_settled_is_told_once(tmp_path: Path) -> None:
    kill_one(tmp_path, 10, 7)
    first = LogTally(tmp_path)
    assert first.num_lost == 3
    assert LogTally(tmp_path).num_lost == 0


def test_losses_of_several_processes_add_up_over_restarts(tmp_path: Path) -> None:
    kill_one(tmp_path, 5, 1)
    kill_one(tmp_path, 0, 0)  # tells of the four, and takes nothing
    kill_one(tmp_path, 2, 0)
    assert LogTally(tmp_path).num_lost == 2


def test_a_process_that_lives_and_one_that_ended_well_have_lost_nothing(tmp_path: Path) -> None:
    living, ended = LogTally(tmp_path), LogTally(tmp_path)
    living.take()
    ended.take()
    ended.close()
    ended.settle(1)
    ended.close()
    assert LogTally(tmp_path).num_lost == 0


def test_a_damaged_file_counts_nothing_and_is_removed(tmp_path: Path) -> None:
    kill_one(tmp_path, 4, 0)
    (path,) = tmp_path.glob("*.tally")
    path.write_bytes(b"torn")
    assert LogTally(tmp_path).num_lost == 0
    assert not path.exists()
