"""Rules at run time: checked with lines, replayed, saved once by whoever saw what was in force."""

from datetime import timedelta

from starlette.testclient import TestClient

from db.records import NewMeasurement
from db.repository import audit, measurements
from monitoring.alerting.reading import default_text
from monitoring.alerting.rule_file import digest_of
from tests.dashboards.places import Place

TEXT = """rules:
- name: busy
  metric: device_utilisation
  bound: absolute
  side: upper
  limit: 0.8
  for: 2m
  min_samples: 1
  confidence: 0
"""


def drafted(client: TestClient, text: str, then: str = "check") -> str:
    """Send a text to be checked; returns the editor's page for it."""
    answer = client.post("/rules/draft", data={"text": text, "then": then, "last": "24h"})
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


def twin(path: str) -> str:
    """The JSON of a page with a query."""
    return path.replace("?", ".json?", 1)


def test_the_rules_in_force_are_shown_with_their_limits(place: Place) -> None:
    with place.as_("viewer") as client:
        told, text = client.get("/rules.json").json(), client.get("/rules").text
        assert place.num_queries(client, "/rules") <= 4
        assert client.get("/rules/edit").status_code == 403
    limits = {each["rule"]["name"]: each["limit"] for each in told["rules"]}
    assert limits["latency high"] == "more than 15 % above the baseline, for 2 min"
    assert told["is_default"]
    assert "Admins change rules" in text


def test_every_fault_is_told_with_its_line_and_nothing_is_saved(place: Place) -> None:
    bad = TEXT.replace("device_utilisation", "nonsense").replace("for: 2m", "for: soon")
    bad += "- name: x\n  metric: latency_p95\n  bound: absolute\n  side: upper\n"
    with place.as_("admin") as client:
        page = drafted(client, bad)
        told, text = client.get(twin(page)).json(), client.get(page).text
        form = {"draft": told["draft"], "seen": told["seen"], "why": "x"}
        answer = client.post("/rules/save", data=form)
        broken = client.get(twin(drafted(client, "rules: [\n"))).json()["faults"]
    assert [fault["line"] for fault in told["faults"]] == [2, 10]
    assert "limit is missing" in told["faults"][1]["text"]
    assert "so it cannot be saved" in text
    assert answer.status_code == 422
    assert broken[0]["text"].startswith("This is no YAML")
    assert not (place.wiring.home / "rules.yaml").exists()


def test_a_draft_is_replayed_over_the_record(place: Place) -> None:
    end = place.clock()
    for minute in range(60):
        value = 0.9 if 20 <= minute < 30 else 0.5
        row = NewMeasurement(metric="device_utilisation", value=value, num_samples=1)
        with place.database.write() as session:
            measurements.add(session, [row], now=end - timedelta(minutes=60 - minute))
    with place.as_("admin") as client:
        page = drafted(client, TEXT, "replay")
        told, text = client.get(twin(page)).json(), client.get(page).text
    (fired,) = told["fired"]
    assert (fired["rule"], fired["num_fired"], fired["num_evaluations"]) == ("busy", 1, 60)
    assert "is above 0.8" in fired["last"]
    assert "What they would have done" in text


def test_saving_needs_an_admin_who_saw_what_is_in_force_and_keeps_the_text_before(place: Place) -> None:
    with place.as_("admin") as client:
        told = client.get(twin(drafted(client, TEXT))).json()
        form = {"draft": told["draft"], "seen": told["seen"], "why": "<b>busier"}
        with place.as_("approver") as other:
            assert other.post("/rules/save", data=form).status_code == 403
            assert other.post("/rules/draft", data={"text": TEXT}).status_code == 403
        assert client.post("/rules/save", data=form).status_code == 303
        assert (place.wiring.home / "rules.yaml").read_text() == TEXT
        assert client.post("/rules/save", data=form).status_code == 409, "the rules were changed since"
        rules = client.get("/rules.json").json()
        assert [each["rule"]["name"] for each in rules["rules"]] == ["busy"]
        text = client.get("/rules").text
        assert "&lt;b&gt;busier" in text
        with place.database.read() as session:
            (line,) = audit.newest(session, subject="rules")
        assert line.numbers["num_rules"] == 1
        assert client.get(f"/rules/text?digest={line.numbers['after']}").text == TEXT
        assert client.get(f"/rules/text?digest={line.numbers['before']}").text == default_text()
        assert client.get("/monitoring.json").json()["rules_fault"] == ""


def test_the_default_comes_back_once_and_only_from_a_fresh_page(place: Place) -> None:
    (place.wiring.home / "rules.yaml").write_text(TEXT)
    with place.as_("admin") as client:
        assert client.post("/rules/reset", data={"seen": "0" * 64, "why": "x"}).status_code == 409
        form = {"seen": digest_of(TEXT), "why": "enough"}
        with place.as_("approver") as other:
            assert other.post("/rules/reset", data=form).status_code == 403
        assert client.post("/rules/reset", data=form).status_code == 303
        assert client.get("/rules.json").json()["is_default"]
        assert client.post("/rules/reset", data=form).status_code == 409


def test_a_file_that_the_settings_name_is_not_changed_here(place: Place) -> None:
    named = place.wiring.home / "mine.yaml"
    named.write_text(TEXT)
    place.wiring.alerting["rules"] = str(named)  # type: ignore[index]
    with place.as_("admin") as client:
        told = client.get(twin(drafted(client, TEXT + "# more\n"))).json()
        assert told["is_named"]
        form = {"draft": told["draft"], "seen": told["seen"], "why": "x"}
        assert client.post("/rules/save", data=form).status_code == 409
        named.unlink()
        assert client.get("/rules").status_code == 503
    assert not (place.wiring.home / "rules.yaml").exists()


def test_only_texts_of_rules_are_given_out(place: Place) -> None:
    secret = place.blobs.put(b"a sample")
    with place.as_("admin") as client:
        assert client.get(f"/rules/text?digest={secret}").status_code == 404
        assert client.get("/rules/text?digest=../../omniloop.db").status_code == 422
        assert client.get(f"/rules/edit?draft={'0' * 64}").status_code == 404
        assert client.get("/rules/edit?draft=../../omniloop").status_code == 404


def test_a_text_that_tries_to_leave_its_box_stays_text(place: Place) -> None:
    with place.as_("admin") as client:
        page = drafted(client, "</textarea><script>alert(1)</script>")
        text = client.get(page).text
        assert client.post("/rules/draft", data={"text": "x" * 300_000}).status_code == 422
    assert "<script>alert" not in text
    assert "&lt;/textarea&gt;" in text
