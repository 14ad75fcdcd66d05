"""The pages of the data: counts, faults, quarantine, one sample's story, and its deletion."""

from __future__ import annotations

import pytest

from db.errors import BlobMissing
from db.records import NewFault
from db.repository import audit, ingests, rounds, samples, stock
from tests.dashboards.places import Place


def actions(place: Place, subject: str, subject_id: str) -> list[tuple[str, str, str]]:
    with place.database.read() as session:
        lines = audit.history(session, subject=subject, subject_id=subject_id)
    return [(line.who, line.action, line.why) for line in lines]


def test_sources_are_counted_by_split_and_ingests_and_faults_are_told(lived_in: Place) -> None:
    with lived_in.as_("viewer") as client:
        told = client.get("/data.json").json()
        page = client.get("/data").text
    counts = {row["source"]: (row["num_train"], row["num_val"], row["num_test"]) for row in told["sources"]}
    assert counts == {"kiosk-en": (12, 0, 0), "kiosk-es": (12, 0, 0), "kiosk-fr": (0, 12, 0)}
    assert told["num_samples"] == 36
    assert told["num_faults"] == 1
    assert [ingest["path"] for ingest in told["ingests"]] == ["arrivals/m.jsonl"]
    assert "1 row could not be read" in page


def test_a_fault_is_shown_with_its_raw_line_as_text(lived_in: Place) -> None:
    with lived_in.database.write() as session:
        rows = [NewFault(manifest="manifest", line=line, reason="no id", raw=f"row {line}") for line in range(10, 80)]
        ingests.add_faults(session, rows, now=lived_in.clock())
    with lived_in.as_("viewer") as client:
        first = client.get("/data/faults?manifest=manifest")
        told = client.get("/data/faults.json").json()
        older = client.get(f"/data/faults?before={told['next_before']}")
        assert client.get("/data/faults?manifest=unknown").status_code == 404
        assert client.get("/data/faults?before=x").status_code == 422
    assert "row 79" in first.text
    assert "row 10" not in first.text
    assert "{&lt;script&gt;}" in older.text
    assert "{<script>}" not in older.text


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("id=s-00", [f"s-00{number}" for number in range(10)]),
        ("id=s-003", ["s-003"]),
        ("domain=fr&split=val&id=s-01", ["s-011", "s-014", "s-017"]),
        ("task=digit&id=s-03&domain=en", ["s-030", "s-033"]),
        ("id=%25", []),
        ("id=s-9", []),
    ],
)
def test_samples_are_found_by_id_domain_task_and_split(lived_in: Place, query: str, ids: list[str]) -> None:
    with lived_in.as_("viewer") as client:
        assert [sample["id"] for sample in client.get(f"/data.json?{query}").json()["found"]] == ids


def test_a_search_goes_on_page_by_page(lived_in: Place) -> None:
    with lived_in.database.read() as session:
        first = stock.search(session, task="digit", limit=20)
        second = stock.search(session, task="digit", after=first[-1].id, limit=20)
    assert [sample.id for sample in (*first, *second)] == [f"s-{number:03d}" for number in range(36)]


def test_a_samples_page_tells_its_whole_story(lived_in: Place) -> None:
    with lived_in.as_("viewer") as client:
        told = client.get("/data/sample.json?id=s-000").json()
        page = client.get("/data/sample?id=s-000").text
        assert client.get("/data/sample?id=nobody").status_code == 404
    assert told["sample"]["domain"] == "en"
    assert [(label["answer"], label["origin"]) for label in told["labels"]] == [("0", "manifest")]
    assert [row["round_id"] for row in told["memberships"]] == [4, 3, 2, 1]
    assert told["trained_versions"] == [1, 2, 3, 4]
    assert {row["version"] for row in told["predictions"]} == {1}
    assert "&lt;script&gt;alert" in page
    assert "<script>alert" not in page
    assert "Delete" not in page


def test_a_quarantine_of_a_round_is_lifted_by_an_admin_with_a_reason(lived_in: Place) -> None:
    with lived_in.as_("admin") as client:
        told = client.get("/data.json").json()["rounds"]
        assert [row["id"] for row in told] == [3, 2]
        assert all(row["num_labels"] > 0 for row in told)
        with lived_in.database.read() as session:
            seen = f"in quarantine since {rounds.get_round(session, 2).quarantined_at}"
        assert f'value="{seen}"' in client.get("/data").text
        assert client.post("/data/rounds/2/lift", data={"why": "", "seen": seen}).status_code == 422
        assert client.post("/data/rounds/2/lift", data={"why": "fine", "seen": "something else"}).status_code == 409
        assert client.post("/data/rounds/2/lift", data={"why": "looked at it", "seen": seen}).status_code == 303
        assert client.post("/data/rounds/2/lift", data={"why": "again", "seen": seen}).status_code == 409
        assert client.post("/data/rounds/99/lift", data={"why": "again", "seen": seen}).status_code == 404
    assert actions(lived_in, "round", "2")[-1] == ("admin", "lift_quarantine", "looked at it")


def test_a_sample_is_set_aside_and_used_again(lived_in: Place) -> None:
    with lived_in.as_("admin") as client:
        form = {"id": "s-002", "why": "<b>blurred</b>", "seen": "not in quarantine"}
        assert client.post("/data/sample/quarantine", data=form).status_code == 303
        assert client.post("/data/sample/quarantine", data=form).status_code == 409
        page = client.get("/data").text
        assert "&lt;b&gt;blurred&lt;/b&gt;" in page
        with lived_in.database.read() as session:
            assert "s-002" not in {sample.id for sample in samples.pool(session)}
            sample = samples.get(session, ["s-002"])[0]
        seen = f"in quarantine since {sample.quarantined_at}"
        assert client.post("/data/sample/lift", data=form | {"seen": seen}).status_code == 303
        assert client.post("/data/sample/lift", data=form | {"seen": seen}).status_code == 409
    done = [action for _, action, _ in actions(lived_in, "sample", "s-002")]
    assert done == ["quarantine", "lift_quarantine"]


def test_a_deletion_takes_the_bytes_along_and_says_who_has_learnt_it(lived_in: Place) -> None:
    with lived_in.database.read() as session:
        digests = list(samples.get(session, ["s-000"])[0].inputs.values())
    with lived_in.as_("admin") as client:
        page = client.get("/data/sample?id=s-000").text
        assert "it was learnt by v1, v2, v3, v4" in page
        form = {"id": "s-000", "why": "somebody asked", "seen": "not in quarantine"}
        assert client.post("/data/sample/delete", data=form | {"seen": "x"}).status_code == 409
        sent = client.post("/data/sample/delete", data=form, headers={"Accept": "application/json"})
        assert "v1, v2, v3, v4 learnt it" in sent.json()["message"]
        assert client.get("/data/sample?id=s-000").status_code == 404
        assert client.post("/data/sample/delete", data=form).status_code == 404
    for digest in digests:
        with pytest.raises(BlobMissing):
            lived_in.blobs.get(digest)
    assert actions(lived_in, "sample", "s-000") == [("admin", "delete", "somebody asked")]


def test_the_pages_send_a_handful_of_queries(lived_in: Place) -> None:
    with lived_in.as_("admin") as client:
        for path in ("/data?id=s-0", "/data/faults", "/data/sample?id=s-000"):
            assert lived_in.num_queries(client, path) <= 15, path
