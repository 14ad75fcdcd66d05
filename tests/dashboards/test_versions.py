"""The timeline of versions and the page of one: what is told is so, quick with a thousand, and safe to look at."""

from datetime import timedelta

import pytest

from db.models import ReleaseRow
from db.repository import artefacts, releases, versions
from db.repository.common import insert_new
from tests.dashboards import lived
from tests.dashboards.places import START, Place

IDS = [f"s-{number:03d}" for number in range(lived.NUM_SAMPLES)]


def many(place: Place, num: int) -> None:
    """So many rejected versions more."""
    rows = [
        {
            "version": 100 + number,
            "state": "rejected",
            "parent_version": 1,
            "digest": f"digest of {number}",
            "metrics": {"accuracy": 0.5},
            "created_at": START + timedelta(seconds=number),
            "updated_at": START + timedelta(seconds=number),
        }
        for number in range(num)
    ]
    with place.database.write() as session:
        insert_new(session, ReleaseRow, rows)


def test_the_timeline_tells_state_parent_reason_and_who(lived_in: Place) -> None:
    with lived_in.as_("viewer") as client:
        text, told = client.get("/versions").text, client.get("/versions.json").json()
    states = {line["release"]["version"]: line["release"]["state"] for line in told["lines"]}
    assert states == {4: "awaiting_approval", 3: "rolled_back", 2: "rejected", 1: "accepted"}
    assert list(states) == [4, 3, 2, 1]
    back = next(line for line in told["lines"] if line["release"]["version"] == 3)
    assert [move["to_state"] for move in back["moves"]] == ["rolled_back", "probation", "candidate"]
    assert "it fell by 8 %" in text
    assert "because &lt;b&gt;of&lt;/b&gt; the numbers" in text
    assert "<b>of</b>" not in text
    assert told["counts"] == {"rejected": 1, "awaiting_approval": 1, "accepted": 1, "rolled_back": 1}


def test_the_timeline_is_filtered_and_paged(lived_in: Place) -> None:
    many(lived_in, 1_000)
    with lived_in.as_("viewer") as client:
        told = client.get("/versions.json").json()
        assert (len(told["lines"]), told["next_before"], told["num_versions"]) == (40, 1060, 1004)
        older = client.get("/versions.json", params={"before": told["next_before"]}).json()
        assert older["lines"][0]["release"]["version"] == 1059
        waiting = client.get("/versions.json", params={"state": "awaiting_approval"}).json()
        assert [line["release"]["version"] for line in waiting["lines"]] == [4]
        assert client.get("/versions", params={"state": "asleep"}).status_code == 422
        assert "No version is in this state" in client.get("/versions?state=candidate").text


@pytest.mark.parametrize("path", ["/versions", "/versions/4", "/versions/1", "/compare?old=1&new=4"])
def test_queries_do_not_grow_with_what_there_is(lived_in: Place, path: str) -> None:
    with lived_in.as_("approver") as client:
        before = lived_in.num_queries(client, path)
        many(lived_in, 300)
        lived.traffic(lived_in, 4, IDS, num=500)
        assert lived_in.num_queries(client, path) == before <= 17, lived_in.queries


def test_a_version_is_told_with_its_evidence(lived_in: Place) -> None:
    with lived_in.as_("viewer") as client:
        told, text = client.get("/versions/4.json").json(), client.get("/versions/4").text
    validation = told["validation"]
    assert (validation["against"], validation["num_samples"], validation["verdict"]) == (1, 36, "inconclusive")
    accuracy = next(row for row in validation["overall"] if row["metric"] == "accuracy")
    assert accuracy["low"] < accuracy["change"] < accuracy["high"]
    assert accuracy["num_samples"] == 36
    confusion = validation["confusion"]
    assert sum(map(sum, confusion["counts"])) == confusion["num_samples"] == 36
    diagonal = sum(row[place] for place, row in enumerate(confusion["counts"]))
    assert diagonal == confusion["num_right"] == round(accuracy["new"] * 36)
    assert confusion["answers"] == list(lived.ANSWERS)
    assert [step["version"] for step in told["line"]] == [4, 1]
    assert told["line"][0]["learnt"] == {"selected": 6, "control": 2}
    assert {row["slice"] for row in validation["slices"]} >= {"domain=en", "domain=es", "domain=fr"}
    assert told["trial"]["mode"] == "shadow"
    assert told["agreement"]["num_both"] == 40
    assert "Confusion" in text


def test_a_first_version_has_nothing_to_be_compared_with(lived_in: Place) -> None:
    with lived_in.as_("viewer") as client:
        text, told = client.get("/versions/1").text, client.get("/versions/1.json").json()
    assert "Nothing was in service to compare it with" in text
    assert told["children"] == [4, 3, 2]
    assert told["reports"][0]["kind"] == "drift"
    assert 'href="/reports/1"' in text


def test_rules_and_card_are_shown_as_text(lived_in: Place) -> None:
    card = lived_in.blobs.put(b"# Card <script>alert(1)</script>")
    with lived_in.database.write() as session:
        now = lived_in.clock()
        detail = {
            "num_samples": 9,
            "num_situations": 2,
            "num_rules": 1,
            "rules": "if budget < 0.5: <b>text</b>",
            "tasks": {},
        }
        artefacts.put(session, 4, "msn", "0" * 64, now=now, detail=detail)
        artefacts.put(session, 4, "card", card, now=now)
    with lived_in.as_("viewer") as client:
        text = client.get("/versions/4").text
    assert "if budget &lt; 0.5: &lt;b&gt;text&lt;/b&gt;" in text
    assert "# Card &lt;script&gt;" in text
    assert "<script>alert" not in text


def test_lost_evidence_is_told_and_the_page_still_opens(lived_in: Place) -> None:
    with lived_in.database.read() as session:
        round_id = versions.get_release(session, 4).round_id
    assert round_id == 4
    with lived_in.as_("viewer") as client:
        comparisons = client.get("/versions/4.json").json()["round"]["outputs"]["validated"]["comparisons"]
        lived_in.blobs.delete(comparisons)
        answer = client.get("/versions/4")
        assert answer.status_code == 200
        assert "The comparisons cannot be read" in answer.text


def test_a_version_that_is_not_there_is_not_found(lived_in: Place) -> None:
    with lived_in.as_("viewer") as client:
        assert client.get("/versions/77").status_code == 404
        assert client.get(f"/versions/{2**70}").status_code == 422
        assert client.get("/versions/0").status_code == 422


def test_a_reason_with_markup_in_a_decision_is_only_text(lived_in: Place) -> None:
    why = "<img src=x onerror=alert(1)> \"'><script>"
    with lived_in.database.write() as session:
        releases.reject(session, 4, who="gate", why=why, now=lived_in.clock())
    with lived_in.as_("admin") as client:
        for path in ("/versions", "/versions/4", "/", "/compare?old=1&new=4"):
            text = client.get(path).text
            assert "<img src=x" not in text
            assert "<script>" not in text
