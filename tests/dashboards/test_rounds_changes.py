"""Rounds: asking for one, cancelling one, lifting a quarantine; who may, and what a stale page may not."""

import os

import pytest

from db.repository import audit, label_queue, round_ends, rounds, triggers, versions
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


# -- asking -----------------------------------------------------------------------------------------------------------


def test_a_round_is_asked_for_with_who_and_why(place: Place) -> None:
    alive(place)
    with place.as_("operator") as browser:
        assert "starts it within seconds" in browser.get("/rounds").text
        form = {"why": "new kiosk", "seen": "no round is open"}
        assert browser.post("/rounds/ask", data=form).status_code == 303
    with place.as_("admin") as browser:
        browser.post("/rounds/ask", data=form | {"why": "me too"})
    with place.database.read() as session:
        (waiting,) = triggers.pending(session)
    assert (waiting.kind, waiting.num_requests) == ("manual", 2)
    assert waiting.detail == {"why": "me too", "who": "admin", "askers": ["admin", "operator"]}
    with place.database.write() as session:
        round_, _ = rounds.open_round(
            session, key="k", trigger="manual", base_version=None, config={}, snapshot="s", now=place.clock()
        )
        triggers.take_trigger(session, now=place.clock(), round_id=round_.id)
        assert triggers.asked_by(session, round_.id) == ["admin", "operator"]


def test_it_is_said_when_nothing_would_start_a_round(place: Place) -> None:
    with place.as_("operator") as browser:
        assert "does not run here" in browser.get("/rounds").text
        alive(place, ago_s=600)
        assert "no sign for 10 minutes" in browser.get("/rounds").text
        alive(place, ago_s=3)
        assert "omniloop up" not in browser.get("/rounds").text


def test_asking_while_a_round_was_opened_meanwhile_is_refused(lived_in: Place) -> None:
    with lived_in.as_("operator") as browser:
        answer = browser.post("/rounds/ask", data={"why": "x", "seen": "no round is open"})
        assert answer.status_code == 409
        assert browser.post("/rounds/ask", data={"why": "x", "seen": f"round {OPEN} is open"}).status_code == 303
        assert browser.post("/rounds/ask", data={"why": "", "seen": ""}).status_code == 422


def test_a_request_that_waits_is_withdrawn_with_a_line_in_the_trail(lived_in: Place) -> None:
    with lived_in.database.read() as session:
        (waiting,) = triggers.pending(session)
    path, form = (
        f"/rounds/requests/{waiting.id}/withdraw",
        {"why": "the camera was covered", "seen": "asked for 1 times"},
    )
    with lived_in.as_("viewer") as browser:
        assert "/withdraw" not in browser.get("/rounds").text
        assert browser.post(path, data=form).status_code == 403
    with lived_in.as_("operator") as browser:
        assert path in browser.get("/rounds").text
        assert browser.post(path, data=form).status_code == 303
        assert path not in browser.get("/rounds").text
        again = browser.post(path, data=form)
        assert (again.status_code, "it was withdrawn" in again.text) == (409, True)
        assert browser.post("/rounds/requests/99/withdraw", data=form).status_code == 404
    with lived_in.database.read() as session:
        assert triggers.pending(session) == []
        (line,) = audit.history(session, subject="request", subject_id=waiting.id)
    assert (line.who, line.action, line.why) == ("operator", "withdraw", "the camera was covered")


def test_a_request_that_somebody_joined_meanwhile_is_not_withdrawn_unseen(lived_in: Place) -> None:
    with lived_in.database.write() as session:
        (waiting,) = triggers.pending(session)
        triggers.request(session, waiting.kind, now=lived_in.clock())
    path, form = f"/rounds/requests/{waiting.id}/withdraw", {"why": "x", "seen": "asked for 1 times"}
    with lived_in.as_("operator") as browser:
        assert browser.post(path, data=form).status_code == 409
        assert browser.post(path, data=form | {"seen": "asked for 2 times"}).status_code == 303


# -- ending -----------------------------------------------------------------------------------------------------------


def test_an_open_round_is_cancelled_with_its_requests_for_labels(lived_in: Place) -> None:
    with lived_in.as_("operator") as browser:
        assert "12 samples leave the label queue" in browser.get(f"/rounds/{OPEN}").text
        answer = browser.post(f"/rounds/{OPEN}/cancel", data={"why": "wrong <b>data</b>", "seen": "open"})
        assert answer.status_code == 303
        text = browser.get(f"/rounds/{OPEN}").text
        assert browser.post(f"/rounds/{OPEN}/cancel", data={"why": "again", "seen": "open"}).status_code == 409
    assert "wrong &lt;b&gt;data" in text
    assert "Cancel this round" not in text
    with lived_in.database.read() as session:
        assert rounds.get_round(session, OPEN).outcome == "cancelled"
        assert label_queue.progress(session, OPEN) == (0, 0)
        line = audit.history(session, subject="round", subject_id=OPEN)[-1]
        assert round_ends.who_cancelled(session, OPEN) == f"operator cancelled round {OPEN}: wrong <b>data</b>"
    assert (line.who, line.action, line.numbers["num_labels_not_asked_for"]) == ("operator", "cancel", 12)
    with lived_in.database.write() as session:
        _, created = rounds.open_round(
            session, key="open", trigger="manual", base_version=1, config={}, snapshot="snapshot", now=lived_in.clock()
        )
    assert created, "the same request may open the next round"


def test_the_candidate_of_a_cancelled_round_is_rejected_and_its_labels_are_not_blamed(place: Place) -> None:
    ids = lived.add_samples(place)
    release = lived.one_round(place, ids, base=None)
    with place.as_("operator") as browser:
        browser.post(f"/rounds/{release.round_id}/cancel", data={"why": "a bug", "seen": "open"})
    with place.database.read() as session:
        found = versions.get_release(session, release.version)
        assert (found.state, versions.serving(session).version) == ("rejected", None)
        assert rounds.get_round(session, release.round_id or 0).quarantined_at is None


def test_a_quarantine_is_lifted_by_an_admin_alone(lived_in: Place) -> None:
    page = told(lived_in, f"/rounds/{REJECTED}.json")
    form = {"why": "they are good", "seen": str(page["seen"])}
    with lived_in.as_("approver") as browser:
        assert browser.post(f"/rounds/{REJECTED}/lift-quarantine", data=form).status_code == 403
    with lived_in.as_("admin") as browser:
        assert browser.post(f"/rounds/{REJECTED}/lift-quarantine", data=form).status_code == 303
        assert browser.post(f"/rounds/{REJECTED}/lift-quarantine", data=form).status_code == 409
    with lived_in.database.read() as session:
        assert rounds.get_round(session, REJECTED).quarantined_at is None
        assert audit.history(session, subject="round", subject_id=REJECTED)[-1].why == "they are good"


@pytest.mark.parametrize("path", ["/rounds/ask", f"/rounds/{OPEN}/cancel", f"/rounds/{OPEN}/lift-quarantine"])
def test_who_only_looks_or_labels_changes_no_round(lived_in: Place, path: str) -> None:
    for role in ("viewer", "labeller"):
        with lived_in.as_(role) as browser:
            assert browser.post(path, data={"why": "x", "seen": "open"}).status_code == 403
    with lived_in.database.read() as session:
        assert rounds.get_round(session, OPEN).is_open
