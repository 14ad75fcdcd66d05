"""The spool: durable, bounded, nothing forgotten before the cloud has it, and nothing that it refuses for ever."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows.edge.cloud import CloudRefused, CloudSilent
from flows.edge.forms import EdgeLogOut, RowDone
from flows.edge.records import GivenFeedback, OtherFeedback, Part, Spooled, SpoolError, UnknownPrediction
from flows.edge.spool import Spool
from flows.edge.syncing import halves, hand_over
from flows.edge.tables import ROW_BYTES, refusals

ANSWERS = {"digit": ("1", "2")}
ALL = {"max_rows": 100, "max_bytes": 10**9}


def row(number: int, size: int = 100) -> Spooled:
    return Spooled(id=f"p{number}", body={"answer": "1"}, content={"text": bytes(size)})


def say(number: int, answer: str = "1") -> GivenFeedback:
    return GivenFeedback(prediction=f"p{number}", answer=answer, who="ann")


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path / "spool", max_bytes=10_000)
    yield opened
    opened.close()


def ids(spool: Spool) -> list[str]:
    return [each.id for each in spool.part(**ALL).predictions]


def test_feedback_waits_behind_its_prediction_and_counts_once(spool: Spool) -> None:
    spool.add(row(1), task="digit")
    assert spool.give_feedback(say(1), ANSWERS).result() is True
    assert spool.give_feedback(say(1), ANSWERS).result() is False
    with pytest.raises(OtherFeedback, match=r"'1', and the first one counts"):
        spool.give_feedback(say(1, "2"), ANSWERS).result()
    part = spool.part(**ALL)
    assert [each.prediction for each in part.feedback] == ["p1"]


def test_feedback_that_cannot_be_is_refused(spool: Spool) -> None:
    spool.add(row(1), task="digit")
    with pytest.raises(UnknownPrediction, match=r"no prediction 'p7'"):
        spool.give_feedback(say(7), ANSWERS).result()
    with pytest.raises(ValueError, match=r"'3' is no answer of task digit. It has 1, 2"):
        spool.give_feedback(say(1, "3"), ANSWERS).result()
    assert spool.counts().waiting_feedback == 0


def test_what_was_said_is_remembered_after_it_was_synced(spool: Spool) -> None:
    spool.add(row(1), task="digit")
    spool.give_feedback(say(1), ANSWERS).result()
    spool.settle({"p1": ""}, {"p1": ""})
    assert len(spool.part(**ALL)) == 0
    assert spool.give_feedback(say(1), ANSWERS).result() is False
    assert spool.counts().synced == 1


def test_feedback_on_what_is_synced_or_was_answered_by_the_cloud_goes_on_its_own(spool: Spool) -> None:
    spool.add(row(1), task="digit")
    spool.flush()
    spool.settle({"p1": ""}, {})
    spool.note("c1", task="digit")
    spool.give_feedback(say(1), ANSWERS).result()
    spool.give_feedback(GivenFeedback(prediction="c1", answer="2", who=""), ANSWERS).result()
    part = spool.part(**ALL)
    assert not part.predictions
    assert [each.prediction for each in part.feedback] == ["p1", "c1"]


def test_above_its_bytes_the_oldest_without_feedback_goes_first_and_is_counted(spool: Spool) -> None:
    for number in range(4):
        spool.add(row(number, 1_800), task="digit")
    spool.give_feedback(say(0), ANSWERS).result()
    spool.add(row(4, 1_800), task="digit")
    spool.flush()
    assert ids(spool) == ["p0", "p2", "p3", "p4"]
    assert spool.counts().dropped == 1
    assert spool.counts().waiting_bytes <= 10_000
    with pytest.raises(UnknownPrediction, match=r"p1 was dropped from the full spool"):
        spool.give_feedback(say(1), ANSWERS).result()


def test_a_spool_full_of_feedback_takes_no_more_of_it_and_loses_none(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s", max_bytes=4 * (ROW_BYTES + 200))
    num_taken = 0
    with pytest.raises((SpoolError, UnknownPrediction)):  # noqa: PT012  at which one, the sizes decide
        for number in range(10):
            spool.add(row(number), task="digit")
            spool.give_feedback(say(number), ANSWERS).result()
            num_taken += 1
    assert 0 < num_taken < 10
    assert len(spool.part(**ALL).feedback) == num_taken
    spool.close()


def test_a_part_is_bounded_in_rows_and_bytes_but_never_empty(spool: Spool) -> None:
    for number in range(3):
        spool.add(row(number, 1_000), task="digit")
    spool.flush()
    assert len(spool.part(max_rows=2, max_bytes=10**6).predictions) == 2
    assert len(spool.part(max_rows=9, max_bytes=1).predictions) == 1


def test_a_reopened_spool_goes_on_where_it_was(tmp_path: Path) -> None:
    first = Spool(tmp_path, max_bytes=10_000)
    edge = first.edge
    first.add(row(1), task="digit")
    first.give_feedback(say(1), ANSWERS).result()
    first.close()
    again = Spool(tmp_path, max_bytes=10_000)
    part = again.part(**ALL)
    assert (again.edge, ids(again), part.feedback[0].answer) == (edge, ["p1"], "1")
    assert part.predictions[0].content == {"text": bytes(100)}
    again.close()


def test_acknowledged_feedback_survives_a_kill(tmp_path: Path) -> None:
    script = f"""
import os, signal
from pathlib import Path
from flows.edge.records import GivenFeedback, Spooled
from flows.edge.spool import Spool
spool = Spool(Path({str(tmp_path)!r}), max_bytes=10**6)
for number in range(20):
    spool.add(Spooled(id=f"p{{number}}", body={{}}, content={{}}), task="digit")
    assert spool.give_feedback(GivenFeedback(prediction=f"p{{number}}", answer="1", who=""), {{}}).result()
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, timeout=60)
    assert done.returncode == -9
    again = Spool(tmp_path, max_bytes=10**6)
    assert len(again.part(**ALL).feedback) == len(ids(again)) == 20
    again.close()


def test_a_spool_of_another_release_is_refused(tmp_path: Path) -> None:
    Spool(tmp_path, max_bytes=1_000).close()
    with sqlite3.connect(tmp_path / "spool.db") as db:
        db.execute("UPDATE facts SET value = 99 WHERE name = 'schema'")
    db.close()
    with pytest.raises(SpoolError, match=r"schema 99.*name an empty folder with --spool"):
        Spool(tmp_path, max_bytes=1_000)


def test_a_folder_that_cannot_be_written_is_told_with_a_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match=r"cannot be opened.*--spool"):
        Spool(tmp_path / "file", max_bytes=1_000)


def refusing(poison: str) -> Callable[[Part], EdgeLogOut]:
    """A cloud that refuses any part with one prediction in it, and takes the others."""

    def send(part: Part) -> EdgeLogOut:
        if poison in {each.id for each in part.predictions}:
            raise CloudRefused("413: too large")
        return EdgeLogOut(
            predictions=[RowDone(prediction=each.id, state="new") for each in part.predictions],
            feedback=[RowDone(prediction=each.prediction, state="new") for each in part.feedback],
        )

    return send


def test_one_row_that_the_cloud_never_takes_is_kept_and_holds_up_no_other(spool: Spool, tmp_path: Path) -> None:
    for number in range(7):
        spool.add(row(number), task="digit")
    spool.give_feedback(say(3), ANSWERS).result()
    spool.give_feedback(say(5), ANSWERS).result()
    hand_over(spool.part(**ALL), refusing("p3"), spool)
    assert len(spool.part(**ALL)) == 0
    assert spool.counts().synced == 6
    assert "413: too large" in dict(refusals(tmp_path / "spool"))["p3"]


def test_there_is_no_feedback_on_what_the_cloud_refused(spool: Spool) -> None:
    spool.add(row(1), task="digit")
    spool.flush()
    spool.settle({"p1": "no such version"}, {})
    with pytest.raises(UnknownPrediction, match="refused by the cloud"):
        spool.give_feedback(say(1), ANSWERS).result()


def test_a_silent_cloud_changes_nothing(spool: Spool) -> None:
    spool.add(row(1), task="digit")
    spool.flush()

    def silent(_part: Part) -> EdgeLogOut:
        raise CloudSilent("nobody there")

    with pytest.raises(CloudSilent):
        hand_over(spool.part(**ALL), silent, spool)
    assert ids(spool) == ["p1"]


def test_halves_lose_nothing_and_send_answers_before_what_is_said_of_them() -> None:
    for num_answers, num_told in ((2, 0), (1, 1), (0, 2), (3, 2), (2, 5)):
        part = Part(
            predictions=tuple(row(number) for number in range(num_answers)),
            feedback=tuple(say(number) for number in range(num_told)),
        )
        first, second = halves(part)
        assert len(first)
        assert len(second)
        assert (*first.predictions, *second.predictions) == part.predictions
        assert (*first.feedback, *second.feedback) == part.feedback
        assert not (first.feedback and second.predictions)
