"""Reports: the list, and Evidently's own page in a frame that reaches nothing outside it."""

from datetime import timedelta

import pytest

from db.records import NewReport
from db.repository import reports
from monitoring.reports import make
from tests.dashboards import lived
from tests.dashboards.places import Place


def test_the_list_says_what_each_report_is_of(place: Place) -> None:
    with place.as_("viewer") as client:
        assert "No report yet" in client.get("/reports").text
        lived.fill(place)
        told = client.get("/reports.json?version=1").json()
        assert place.num_queries(client, "/reports") <= 3
        assert client.get("/reports.json?version=2").json()["reports"] == []
        assert client.get("/reports/99").status_code == 404
    assert [(row["id"], row["kind"], row["num_rows"]) for row in told["reports"]] == [(1, "drift", 100)]


def test_a_report_whose_snapshot_is_gone_says_so(place: Place) -> None:
    lived.fill(place)
    with place.as_("viewer") as client:
        assert client.get("/reports/1").status_code == 200
        answer = client.get("/reports/1/page", headers={"Accept": "application/json"})
    assert answer.status_code == 404
    assert "not in the blob store" in answer.json()["message"]


@pytest.mark.slow
def test_the_page_of_a_report_may_do_nothing_outside_its_frame(place: Place) -> None:
    now = place.clock()
    column = [float(number % 7) for number in range(60)]
    made = make("drift", {"confidence": column}, {"confidence": column}, name="x", at=now, about={"version": "1"})
    with place.database.write() as session:
        digest = place.blobs.put(made.snapshot.encode())
        report = NewReport(
            key="x",
            kind="drift",
            digest=digest,
            num_rows=60,
            num_reference=60,
            numbers=made.numbers,
            starts_at=now - timedelta(days=1),
            ends_at=now,
        )
        reports.add(session, report, now=now)
    with place.as_("viewer") as client:
        first, again = client.get("/reports/1/page"), client.get("/reports/1/page")
        text = client.get("/reports/1").text
    policy = first.headers["content-security-policy"]
    assert "sandbox allow-scripts" in policy
    assert "allow-same-origin" not in policy
    assert "connect-src" not in policy, "so that it is none, by default-src"
    assert first.headers["x-frame-options"] == "SAMEORIGIN"
    assert "confidence" in first.text
    assert again.content == first.content
    assert 'sandbox="allow-scripts"' in text
    assert (place.wiring.home / "cache" / "reports" / f"{digest}.html").exists()
