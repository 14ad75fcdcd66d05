"""Monitoring: numbers over time with limits, baseline and what happened, quick however many there are."""

import csv
import io
import time
from datetime import timedelta

import pytest
from playwright.sync_api import Browser

from db.records import NewMeasurement
from db.repository import alerts, measurements
from tests.dashboards import browsing, lived
from tests.dashboards.places import Place


def measure(
    place: Place, metric: str, values: dict[str, float | None], *, minutes_ago: float, version: int = 1
) -> None:
    """Numbers of some slices, measured then."""
    rows = [
        NewMeasurement(metric=metric, slice=name, value=value, version=version, num_samples=50)
        for name, value in values.items()
    ]
    with place.database.write() as session:
        measurements.add(session, rows, now=place.clock() - timedelta(minutes=minutes_ago))


def test_an_empty_site_says_that_nothing_was_measured(place: Place) -> None:
    with place.as_("viewer") as client:
        assert "Nothing was measured" in client.get("/monitoring").text
        told = client.get("/monitoring/series.json?metric=latency_p95").json()
    assert (told["times"], told["series"], told["baseline"]) == ([], [], None)


def test_the_page_groups_charts_and_says_what_each_measure_means(place: Place) -> None:
    lived.fill(place)
    measure(place, "modality_drift", {"modality=image": 0.2, "modality=text": 0.1}, minutes_ago=5)
    with place.as_("viewer") as client:
        text, told = client.get("/monitoring").text, client.get("/monitoring.json").json()
        num = place.num_queries(client, "/monitoring")
    assert num <= 5, place.queries
    groups = {group["title"]: {chart["metric"]: chart for chart in group["charts"]} for group in told["groups"]}
    assert groups["Performance"]["latency_p95"]["rules"] == ["latency high"]
    assert groups["Data drift"]["modality_drift"]["by"] == "modality", "it is measured by modality alone"
    assert "The time that 95 % of the samples keep within" in text
    assert 'data-chart="/monitoring/series.json?range=24h&amp;by=all&amp;metric=latency_p95"' in text


def test_a_chart_has_baseline_limits_promotions_and_alerts(place: Place) -> None:
    lived.fill(place)
    with place.as_("viewer") as client:
        told = client.get("/monitoring/series.json?metric=latency_p95&range=6h").json()
        num = place.num_queries(client, "/monitoring/series.json?metric=latency_p95&range=6h")
    assert num <= 7, place.queries
    assert told["unit"] == "s"
    assert (told["baseline"], round(told["band"]["high"], 6), told["band"]["low"]) == (0.02, 0.023, None)
    assert len(told["times"]) == len(told["series"][0]["values"]) == 25
    kinds = [mark["kind"] for mark in told["marks"]]
    assert kinds.count("rollback") == 1
    assert kinds.count("alert") == 1
    assert any("v1 put into service by gate" in mark["text"] for mark in told["marks"])


def test_lines_are_by_domain_and_by_version_as_asked(place: Place) -> None:
    measure(place, "alignment_error", {"domain=en": 0.1, "domain=fr": None, "all": 0.3}, minutes_ago=9)
    measure(place, "alignment_error", {"domain=en": 0.2, "all": 0.4}, minutes_ago=3, version=2)
    base = "/monitoring/series.json?metric=alignment_error&range=1h"
    with place.as_("viewer") as client:
        by_domain = client.get(f"{base}&by=domain").json()["series"]
        only = client.get(f"{base}&by=domain&only=en&version=2").json()["series"]
        by_version = client.get(f"{base}&by=version").json()["series"]
    assert by_domain == [{"name": "en", "values": [0.1, 0.2]}, {"name": "fr", "values": [None, None]}]
    assert only == [{"name": "en", "values": [0.2]}]
    assert by_version == [{"name": "v1", "values": [0.3, None]}, {"name": "v2", "values": [None, 0.4]}]


def test_a_table_opens_in_a_spreadsheet_and_runs_nothing_there(place: Place) -> None:
    measure(place, "alignment_error", {"domain==1+1": 0.25}, minutes_ago=3)
    with place.as_("viewer") as client:
        answer = client.get("/monitoring/series.csv?metric=alignment_error&by=domain")
    assert answer.headers["content-type"].startswith("text/csv")
    head, row = csv.reader(io.StringIO(answer.text))
    assert head == ["time_utc", "'=1+1"]
    assert row == ["2026-03-01T11:57:00+00:00", "0.25"]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("range=9y", "range"),
        ("from=2026-03-02T00:00&to=2026-03-01T00:00", "must end after it begins"),
        ("from=yesterday", "is no moment"),
        ("version=0", "version"),
    ],
)
def test_a_time_that_cannot_be_shown_is_refused_in_words(place: Place, query: str, words: str) -> None:
    with place.as_("viewer") as client:
        answer = client.get(f"/monitoring.json?{query}")
    assert answer.status_code == 422
    assert words in answer.json()["message"]


def test_a_month_of_measurements_is_quick_and_few_points(place: Place) -> None:
    end = place.clock()
    row = NewMeasurement(metric="device_utilisation", value=0.5, num_samples=1)
    with place.database.write() as session:
        for minute in range(0, 30 * 1440, 12):
            measurements.add(session, [row], now=end - timedelta(minutes=minute))
    with place.as_("viewer") as client:
        began = time.perf_counter()
        told = client.get("/monitoring/series.json?metric=device_utilisation&range=30d").json()
        took_s = time.perf_counter() - began
    assert 900 <= len(told["times"]) <= 1001
    assert set(told["series"][0]["values"]) == {0.5}
    assert took_s < 2


def test_traffic_and_latency_come_from_the_log(place: Place) -> None:
    lived.fill(place)
    with place.as_("viewer") as client:
        traffic = client.get("/monitoring/traffic.json?range=1h").json()
        latency = client.get("/monitoring/latency.json?range=1h").json()
    (line,) = traffic["series"]
    assert line["name"] == "v1"
    assert sum(value for value in line["values"] if value) * 12 / 60 == pytest.approx(lived.NUM_PREDICTIONS)
    assert latency["series"] == [{"name": "image+text", "values": [0.005]}]


@pytest.mark.browser
def test_a_chart_is_drawn_zooms_and_fills_its_table(
    chromium: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with browsing.served(tmp_path_factory.mktemp("charts") / "home") as place:
        for minute in range(30):
            measure(place, "alignment_error", {"all": 0.1 + minute / 100}, minutes_ago=minute)
        with place.database.write() as session:
            labels = {"metric": "alignment_error"}
            alerts.raise_alert(
                session, "x", name="<b>high", severity="warning", summary="s", labels=labels, now=place.clock()
            )
        with browsing.looking(chromium, place) as sight:
            assert sight.go("/monitoring?range=1h") == 200
            figure = sight.page.locator("#chart-alignment_error")
            figure.locator("canvas").wait_for()
            assert figure.get_attribute("data-drawn") == "30"
            assert figure.locator("[data-table] tbody tr").count() == 31
            assert "<b>high" in (figure.locator("[data-table]").text_content() or "")
            plot = figure.locator(".u-over").bounding_box()
            assert plot is not None
            y = plot["y"] + 50
            sight.page.mouse.move(plot["x"] + plot["width"] * 0.6, y)
            sight.page.mouse.down()
            sight.page.mouse.move(plot["x"] + plot["width"] * 0.8, y, steps=4)
            sight.page.mouse.up()
            figure.get_by_role("button", name="Show all again").click()
            assert figure.get_by_role("button", name="Show all again").is_hidden()
            assert sight.complaints == []
