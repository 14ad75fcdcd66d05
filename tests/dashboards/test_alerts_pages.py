"""Alerts: all that is known of one, who may take it on or silence it, and what became of notices."""

from datetime import timedelta

import pytest

from db.records import Alert
from db.repository import alerts, audit, notifications, outbox, silences
from tests.dashboards import lived
from tests.dashboards.places import Place


def firing(place: Place) -> Alert:
    """The alert that a lived-in place has open."""
    with place.database.read() as session:
        return alerts.list_alerts(session, is_open=True)[0]


def lines(place: Place, subject: str) -> list[tuple[str, str, str, str]]:
    """Who did what to which, and why, of a subject."""
    with place.database.read() as session:
        return [(row.who, row.action, row.subject_id, row.why) for row in audit.newest(session, subject=subject)]


def test_what_fires_waits_and_was_is_shown_with_escaped_words(place: Place) -> None:
    with place.as_("viewer") as client:
        assert "No alert is open." in client.get("/alerts").text
    lived.fill(place)
    with place.as_("viewer") as client:
        text, told = client.get("/alerts").text, client.get("/alerts.json").json()
        num = place.num_queries(client, "/alerts")
    assert num <= 8, place.queries
    assert [row["alert"]["name"] for row in told["firing"]] == ["latency high"]
    assert told["firing"][0]["word"] == "firing"
    assert [row["name"] for row in told["resolved"]] == ["accuracy low"]
    assert told["silences"][0]["written"] == "name=disk full"
    assert "<i>its" not in text
    assert "known &lt;script&gt;" in text
    assert "Acknowledge" not in text, "a viewer has no button"


def test_the_history_is_paged(place: Place) -> None:
    with place.database.write() as session:
        for number in range(60):
            alerts.raise_alert(session, str(number), name=f"a{number}", severity="info", summary="", now=place.clock())
            alerts.resolve(session, str(number), now=place.clock())
    with place.as_("viewer") as client:
        first = client.get("/alerts.json").json()
        rest = client.get(f"/alerts.json?before={first['next_before']}").json()
        num = place.num_queries(client, "/alerts")
    assert (len(first["resolved"]), len(rest["resolved"]), rest["next_before"]) == (50, 10, None)
    assert num <= 8


def test_an_alert_tells_who_was_told_and_follows_no_strange_link(place: Place) -> None:
    lived.fill(place)
    alert = firing(place)
    with place.database.write() as session:
        alerts.raise_alert(
            session,
            "latency",
            name=alert.name,
            severity="warning",
            summary="s",
            labels=alert.labels,
            page="javascript:alert(1)",
            mend="Look at the queue.",
            value=0.04,
            baseline=0.02,
            now=place.clock(),
        )
        (message,) = [row for row in outbox.waiting(session, "notify") if row.key == "notice"]
        outbox.fail(session, message.id, error="refused: 503", now=place.clock())
    with place.as_("viewer") as client:
        told, text = client.get(f"/alerts/{alert.id}.json").json(), client.get(f"/alerts/{alert.id}").text
        num = place.num_queries(client, f"/alerts/{alert.id}")
        assert client.get(f"/alerts/newest?of={alert.fingerprint}").headers["location"] == f"/alerts/{alert.id}"
        assert client.get("/alerts/newest?of=nothing").status_code == 404
        assert client.get("/alerts/999").status_code == 404
    assert num <= 9
    (notice,) = told["told"]
    assert (notice["receiver"], notice["last_error"], notice["delivered_at"]) == ("log", "refused: 503", None)
    assert told["link"] == ""
    assert 'href="javascript' not in text
    assert "Look at the queue." in text


def test_an_acknowledgement_needs_its_role_and_a_page_that_is_not_stale(place: Place) -> None:
    lived.fill(place)
    alert = firing(place)
    path, seen = f"/alerts/{alert.id}/acknowledge", "firing, looked after by nobody"
    with place.as_("labeller") as client:
        assert client.post(path, data={"seen": seen}).status_code == 403
    with place.as_("operator") as client:
        assert client.post(path, data={"seen": "firing, looked after by ann"}).status_code == 409
        assert client.post(path, data={"seen": seen, "why": "I look"}).status_code == 303
        assert client.post(path, data={"seen": seen}).status_code == 409, "it is taken by now"
        assert client.get("/alerts.json").json()["firing"][0]["word"] == "acknowledged"
    assert firing(place).acknowledged_by == "operator"
    assert lines(place, "alert") == [("operator", "acknowledged", str(alert.id), "I look")]


def test_a_silence_hides_what_it_matches_until_somebody_ends_it(place: Place) -> None:
    lived.fill(place)
    form = {"matchers": 'name="latency high"\r\nseverity!=info', "length": "2h", "why": "known"}
    with place.as_("labeller") as client:
        assert client.post("/alerts/silence", data=form).status_code == 403
    with place.as_("operator") as client:
        answer = client.post("/alerts/silence", data=form, headers={"Accept": "application/json"})
        assert "It matches 1 open alerts now." in answer.json()["message"]
        told = client.get("/alerts.json").json()
        assert told["firing"][0]["word"] == "silenced"
        made = told["silences"][-1]
        path = f"/silences/{made['silence']['id']}/end"
        assert client.post(path, data={"seen": "silence 9 in force", "why": "x"}).status_code == 409
        assert client.post(path, data={"seen": made["standing"], "why": "over"}).status_code == 303
        assert client.post(path, data={"seen": made["standing"], "why": "over"}).status_code == 409
        assert client.get("/alerts.json").json()["firing"][0]["word"] == "firing"
    done = [(who, action, why) for who, action, _, why in lines(place, "silence")]
    assert done[0] == ("operator", "silence ended", "over")
    assert done[1][:2] == ("operator", "silenced")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"matchers": "nonsense"}, "is no matcher"),
        ({"matchers": "name=~("}, "is no regular expression"),
        ({"length": "2 weeks"}, "is no duration"),
        ({"length": "90d"}, "longer than 30 days"),
        ({"why": " "}, "why"),
    ],
)
def test_a_silence_that_cannot_be_is_refused_in_words(place: Place, change: dict[str, str], words: str) -> None:
    form = {"matchers": "name=x", "length": "1h", "why": "known"} | change
    with place.as_("operator") as client:
        answer = client.post("/alerts/silence", data=form, headers={"Accept": "application/json"})
    assert answer.status_code == 422
    assert words in answer.json()["message"]
    with place.database.read() as session:
        assert silences.list_silences(session) == []


def test_a_test_is_left_for_the_pulse_and_its_end_is_shown(place: Place) -> None:
    with place.as_("viewer") as client:
        assert client.post("/alerts/test", data={"receiver": "log"}).status_code == 403
    with place.as_("operator") as client:
        assert client.post("/alerts/test", data={"receiver": "nobody"}).status_code == 422
        assert client.post("/alerts/test", data={"receiver": "log"}).status_code == 303
        (notice,) = client.get("/alerts/deliveries.json").json()["notices"]
        assert (notice["receiver"], notice["reason"], notice["delivered_at"]) == ("log", "test", None)
        with place.database.write() as session:
            outbox.done(session, notice["id"], now=place.clock())
        (notice,) = client.get("/alerts/deliveries.json").json()["notices"]
        assert notice["delivered_at"] is not None
        assert place.num_queries(client, "/alerts/deliveries") <= 6
    assert [line[:3] for line in lines(place, "receiver")] == [("operator", "tested", "log")]


def test_a_notice_that_was_given_up_on_is_tried_again_once(place: Place) -> None:
    with place.database.write() as session:
        told = {"key": "n", "receiver": "pager", "group_key": "g", "reason": "firing", "payload": {"title": "<b>"}}
        notifications.tell(session, **told, now=place.clock())  # type: ignore[arg-type]
        (message,) = outbox.waiting(session, "notify")
        outbox.claim(session, "notify", now=place.clock() + timedelta(seconds=1))
        outbox.fail(session, message.id, error="<script>", now=place.clock(), is_final=True)
    form = {"seen": "dead after 1 attempts", "why": "it is mended"}
    path = f"/alerts/deliveries/{message.id}/retry"
    with place.as_("labeller") as client:
        assert client.post(path, data=form).status_code == 403
    with place.as_("operator") as client:
        text = client.get("/alerts/deliveries").text
        assert "&lt;script&gt;" in text
        assert "<script>alert" not in text
        assert client.get("/alerts.json").json()["num_dead"] == 1
        assert client.post(path, data=form).status_code == 303
        assert client.post(path, data=form).status_code == 409, "somebody tried it again already"
        assert client.get("/alerts/deliveries.json").json()["dead"] == []
    assert lines(place, "notice") == [("operator", "retried", str(message.id), "it is mended")]
