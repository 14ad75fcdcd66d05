"""Label Studio's format: out with media and config, in as labels, and all or nothing."""

from __future__ import annotations

import base64
import json
from typing import Any
from xml.etree import ElementTree

import pytest
from starlette.testclient import TestClient

from db.label_studio import ImportRefused, read, result
from db.repository import audit, disagreements, label_queue, labels
from tests.dashboards import lived
from tests.dashboards.places import Place

TWO = {"type": "choices", "value": {"choices": ["a", "b"]}}
"""Two answers at once."""


def task(sample_id: str, *answers: tuple[str, Any], cancelled: bool = False) -> dict[str, Any]:
    """A task as Label Studio exports it, with an annotation for each (answer, annotator)."""
    made = [
        {"id": number, "completed_by": who, "result": result(answer), "was_cancelled": cancelled, "ground_truth": False}
        for number, (answer, who) in enumerate(answers)
    ]
    return {"id": 1, "data": {"sample_id": sample_id}, "annotations": made, "predictions": [], "drafts": []}


def send(client: TestClient, tasks: Any) -> Any:
    """Import as the page does, with an uploaded file."""
    content = tasks if isinstance(tasks, bytes) else json.dumps(tasks).encode()
    file = {"file": ("export<script>.json", content, "application/json")}
    return client.post("/labels/label-studio/import", files=file, headers={"Accept": "application/json"})


def in_force(place: Place, *ids: str) -> dict[str, tuple[str, str]]:
    with place.database.read() as session:
        return {id_: (label.answer, label.origin) for id_, label in labels.active_labels(session, ids).items()}


def test_what_waits_goes_out_as_tasks_with_their_media(lived_in: Place) -> None:
    with lived_in.as_("labeller") as client:
        answer = client.get("/labels/label-studio/tasks?task=digit")
    assert "attachment" in answer.headers["content-disposition"]
    tasks = answer.json()
    assert len(tasks) == 12
    data = tasks[0]["data"]
    assert (data["sample_id"], data["task"], data["text"]) == ("s-001", "digit", "sample 1")
    kind, _, content = data["image"].partition(";base64,")
    assert kind == "data:image/png"
    assert base64.b64decode(content) == lived.picture(1)
    assert all("predictions" not in each and "annotations" not in each for each in tasks)


def test_links_suggestions_and_labels_are_there_if_asked_for(lived_in: Place) -> None:
    with lived_in.as_("labeller") as client:
        path = "/labels/label-studio/tasks?what=labelled&media=links&suggestions=true"
        with lived_in.database.write() as session:
            labels.add_label(session, "s-001", "7", "human:ann", now=lived_in.clock())
        found = {each["data"]["sample_id"]: each for each in client.get(path).json()}
        mine = found["s-001"]
        assert mine["data"]["image"].startswith("http://127.0.0.1:8766/media?sample=s-001")
        assert mine["annotations"][0]["result"] == result("7")
        assert {each["model_version"] for each in mine["predictions"]} == {"v1"}
        assert client.get("/labels/label-studio/tasks?what=everything").status_code == 422
        assert client.get("/labels/label-studio/tasks?task=nothing").status_code == 404


def test_the_config_asks_for_one_of_the_answers(lived_in: Place) -> None:
    with lived_in.as_("labeller") as client:
        view = ElementTree.fromstring(client.get("/labels/label-studio/config?task=digit").text)
    choices = view.find("Choices")
    assert choices is not None
    assert [choice.get("value") for choice in choices] == list(lived.ANSWERS)
    assert {each.tag for each in view} == {"Text", "Image", "Audio", "Choices"}
    named = {each.get("name") for each in view}
    assert choices.get("toName") in named


def test_annotations_become_labels_of_their_annotators_and_close_the_queue(lived_in: Place) -> None:
    tasks = [
        task("s-001", ("4", {"id": 3, "email": "ann@example.org"})),
        task("s-004", ("5", 7)),
        task("s-007", ("6", None)),
        task("s-010", ("1", 7), cancelled=True),
    ]
    with lived_in.as_("operator") as client:
        sent = send(client, tasks)
        assert sent.json()["message"] == "Imported: 3 new labels, 0 known already, 0 contested."
        assert send(client, tasks).json()["message"].startswith("Imported: 0 new labels, 3 known already")
    assert in_force(lived_in, "s-001", "s-004", "s-007", "s-010") == {
        "s-001": ("4", "human:ann@example.org"),
        "s-004": ("5", "human:annotator 7"),
        "s-007": ("6", "human:operator"),
    }
    with lived_in.database.read() as session:
        assert len(label_queue.list_entries(session)) == 9
        lines = audit.history(session, subject="label")
    assert [(line.who, line.action, line.numbers["num_new"]) for line in lines] == [
        ("operator", "import", 3),
        ("operator", "import", 0),
    ]


def test_what_differs_from_somebody_elses_label_is_contested_not_overwritten(lived_in: Place) -> None:
    tasks = [task("s-003", ("8", {"email": "ann@example.org"})), task("s-001", ("1", 1), ("2", 2))]
    with lived_in.as_("operator") as client:
        assert "1 new labels, 0 known already, 2 contested" in send(client, tasks).json()["message"]
        assert "0 new labels, 3 known already, 0 contested" in send(client, tasks).json()["message"]
    assert in_force(lived_in, "s-003", "s-001") == {"s-003": ("3", "manifest"), "s-001": ("1", "human:annotator 1")}
    with lived_in.database.read() as session:
        found = {(each.sample_id, each.answer, each.who) for each in disagreements.list_disagreements(session)}
    assert found == {("s-003", "8", "ann@example.org"), ("s-001", "2", "annotator 2")}


def test_bad_rows_are_told_one_by_one_and_nothing_is_half_imported(lived_in: Place) -> None:
    good = task("s-001", ("4", 1))
    with lived_in.as_("operator") as client:
        sent = send(client, [good, task("nobody", ("4", 1)), task("s-004", ("eleven", 1))])
        assert sent.status_code == 422
        words = sent.json()["message"]
        assert "Nothing was imported: 2 of 3 rows" in words
        assert "task 2: there is no sample 'nobody'" in words
        assert "task 3, sample s-004: 'eleven' is no answer of task digit" in words
    assert in_force(lived_in, "s-001") == {}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"not json", "The file is no JSON"),
        (b"{}", "holds a dict, not a list"),
        (b"[3]", "task 1: there is no `data`"),
        (b'[{"data": {}}]', "task 1: `data.sample_id` does not name a sample"),
        (b'[{"data": {"sample_id": "s"}, "annotations": [{"result": []}]}]', "one choice named 'answer', got 0"),
        (b'[{"data": {"sample_id": "s"}, "annotations": [{}]}]', "there is no 'result'"),
        (json.dumps([{"data": {"sample_id": "s"}, "annotations": [{"result": [TWO]}]}]).encode(), "got 2"),
        (b"[" * 100_000, "no JSON"),
    ],
)
def test_a_file_of_something_else_is_refused_with_the_reason(content: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        read(content)
    assert words in str(refused.value)


def test_many_faults_are_counted_and_the_first_ones_told() -> None:
    with pytest.raises(ImportRefused, match="30 of 30 rows") as refused:
        read(json.dumps([{"data": {}}] * 30).encode())
    assert len(refused.value.faults) == 30
    assert "… and 10 more" in str(refused.value)


def test_the_page_hides_what_somebody_may_not_do(lived_in: Place) -> None:
    with lived_in.as_("viewer") as client:
        page = client.get("/labels/label-studio").text
    assert "Exporting needs the role labeller" in page
    assert "Importing needs the role operator" in page
    assert "<input" not in page
