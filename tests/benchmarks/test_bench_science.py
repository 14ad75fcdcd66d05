"""The science's parts are kept side by side, and what the article claims stands beside what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import bench_science
from benchmarks.harness import figure
from benchmarks.science_claims import NOT_YET, claims


def part(name: str, value: float) -> bench_science.Part:
    return {"figures": {name: figure(value, "points", spread=1.0, n=3)}, "tables": [], "notes": [name]}


def test_a_part_measured_alone_replaces_its_own_section_and_keeps_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = iter((1.0, 2.0, 3.0))
    monkeypatch.setattr(bench_science, "measured", lambda name, *_: part(f"{name}_points", next(values)))
    for name in ("elastic", "dcma", "elastic"):
        bench_science.main(["--only", name], folder=tmp_path)
    kept = json.loads((tmp_path / "science.json").read_text())
    assert {name: entry["value"] for name, entry in kept["figures"].items()} == {
        "dcma_points": 2.0,
        "elastic_points": 3.0,
    }
    assert kept["notes"] == ["dcma_points", "elastic_points"]


def test_the_headline_figures_stand_at_the_top(tmp_path: Path) -> None:
    parts = {"dcma": part("aside", 1.0), "speed": part("train_speed_ratio_to_plain", 2.0)}
    path = bench_science.write(parts, short=True, folder=tmp_path)
    assert list(json.loads(path.read_text())["figures"]) == ["train_speed_ratio_to_plain", "aside"]


def test_a_part_says_when_and_on_which_commit_it_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    class Module:
        @staticmethod
        def measure(short: bool, say: object) -> dict[str, object]:
            return {"figures": {}, "tables": [], "notes": [f"short {short}"]}

    monkeypatch.setattr("benchmarks.bench_science.importlib.import_module", lambda name: Module)
    made = bench_science.measured("dcma", True, print)
    assert made["notes"] == ["short True"]
    assert {"date", "commit", "seconds"} <= set(made)


def test_what_was_not_measured_is_said_to_be_so(tmp_path: Path) -> None:
    rows = {row[0].partition(",")[0]: row for row in claims({}, tmp_path)["rows"]}
    assert set(rows) == {"S1", "S2", "S3", "S9"}
    assert NOT_YET in rows["S2"][2]


def test_a_claim_is_shown_with_the_spread_of_what_was_measured(tmp_path: Path) -> None:
    table = claims({"mbl_gain_relative": figure(0.0123, "ratio", spread=0.01, n=10)}, tmp_path)
    assert "+1.2 % ± 1.0 (n = 10)" in table["rows"][1][2]
