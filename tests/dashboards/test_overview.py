"""The overview: one verdict, what is in service, what waits, and six measures held to their rules."""

from datetime import timedelta

from db.records import NewMeasurement, NewPrediction
from db.repository import alerts, measurements, predictions, probation, rounds
from tests.dashboards import lived
from tests.dashboards.places import Place


def test_an_empty_site_says_that_nothing_is_in_service(place: Place) -> None:
    with place.as_("viewer") as client:
        answer = client.get("/")
        assert answer.status_code == 200
        assert "No version is in service" in answer.text
        told = client.get("/index.json").json()
    assert told["verdict"]["state"] == "unknown"
    assert {sign["state"] for sign in told["vitals"]} == {"no_data"}
    assert len(told["vitals"]) == 6


def test_a_lived_in_site_is_told_at_a_glance(place: Place) -> None:
    lived.fill(place)
    with place.as_("viewer") as client:
        text, told = client.get("/").text, client.get("/index.json").json()
        num = place.num_queries(client, "/")
    assert num <= 12, place.queries
    assert told["serving"]["version"] == 1
    assert told["verdict"] == {
        "state": "look",
        "words": "Something needs a look",
        "reasons": ["latency high: latency_p95 is 0.04 s, 15 % above <i>its baseline</i>"],
    }
    assert [thing["words"] for thing in told["waiting"]] == ["v4 waits for approval", "12 samples wait for a label"]
    assert told["round_does"] == "getting labels"
    assert told["trial"]["version"] == 4
    assert "&lt;i&gt;its baseline&lt;/i&gt;" in text
    assert "<i>its baseline</i>" not in text


def test_the_six_measures_come_with_baseline_limits_and_a_line(place: Place) -> None:
    lived.fill(place)
    with place.as_("viewer") as client:
        told = client.get("/index.json").json()
        text = client.get("/").text
    signs = {sign["name"]: sign for sign in told["vitals"]}
    latency = signs["latency_p95"]
    assert latency["baseline"] == 0.02
    assert [round(limit["bound"], 6) for limit in latency["limits"]] == [0.023]
    assert len(latency["values"]) == 25
    assert latency["state"] == "no_data", "60 samples are fewer than the rule takes"
    assert "60 samples of the 100 that it takes" in latency["why"]
    assert signs["instruction_following"]["state"] == "ok"
    assert [limit["side"] for limit in signs["memory_fragmentation"]["limits"]] == ["upper", "lower"]
    assert text.count("<polyline") >= 5
    assert "not enough data" in text


def test_a_breach_and_an_old_value_are_told_apart(place: Place) -> None:
    lived.fill(place)
    with place.database.write() as session:
        bad = NewMeasurement(metric="instruction_following", value=0.5, version=1, num_samples=500)
        measurements.add(session, [bad], now=place.clock())
    with place.as_("viewer") as client:
        signs = {sign["name"]: sign for sign in client.get("/index.json").json()["vitals"]}
        assert signs["instruction_following"]["state"] == "critical"
        place.clock.wait(minutes=11)
        told = client.get("/index.json").json()
    signs = {sign["name"]: sign for sign in told["vitals"]}
    assert signs["instruction_following"]["state"] == "no_data"
    assert signs["instruction_following"]["value"] is None


def test_a_critical_alert_is_the_first_thing_said(place: Place) -> None:
    lived.fill(place)
    with place.database.write() as session:
        alerts.raise_alert(
            session,
            "x",
            name="service down",
            severity="critical",
            summary="no answer",
            state="firing",
            now=place.clock(),
        )
    with place.as_("viewer") as client:
        verdict = client.get("/index.json").json()["verdict"]
    assert (verdict["state"], verdict["words"]) == ("bad", "Not well")
    assert verdict["reasons"][0].startswith("service down")


def test_it_is_not_called_well_when_nothing_is_measured(place: Place) -> None:
    lived.fill(place)
    with place.database.write() as session:
        alerts.resolve(session, "latency", now=place.clock())
    with place.as_("viewer") as client:
        assert client.get("/index.json").json()["verdict"]["state"] == "good"
        place.clock.wait(hours=1)
        verdict = client.get("/index.json").json()["verdict"]
    assert (verdict["state"], verdict["words"]) == ("unknown", "It is not known whether it is well")


def test_a_probation_tells_its_pairs_and_what_they_say_so_far(place: Place) -> None:
    ids = lived.fill(place)
    version = lived.on_probation(place, ids)
    with place.as_("viewer") as client:
        told = client.get("/index.json").json()
        num = place.num_queries(client, "/")
        assert "30 of 50 pairs" in client.get("/").text
    with place.database.read() as session:
        num_pairs, num_new, num_old = probation.count_pairs(session, version)
    assert num <= 12
    assert told["probation"]["num_pairs"] == num_pairs
    assert told["probation"]["new_accuracy"] == num_new / num_pairs
    assert told["probation"]["old_accuracy"] == num_old / num_pairs
    assert "not decided yet" in told["probation"]["so_far"]


def test_traffic_is_counted_by_five_minutes(place: Place) -> None:
    lived.fill(place)
    place.clock.wait(days=2)
    now = place.clock()
    for minutes, num in ((1, 3), (58, 2), (120, 4), (60 * 25, 8)):
        rows = [
            NewPrediction(id=f"q-{minutes}-{number}", version=1, task="digit", answer="1", confidence=0.9)
            for number in range(num)
        ]
        with place.database.write() as session:
            predictions.log(session, rows, now=now - timedelta(minutes=minutes))
    with place.as_("viewer") as client:
        glance = client.get("/index.json").json()["glance"]
    assert (glance["traffic"][-1], glance["traffic"][0], sum(glance["traffic"])) == (3, 2, 5)
    assert glance["num_last_day"] == 9


def test_a_broken_file_of_rules_is_told_and_breaks_nothing_else(place: Place, tmp_path_factory: object) -> None:
    lived.fill(place)
    with place.database.write() as session:
        alerts.resolve(session, "latency", now=place.clock())
        assert rounds.resume_target(session) is not None
    place.wiring.alerting["rules"] = str(place.wiring.home / "none.yaml")  # type: ignore[index]
    with place.as_("viewer") as client:
        verdict = client.get("/index.json").json()["verdict"]
    assert verdict["state"] == "unknown"
    assert "cannot be read" in verdict["reasons"][0]
