"""Rounds: the list, one round's story, its curves, and the decision judged again."""

import os

import pytest

from db.records import NewMeasurement
from db.repository import audit, measurements, rounds, versions
from tests.dashboards import lived
from tests.dashboards.places import Place

OPEN, REJECTED, ROLLED_BACK, AWAITING = 5, 2, 3, 4
"""Rounds of the lived-in site."""


def alive(place: Place, *, ago_s: float = 1.0) -> None:
    """The pulse gave a sign so many seconds ago."""
    sign = place.wiring.home / "up" / "pulse.alive"
    sign.parent.mkdir(exist_ok=True)
    sign.touch()
    at = place.clock.now.timestamp() - ago_s
    os.utime(sign, (at, at))


def told(place: Place, path: str, role: str = "viewer") -> dict[str, object]:
    with place.as_(role) as browser:
        answer = browser.get(path)
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()
    return found


# -- looking ----------------------------------------------------------------------------------------------------------


def test_an_empty_site_has_no_rounds_and_says_what_the_first_does(place: Place) -> None:
    with place.as_("operator") as browser:
        text = browser.get("/rounds").text
        assert browser.get("/rounds/1").status_code == 404
    assert "No round yet" in text
    assert "trains the first version" in text


def test_the_list_has_every_round_with_its_labels_version_and_end(lived_in: Place) -> None:
    with lived_in.as_("viewer") as browser:
        page, text = browser.get("/rounds.json").json(), browser.get("/rounds").text
        num = lived_in.num_queries(browser, "/rounds")
    lines = {line["id"]: line for line in page["lines"]}
    assert list(lines) == [5, 4, 3, 2, 1]
    assert (lines[OPEN]["num_labels"], lines[OPEN]["num_asked"], lines[OPEN]["does"]) == (0, 12, "getting labels")
    assert (lines[REJECTED]["outcome"], lines[REJECTED]["is_quarantined"]) == ("rejected", True)
    assert lines[ROLLED_BACK]["release"]["state"] == "rolled_back"
    assert [trigger["kind"] for trigger in page["waiting"]] == ["drift"]
    assert "the pictures look different" in text
    assert "Run a round now" not in text, "a viewer may not"
    assert num <= 12


def test_older_rounds_are_on_the_next_page_and_cost_no_more_queries(place: Place) -> None:
    with place.database.write() as session:
        for number in range(40):
            round_, _ = rounds.open_round(
                session, key=str(number), trigger="drift", base_version=None, config={}, snapshot="s", now=place.clock()
            )
            rounds.close(session, round_.id, "nothing_to_train", now=place.clock())
    with place.as_("viewer") as browser:
        first = browser.get("/rounds.json").json()
        assert (len(first["lines"]), first["next_before"]) == (30, 11)
        rest = browser.get("/rounds.json?before=11").json()
        assert place.num_queries(browser, "/rounds") <= 12
    assert ([line["id"] for line in rest["lines"]], rest["next_before"]) == (list(range(10, 0, -1)), None)


def test_a_story_is_told_from_who_asked_to_what_came_of_it(lived_in: Place) -> None:
    with lived_in.as_("viewer") as browser:
        text, page = browser.get(f"/rounds/{ROLLED_BACK}").text, browser.get(f"/rounds/{ROLLED_BACK}.json").json()
        num = lived_in.num_queries(browser, f"/rounds/{ROLLED_BACK}")
    assert page["askers"] == ["operator"]
    assert (page["chosen"]["num"], page["control"]["num"]) == (6, 2)
    assert page["chosen"]["members"][0]["score"] == 0.9
    assert page["chosen"]["members"][0]["answer"] == "0"
    assert [entry["action"] for entry in page["life"]] == ["candidate", "probation", "rolled_back"]
    assert page["life"][-1]["why"] == "it fell by 8 %"
    assert "somebody asked" in text
    assert "&lt;script&gt;alert" in text
    assert "<script>alert" not in text
    assert "because &lt;b&gt;of&lt;/b&gt;" in text
    assert num <= 15


def test_the_evidence_is_told_with_interval_limit_and_words(lived_in: Place) -> None:
    with lived_in.as_("viewer") as browser:
        gate = browser.get(f"/rounds/{REJECTED}.json").json()["gate"]
        text = browser.get(f"/rounds/{REJECTED}").text
    rows = {(row["metric"], row["slice"]): row for row in gate["rows"]}
    accuracy = rows["accuracy", "all"]
    assert accuracy["num_samples"] == lived.NUM_SAMPLES
    assert accuracy["new"] < accuracy["old"]
    assert accuracy["sentence"] in text
    assert accuracy["plot"]["low"] <= accuracy["plot"]["change"] <= accuracy["plot"]["high"]
    assert accuracy["plot"]["change"] < accuracy["plot"]["limit"] < accuracy["plot"]["zero"], "a fall beyond the limit"
    assert text.count('class="interval"') >= 4


def test_a_decision_is_judged_again_beside_the_original_and_nothing_moves(lived_in: Place) -> None:
    with lived_in.database.write() as session:
        before = audit.history(session, subject="release")
    path = f"/rounds/{REJECTED}.json?max_relative_fall=0.9&confidence=0.9"
    lived_in.wiring.gate["min_items"] = 10  # type: ignore[index]
    page = told(lived_in, path)
    gate, replay = page["gate"], page["replay"]
    assert isinstance(gate, dict)
    assert isinstance(replay, dict)
    assert (gate["decision"], gate["max_relative_fall"]) == ("reject", 0.05)
    assert (replay["max_relative_fall"], replay["confidence"]) == (0.9, 0.9)
    assert replay["decision"] != "reject", "so large a fall is allowed there"
    with lived_in.database.read() as session:
        assert audit.history(session, subject="release") == before
        release = versions.release_of_round(session, REJECTED)
    assert release is not None
    assert release.state == "rejected"


@pytest.mark.parametrize("query", ["max_relative_fall=0", "max_relative_fall=nan", "confidence=95", "confidence=x"])
def test_limits_that_mean_nothing_are_refused(lived_in: Place, query: str) -> None:
    with lived_in.as_("viewer") as browser:
        assert browser.get(f"/rounds/{REJECTED}?{query}").status_code == 422


def test_lost_evidence_is_told_and_the_page_stays(lived_in: Place) -> None:
    with lived_in.database.read() as session:
        digest = rounds.get_round(session, REJECTED).outputs["validated"]["comparisons"]
    lived_in.blobs.delete(digest)
    page = told(lived_in, f"/rounds/{REJECTED}.json")
    assert "cannot be read" in str(page["evidence_problem"])
    assert page["gate"] is None


# -- curves -----------------------------------------------------------------------------------------------------------


def tell(place: Place, epoch: int, loss: float, training: str) -> None:
    rows = [
        NewMeasurement(metric=metric, value=value, slice=f"round={OPEN}", detail={"epoch": epoch, "training": training})
        for metric, value in (("training_loss", loss), ("validation_loss", float("nan")), ("validation_accuracy", 0.5))
    ]
    with place.database.write() as session:
        measurements.add(session, rows, now=place.clock())


def test_a_training_that_runs_is_drawn_by_epoch_and_one_taken_up_again_has_no_epoch_twice(lived_in: Place) -> None:
    for epoch, loss in ((1, 3.0), (2, 2.0), (3, 1.5), (2, 1.9), (3, 1.4), (4, 1.0)):
        tell(lived_in, epoch, loss, "a")
    chart = told(lived_in, f"/rounds/{OPEN}/loss.json")
    assert (chart["x"], chart["times"]) == ("epoch", [1, 2, 3, 4])
    assert chart["series"] == [
        {"name": "training", "values": [3.0, 1.9, 1.4, 1.0]},
        {"name": "validation", "values": [None, None, None, None]},
    ]
    tell(lived_in, 1, 2.5, "b")
    assert told(lived_in, f"/rounds/{OPEN}/loss.json")["times"] == [1], "a training that began anew has a new curve"


def test_a_finished_training_is_drawn_from_its_own_history(lived_in: Place) -> None:
    chart = told(lived_in, f"/rounds/{REJECTED}/accuracy.json")
    assert chart["series"] == [{"name": "validation", "values": [0.3, 0.6, pytest.approx(0.9)]}]
    with lived_in.as_("viewer") as browser:
        lines = browser.get(f"/rounds/{REJECTED}/loss.csv").text.split()
    assert (lines[0], lines[1]) == ("epoch,training,validation", "1,3.0,3.2")
