"""What the benchmark of evolved architectures computes from its runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.science_evolve import CONTENDERS, QUICK, gaps_of, measure, rows_of, table_of, told
from omni_model.data.splits import split_of


def runs(**accuracies: list[float]) -> dict[str, list[dict[str, Any]]]:
    made = dict(zip(CONTENDERS, accuracies.values(), strict=True))
    return {
        name: [{"accuracy": value, "cpu_s": 1.0, "parameters": 10, "latency": 1.0} for value in values]
        for name, values in made.items()
    }


def test_contenders_are_compared_by_seed_and_on_the_seeds_that_both_have() -> None:
    several = runs(default=[0.8, 0.9], evolved=[0.9, 0.9], longer=[0.85])
    assert gaps_of(several, "default") == pytest.approx([10.0, 0.0])
    assert gaps_of(several, CONTENDERS[2]) == pytest.approx([5.0])
    table = table_of(several, [{"cpu_s": 4.0}, {"cpu_s": 6.0}])
    assert [row[:2] for row in table["rows"]] == [["default", "2"], ["evolved", "2"], [CONTENDERS[2], "1"]]
    assert table["rows"][1][-1] == "5"
    assert {len(row) for row in table["rows"]} == {len(table["head"])}


def test_a_proposal_is_told_by_what_it_changes() -> None:
    assert told({"changes": {"layers": 2}}) == "layers 2"
    assert told({"changes": {}}) == "the default itself"


def test_few_rows_are_taken_from_every_domain_and_from_their_split_alone() -> None:
    rows = rows_of(0, "val", QUICK)
    assert len(rows) <= 60
    assert len({row.domain for row in rows}) == 6
    assert {split_of(row.item) for row in rows} == {"val"}


def test_without_time_nothing_is_claimed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("SCIENCE_MINUTES", "0")
    said: list[str] = []
    made = measure(True, said.append)
    assert (made["figures"], made["tables"]) == ({}, [])
    assert "not measured yet" in made["notes"][0]
    assert "SCIENCE_MINUTES" in said[0]
