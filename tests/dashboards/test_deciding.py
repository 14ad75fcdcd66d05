"""Decisions on the pages: what each does, who may, and that a page which is out of date decides nothing."""

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from db.records import AuditEntry
from db.repository import audit, probation, rounds, trials, users, versions
from tests.dashboards import lived, places
from tests.dashboards.places import Place

IDS = [f"s-{number:03d}" for number in range(lived.NUM_SAMPLES)]
JSON = {"Accept": "application/json"}


def seen(client: TestClient, version: int, what: str) -> str:
    """What the version's page showed for this button."""
    offers = client.get(f"/versions/{version}.json").json()["offers"]
    return str(next(offer["seen"] for offer in offers if offer["id"] == what))


def act(client: TestClient, version: int, what: str, **fields: Any) -> Any:
    """Press a button of a version's page."""
    return client.post(f"/versions/{version}/{what}", data={"why": "tests say so", **fields}, headers=JSON)


def last(place: Place) -> AuditEntry:
    """The newest line of the audit trail about a release."""
    with place.database.read() as session:
        return next(line for line in audit.newest(session, subject="release", limit=1))


def state(place: Place, version: int) -> str:
    """Where a version is."""
    with place.database.read() as session:
        return versions.get_release(session, version).state


def serving(place: Place) -> int | None:
    """What is in service."""
    with place.database.read() as session:
        return versions.serving(session).version


def test_an_approval_puts_a_version_in_service_on_probation(lived_in: Place) -> None:
    with lived_in.as_("approver") as client:
        page = client.get("/versions/4").text
        assert "v4 will answer all requests within about a second, on probation; v1 stays warm" in page
        answer = act(client, 4, "approve", seen=seen(client, 4, "approve"))
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"message": "v4 is in service, on probation.", "to": "/versions/4"}
    assert (state(lived_in, 4), serving(lived_in)) == ("probation", 4)
    line = last(lived_in)
    assert (line.who, line.action, line.why) == ("approver", "probation", "tests say so")


def test_a_rejection_sets_the_round_aside(lived_in: Place) -> None:
    with lived_in.as_("approver") as client:
        answer = act(client, 4, "reject", seen=seen(client, 4, "reject"))
    assert answer.status_code == 200
    assert state(lived_in, 4) == "rejected"
    with lived_in.database.read() as session:
        assert rounds.get_round(session, 4).quarantined_at is not None
    assert last(lived_in).who == "approver"


def test_a_probation_is_ended_well_by_hand(lived_in: Place) -> None:
    version = lived.on_probation(lived_in, IDS)
    with lived_in.as_("approver") as client:
        assert act(client, version, "accept", seen=seen(client, version, "accept")).status_code == 200
    assert state(lived_in, version) == "accepted"


def test_a_rollback_brings_the_accepted_one_before_it_back(lived_in: Place) -> None:
    version = lived.on_probation(lived_in, IDS)
    with lived_in.as_("approver") as client:
        assert (
            f"v1 will answer all requests within about a second. v{version} never"
            in client.get(f"/versions/{version}").text
        )
        answer = act(client, version, "rollback", seen=seen(client, version, "rollback"))
    assert "v1 is in service" in answer.json()["message"]
    assert (state(lived_in, version), serving(lived_in)) == ("rolled_back", 1)


@pytest.mark.parametrize("mode", ["canary", "shadow"])
def test_a_trial_is_started_and_stopped(lived_in: Place, mode: str) -> None:
    with lived_in.as_("operator") as client:
        shown = seen(client, 4, "stop")
        assert act(client, 4, "stop", seen=shown).status_code == 200
        with lived_in.database.read() as session:
            assert trials.running(session) is None
        assert act(client, 4, mode, seen=seen(client, 4, mode), percent=12.5).status_code == 200
        with lived_in.database.read() as session:
            trial = trials.running(session)
        assert trial is not None
        assert (trial.version, trial.mode, trial.share, trial.started_by) == (4, mode, 0.125, "operator")
        assert act(client, 4, "stop", seen=shown).status_code == 409, "another trial runs than the page showed"


ACTIONS = {
    "approve": "approver",
    "reject": "approver",
    "accept": "approver",
    "rollback": "approver",
    "canary": "operator",
    "shadow": "operator",
    "stop": "operator",
}
BELOW = {"approver": "operator", "operator": "labeller"}


@pytest.mark.parametrize("what", sorted(ACTIONS))
def test_each_decision_needs_its_role(lived_in: Place, what: str) -> None:
    with lived_in.as_(BELOW[ACTIONS[what]]) as client:
        answer = act(client, 4, what, seen="awaiting_approval:3", percent=10)
        assert answer.status_code == 403
        assert f'action="/versions/4/{what}"' not in client.get("/versions/4").text
    with lived_in.as_(None) as client:
        assert act(client, 4, what, seen="awaiting_approval:3", percent=10).status_code == 401
    assert state(lived_in, 4) == "awaiting_approval"


@pytest.mark.parametrize("what", sorted(ACTIONS))
def test_a_page_that_is_out_of_date_decides_nothing(lived_in: Place, what: str) -> None:
    with lived_in.as_("approver") as client:
        old = "trial 1" if what == "stop" else "awaiting_approval:3"
        assert seen(client, 4, "approve") == "awaiting_approval:3"
        newer = lived.on_probation(lived_in, IDS)
        answer = act(client, 4, what, seen=old, **({"percent": 10} if what in ("canary", "shadow") else {}))
        assert answer.status_code == 409
        assert "out of date" in answer.json()["message"]
    assert state(lived_in, 4) == "awaiting_approval"
    assert serving(lived_in) == newer


@pytest.mark.parametrize(
    ("what", "fields", "word"),
    [
        ("approve", {"seen": "x", "why": "  "}, "why"),
        ("approve", {"seen": "", "why": "y"}, "seen"),
        ("approve", {"seen": "x", "why": "y" * 301}, "why"),
        ("approve", {"seen": "x", "why": "y", "who": "somebody else"}, "who"),
        ("canary", {"seen": "x", "why": "y", "percent": "0"}, "percent"),
        ("canary", {"seen": "x", "why": "y", "percent": "101"}, "percent"),
        ("canary", {"seen": "x", "why": "y", "percent": "nan"}, "percent"),
        ("shadow", {"seen": "x", "why": "y"}, "percent"),
    ],
)
def test_a_form_that_does_not_fit_is_refused_in_words(
    place: Place, what: str, fields: dict[str, str], word: str
) -> None:
    with place.as_("approver") as client:
        answer = client.post(f"/versions/4/{what}", data=fields, headers=JSON)
    assert answer.status_code == 422
    assert word in answer.json()["message"]


def test_a_version_that_is_not_there_is_not_found(lived_in: Place) -> None:
    with lived_in.as_("approver") as client:
        for number in (99, 2**63, 10**30):
            assert act(client, number, "approve", seen="x").status_code == 404
            assert act(client, number, "stop", seen="x").status_code in (404, 409)


def test_a_button_that_cannot_be_pressed_says_why(lived_in: Place) -> None:
    version = lived.on_probation(lived_in, IDS)
    with lived_in.as_("approver") as client:
        text = client.get("/versions/4").text
        assert f"Version 4 cannot be promoted while version {version} is on probation" in text
        assert 'action="/versions/4/approve"' not in text
        offers = client.get("/versions/2.json").json()["offers"]
    assert offers == [], "a rejected version goes nowhere"


def test_whoever_asked_for_the_round_may_not_approve_it_when_that_is_set(tmp_path: Path) -> None:
    place = places.made(tmp_path / "home", approver_differs=True)
    lived.fill(place)
    with place.database.write() as session:
        users.set_role(session, "operator", "approver", who="tests", now=place.clock())
    with place.as_("operator") as client:
        page = client.get("/versions/4").text
        assert "operator asked for round 4, which made version 4, and may not approve it" in page
        assert 'action="/versions/4/approve"' not in page
        answer = act(client, 4, "approve", seen="awaiting_approval:3")
        assert answer.status_code == 409
        assert "Ask another approver" in answer.json()["message"]
    with place.as_("approver") as client:
        assert act(client, 4, "approve", seen=seen(client, 4, "approve")).status_code == 200
    place.database.close()


def test_the_asker_may_approve_when_nothing_is_set(lived_in: Place) -> None:
    with lived_in.database.write() as session:
        users.set_role(session, "operator", "approver", who="tests", now=lived_in.clock())
    with lived_in.as_("operator") as client:
        assert act(client, 4, "approve", seen=seen(client, 4, "approve")).status_code == 200


def test_pairs_of_a_probation_are_shown_on_its_page(lived_in: Place) -> None:
    version = lived.on_probation(lived_in, IDS)
    with lived_in.as_("viewer") as client:
        told = client.get(f"/versions/{version}.json").json()
    with lived_in.database.read() as session:
        num, num_new, num_old = probation.count_pairs(session, version)
    assert told["pairs"] == {"num": num, "num_new_right": num_new, "num_old_right": num_old}
    assert told["offers"] == []
