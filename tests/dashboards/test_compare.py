"""Two versions beside each other: the numbers are of the same samples, and every difference can be looked at."""

import numpy as np
import pytest

from dashboards.evidence import Sheet, differing, joined, named
from db.repository import deletion
from tests.dashboards import lived
from tests.dashboards.places import START, Place

IDS = [f"s-{number:03d}" for number in range(lived.NUM_SAMPLES)]


def test_what_was_validated_together_is_shown_with_intervals_and_differences(lived_in: Place) -> None:
    paired = lived.outcomes(IDS, 1, 4, at=START)
    with lived_in.as_("viewer") as client:
        told = client.get("/compare.json?old=1&new=4").json()
        text = client.get("/compare?old=1&new=4").text
    assert told["how"] == "together"
    assert told["counts"]["all"] == int((paired.old.answer != paired.new.answer).sum())
    assert told["counts"]["lost"] + told["counts"]["won"] + told["counts"]["both"] == told["counts"]["all"]
    assert (len(told["differences"]), told["num_pages"]) == (10, 2)
    row = told["differences"][0]
    place = IDS.index(row["id"])
    assert row["old_answer"] == lived.ANSWERS[paired.old.answer[place]]
    assert row["new_answer"] == lived.ANSWERS[paired.new.answer[place]]
    assert row["label"] == lived.ANSWERS[paired.target[place]]
    assert "/media?sample=s-000&amp;modality=image" in text
    assert "<audio controls" in text
    assert "&lt;script&gt;alert(&#39;text&#39;)&lt;/script&gt;" in text
    assert told["live"]["num_both"] == 40


def test_asked_the_other_way_round_the_candidate_still_stands_on_the_right(lived_in: Place) -> None:
    with lived_in.as_("viewer") as client:
        told = client.get("/compare.json?old=4&new=1").json()
    assert (told["old"]["version"], told["new"]["version"]) == (1, 4)


def test_versions_validated_apart_are_compared_on_common_samples(lived_in: Place) -> None:
    with lived_in.as_("viewer") as client:
        told = client.get("/compare.json?old=2&new=4").json()
    old, new = lived.outcomes(IDS, 1, 2, at=START, worse=True).new, lived.outcomes(IDS, 1, 4, at=START).new
    assert told["how"] == "apart"
    assert told["num_common"] == 36
    accuracy = next(row for row in told["overall"] if row["metric"] == "accuracy")
    target = np.arange(36) % 10
    assert accuracy["old"] == pytest.approx((old.answer == target).mean())
    assert accuracy["new"] == pytest.approx((new.answer == target).mean())
    assert not [row for row in told["overall"] if row["metric"].startswith("latency")]


def test_kinds_of_differences_are_filtered_and_paged(lived_in: Place) -> None:
    with lived_in.as_("viewer") as client:
        won = client.get("/compare.json?old=1&new=4&kind=won").json()
        assert {row["who"] for row in won["differences"]} == {"new"}
        second = client.get("/compare.json?old=1&new=4&page=2").json()
        first = client.get("/compare.json?old=1&new=4").json()
        assert not {row["id"] for row in first["differences"]} & {row["id"] for row in second["differences"]}
        assert "There are no more of this kind" in client.get("/compare?old=1&new=4&page=9").text
        assert "both gave the same answers" in client.get("/compare?old=1&new=4&kind=both").text


def test_a_deleted_sample_is_told_as_deleted(lived_in: Place) -> None:
    with lived_in.as_("viewer") as client:
        gone = client.get("/compare.json?old=1&new=4").json()["differences"][0]["id"]
        with lived_in.database.write() as session:
            deletion.delete_sample(session, gone, who="admin", why="asked", now=lived_in.clock())
        told = client.get("/compare.json?old=1&new=4").json()["differences"][0]
        assert (told["id"], told["sample"]) == (gone, None)
        assert "has been deleted" in client.get("/compare?old=1&new=4").text


def test_without_evidence_it_is_said_plainly(place: Place) -> None:
    ids = lived.add_samples(place)
    lived.decided(place, lived.one_round(place, ids, base=None), "accepted", "first")
    lived.decided(place, lived.one_round(place, ids, base=None), "rejected", "reject")
    with place.as_("viewer") as client:
        told = client.get("/compare.json?old=1&new=2").json()
    assert told["how"] == "not"
    assert "nothing is kept of what v1 answered" in told["note"]
    assert told["overall"] == []


def test_a_version_is_not_compared_with_itself_or_with_one_that_is_not_there(lived_in: Place) -> None:
    with lived_in.as_("viewer") as client:
        assert client.get("/compare?old=1&new=1").status_code == 422
        assert client.get("/compare?old=1&new=88").status_code == 404
        assert client.get("/compare?old=1").status_code == 422
        assert client.get("/compare?old=1&new=4&kind=evil").status_code == 422


def test_only_samples_with_the_same_right_answer_are_joined() -> None:
    left, right = lived.outcomes(IDS, 1, 2, at=START), lived.outcomes(IDS[6:], 1, 3, at=START)
    sheets = [
        Sheet(version=version, outcomes=outcomes, is_new=True, names=lived.ANSWERS)
        for version, outcomes in ((2, left), (3, right))
    ]
    with pytest.raises(ValueError, match="no sample in common"):
        joined(*sheets)
    right.target[:] = left.target[6:]
    paired = joined(*sheets)
    assert paired.ids.tolist() == IDS[6:]
    assert paired.provenance.num_unpaired == 6
    assert len(differing(paired)) == int((left.new.answer[6:] != right.new.answer).sum())
    other = Sheet(version=3, outcomes=right, is_new=True, names=("a", "b"))
    with pytest.raises(ValueError, match="different ways"):
        joined(sheets[0], other)
    assert named(lived.ANSWERS, 11) == "answer 11"
