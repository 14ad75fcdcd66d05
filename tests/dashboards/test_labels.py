"""Labelling by the pages: one sample a person, keys, undo, disagreement, and nothing overwritten in silence."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from db.records import Label
from db.repository import audit, disagreements, label_queue, labelling, labels, rounds, samples
from tests.dashboards import lived
from tests.dashboards.places import Place
from tests.db.together import together, winners


@pytest.fixture
def site(lived_in: Place) -> Place:
    """A lived-in place; its open round waits for twelve labels."""
    return lived_in


def offered(client: TestClient, query: str = "") -> dict[str, Any]:
    """The next sample, as the JSON twin tells it."""
    answer = client.get(f"/labels/next.json{query}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def give(client: TestClient, answer: str, **more: str) -> dict[str, Any]:
    """Answer what is offered; returns the entry that was answered."""
    entry = dict(offered(client)["entry"])
    sent = client.post("/labels/answer", data={"entry": entry["id"], "answer": answer, **more})
    assert sent.status_code == 303, sent.text
    return entry


def in_force(place: Place, sample_id: str) -> Label | None:
    with place.database.read() as session:
        return labels.active_label(session, sample_id)


def actions(place: Place, sample_id: str) -> list[tuple[str, str]]:
    with place.database.read() as session:
        return [(line.who, line.action) for line in audit.history(session, subject="sample", subject_id=sample_id)]


def test_the_queue_says_how_far_it_is_who_holds_what_and_who_labelled_how_many(site: Place) -> None:
    with site.as_("labeller") as client:
        give(client, "3")
        held = offered(client)["entry"]["sample_id"]
        told = client.get("/labels.json").json()
        page = client.get("/labels").text
    assert [(row["num_done"], row["num_queued"], row["num_leased"]) for row in told["progress"]] == [(1, 12, 1)]
    assert [(row["leased_to"], row["sample_id"]) for row in told["held"]] == [("labeller", held)]
    assert [(row["origin"], row["num_labels"], row["num_since"]) for row in told["tallies"]] == [
        ("human:labeller", 1, 1)
    ]
    assert held in page
    assert "1 of 12 labelled" in page


def test_the_next_sample_is_shown_with_its_answers_and_their_keys(site: Place) -> None:
    with site.as_("labeller") as client:
        page = client.get("/labels/next").text
    assert page.count('name="answer"') == len(lived.ANSWERS)
    for answer in lived.ANSWERS:
        assert re.search(rf'value="{answer}" data-key="{answer}"', page)
    assert "<audio" in page
    assert "/media?sample=s-001&amp;modality=image" in page


def test_an_answer_is_a_label_with_an_audit_line_and_the_next_sample_follows(site: Place) -> None:
    with site.as_("labeller") as client:
        entry = give(client, "7", since="1000")
        following = offered(client)["entry"]
    label = in_force(site, entry["sample_id"])
    assert label is not None
    assert (label.answer, label.origin, label.round_id) == ("7", "human:labeller", entry["round_id"])
    assert actions(site, entry["sample_id"]) == [("labeller", "label")]
    assert following["sample_id"] != entry["sample_id"]


def test_looking_again_gives_the_same_sample_and_two_people_never_share_one(site: Place) -> None:
    with site.as_("labeller") as one, site.as_("operator") as other:
        seen: dict[str, list[str]] = {"labeller": [], "operator": []}
        for _ in range(6):
            for name, client in (("labeller", one), ("operator", other)):
                mine = offered(client)["entry"]["sample_id"]
                assert offered(client)["entry"]["sample_id"] == mine
                seen[name].append(mine)
            give(one, "1")
            give(other, "2")
        assert not set(seen["labeller"]) & set(seen["operator"])
        assert offered(one)["entry"] is None
        assert "Nothing waits for you" in one.get("/labels/next").text


def test_many_people_at_the_same_moment_get_a_sample_each(site: Place) -> None:
    people = [f"person {number}" for number in range(8)]

    def ask(who: str) -> Callable[[], str]:
        def call() -> str:
            with site.database.write() as session:
                entry = label_queue.next_to_label(session, who=who, now=site.clock())
                assert entry is not None
                return entry.sample_id

        return call

    given = winners(together([ask(who) for who in people]))
    assert len(given) == len(set(given)) == len(people)


def test_somebody_elses_sample_cannot_be_answered(site: Place) -> None:
    with site.as_("labeller") as one, site.as_("operator") as other:
        held = offered(one)["entry"]
        sent = other.post("/labels/answer", data={"entry": held["id"], "answer": "1"})
    assert sent.status_code == 409
    assert "is with labeller" in sent.text
    assert in_force(site, held["sample_id"]) is None


def test_an_answer_that_is_none_is_refused(site: Place) -> None:
    with site.as_("labeller") as client:
        entry = offered(client)["entry"]
        sent = client.post("/labels/answer", data={"entry": entry["id"], "answer": "<script>"})
        nonsense = client.post("/labels/answer", data={"entry": "x", "answer": "1"})
    assert (sent.status_code, nonsense.status_code) == (422, 422)
    assert "<script>" not in sent.text


def test_what_is_skipped_goes_to_others_and_not_to_the_same_person_again(site: Place) -> None:
    with site.as_("labeller") as one, site.as_("operator") as other:
        skipped = offered(one)["entry"]
        assert one.post("/labels/skip", data={"entry": skipped["id"]}).status_code == 303
        assert offered(one)["entry"]["id"] != skipped["id"]
        assert offered(other)["entry"]["id"] == skipped["id"]


def test_undo_takes_ones_own_last_label_back_and_the_sample_comes_up_again(site: Place) -> None:
    with site.as_("labeller") as client:
        first, second = give(client, "1"), give(client, "2")
        told = offered(client)
        wrong = client.post("/labels/undo", data={"seen": told["last"]["label"]["id"] - 1})
        assert wrong.status_code == 409  # the page showed another label
        assert client.post("/labels/undo", data={"seen": told["last"]["label"]["id"]}).status_code == 303
        assert offered(client)["entry"]["sample_id"] == second["sample_id"]
        give(client, "5")
    label, before = in_force(site, second["sample_id"]), in_force(site, first["sample_id"])
    assert label is not None
    assert label.answer == "5"
    assert before is not None
    assert before.answer == "1"
    assert [action for _, action in actions(site, second["sample_id"])] == ["label", "undo", "label"]
    with site.database.read() as session:
        assert [each.answer for each in labels.label_history(session, second["sample_id"])] == ["2", "5"]


def test_undo_is_refused_once_the_round_has_gone_on_to_train(site: Place) -> None:
    with site.as_("labeller") as client:
        entry = give(client, "1")
        with site.database.write() as session:
            rounds.advance(session, entry["round_id"], "labelled", {}, now=site.clock())
        told = offered(client)
        assert "has gone on to train" in told["last"]["why_not"]
        sent = client.post("/labels/undo", data={"seen": told["last"]["label"]["id"]})
    assert sent.status_code == 409
    assert "has gone on to train" in sent.text
    assert in_force(site, entry["sample_id"]) is not None


def test_what_a_model_thinks_is_told_only_after_the_answer(site: Place) -> None:
    with site.as_("labeller") as client:
        before = client.get("/labels/next.json").text
        assert "suggestion" not in before
        give(client, "9")
        last = offered(client)["last"]
    assert {claim["by"] for claim in last["others"] if claim["against"] == "suggestion"} == {"v1"}


def test_asked_again_a_different_answer_contests_the_label_and_overwrites_nothing(site: Place) -> None:
    with site.database.write() as session:
        label_queue.enqueue(session, ["s-003"], round_id=None, now=site.clock(), priorities=[9.0])
    with site.as_("labeller") as client:
        told = offered(client)
        assert told["entry"]["sample_id"] == "s-003"
        assert told["is_labelled"]
        give(client, "8")
    label = in_force(site, "s-003")
    assert label is not None
    assert (label.answer, label.origin) == ("3", "manifest")
    with site.database.read() as session:
        found = disagreements.list_disagreements(session)
        assert [(each.claimed, each.answer, each.who) for each in found] == [("3", "8", "labeller")]
        assert "s-003" not in {each.sample.id for each in samples.labelled(session, "train")}


def test_asked_again_the_same_answer_confirms_the_label(site: Place) -> None:
    with site.database.write() as session:
        label_queue.enqueue(session, ["s-003"], round_id=None, now=site.clock(), priorities=[9.0])
    with site.as_("labeller") as client:
        give(client, "3")
        assert offered(client)["entry"]["sample_id"] != "s-003"
    label = in_force(site, "s-003")
    assert label is not None
    assert label.origin == "manifest"
    assert actions(site, "s-003") == [("labeller", "confirm")]


def objected(place: Place, sample_id: str, answer: str) -> int:
    """The labeller contests the label in force, by the page; returns the disagreement's id."""
    label = in_force(place, sample_id)
    assert label is not None
    with place.as_("labeller") as client:
        form = {"sample": sample_id, "claim": f"label|{label.origin}|{label.answer}", "answer": answer}
        sent = client.post("/labels/disagree", data=form | {"why": "<img src=x>"})
        assert sent.status_code == 303, sent.text
    with place.database.read() as session:
        return disagreements.list_disagreements(session, sample_ids=[sample_id])[0].id


def learnable(place: Place) -> set[str]:
    with place.database.read() as session:
        return {each.sample.id for each in samples.labelled(session, "train")}


@pytest.mark.parametrize("outcome", ["keep", "replace"])
def test_a_contested_label_is_out_of_training_until_somebody_settles_it(site: Place, outcome: str) -> None:
    with site.database.write() as session:
        for number in (2, 3, 4):
            if rounds.get_round(session, number).quarantined_at is not None:
                rounds.lift_quarantine(session, number, who="admin", why="for this test", now=site.clock())
        before = samples.fingerprint(session)
    assert "s-003" in learnable(site)
    number = objected(site, "s-003", "9")
    assert "s-003" not in learnable(site)
    with site.database.read() as session:
        assert samples.fingerprint(session) != before
    with site.as_("operator") as client:
        page = client.get("/labels/disagreements")
        assert "&lt;img src=x&gt;" in page.text
        assert "<img src=x>" not in page.text
        seen = "open, label 3 of manifest"
        assert f'value="{seen}"' in page.text
        form = {"outcome": outcome, "why": "looked at it", "seen": seen}
        assert client.post(f"/labels/disagreements/{number}/settle", data=form).status_code == 303
        again = client.post(f"/labels/disagreements/{number}/settle", data=form)
        assert again.status_code == 409
    label = in_force(site, "s-003")
    assert label is not None
    wanted = ("3", "manifest") if outcome == "keep" else ("9", "human:labeller")
    assert (label.answer, label.origin) == wanted
    assert "s-003" in learnable(site)
    assert actions(site, "s-003") == [("labeller", "disagree"), ("operator", "settle")]


def test_a_decision_on_a_label_that_has_changed_meanwhile_is_refused(site: Place) -> None:
    number = objected(site, "s-006", "9")
    with site.database.write() as session:
        labels.add_label(session, "s-006", "2", "human:ann", now=site.clock())
    with site.as_("operator") as client:
        form = {"outcome": "replace", "why": "it is", "seen": "open, label 6 of manifest"}
        sent = client.post(f"/labels/disagreements/{number}/settle", data=form)
    assert sent.status_code == 409
    assert "out of date" in sent.text
    label = in_force(site, "s-006")
    assert label is not None
    assert label.answer == "2"


def test_a_models_suggestion_can_be_contested_and_kept_as_a_label(site: Place) -> None:
    with site.as_("labeller") as client:
        entry = offered(client)["entry"]
        claims = client.get(f"/labels/disagree.json?sample={entry['sample_id']}").json()["claims"]
        mine = next(claim for claim in claims if claim["against"] == "suggestion")
        other = "0" if mine["answer"] != "0" else "1"
        form = {"sample": entry["sample_id"], "claim": f"suggestion|v1|{mine['answer']}", "answer": other}
        assert client.post("/labels/disagree", data=form | {"why": "no", "claim": "x"}).status_code == 409
        assert client.post("/labels/disagree", data=form | {"why": ""}).status_code == 422
        assert client.post("/labels/disagree", data=form | {"why": "no", "answer": mine["answer"]}).status_code == 422
        assert client.post("/labels/disagree", data=form | {"why": "no"}).status_code == 303
        assert client.post("/labels/disagree", data=form | {"why": "no"}).status_code == 409
        assert offered(client)["entry"]["id"] != entry["id"]
    with site.database.write() as session:
        assert entry["sample_id"] not in {sample.id for sample in samples.pool(session)}
        number = disagreements.list_disagreements(session)[0].id
        disagreements.settle(session, number, "keep", who="operator", why="right", now=site.clock())
    label = in_force(site, entry["sample_id"])
    assert label is not None
    assert (label.answer, label.origin) == (mine["answer"], "human:operator")


def test_a_label_that_a_version_has_learnt_cannot_be_undone(site: Place) -> None:
    with site.database.write() as session:
        open_round = rounds.resume_target(session)
        assert open_round is not None
        rounds.close(session, open_round.id, "cancelled", now=site.clock())
        label_queue.enqueue(session, ["s-002"], round_id=None, now=site.clock())
    with site.as_("labeller") as client:
        while offered(client)["entry"]["sample_id"] != "s-002":
            give(client, "1")
        give(client, "1")
    lived.one_round(site, ["s-002", "s-005"], base=1)
    with site.database.read() as session:
        label = labelling.last_own(session, "labeller")
        assert label is not None
        assert label.sample_id == "s-002"
        assert "learnt" in labelling.why_learnt(session, label)


def test_the_pages_send_a_handful_of_queries_however_much_there_is(site: Place) -> None:
    with site.as_("admin") as client:
        few = {path: site.num_queries(client, path) for path in ("/labels", "/labels/next", "/labels/disagreements")}
        for number in range(0, 30, 3):
            objected(site, f"s-{number:03d}", "9" if number % 10 != 9 else "1")
        for _ in range(4):
            give(client, "1")
        many = {path: site.num_queries(client, path) for path in few}
    assert max(many.values()) <= 15, many
    assert many["/labels"] == few["/labels"]
    assert many["/labels/disagreements"] <= few["/labels/disagreements"] + 2  # media and labels, whatever the number
