"""Reports say what moved and what was left out, can be read again, and survive what live rows are like."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitoring.reports import LEAST_ROWS, NotEnoughRows, add_to_workspace, make, page, safe

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def rows(num: int, *, shift: float = 0.0, seed: int = 0) -> dict[str, list[Any]]:
    """Columns as live rows have them; `shift` moves the confidence and the domains."""
    rng = np.random.default_rng(seed)
    target = rng.choice(list("012"), num)
    answer = np.where(rng.random(num) < 0.8 - shift, target, "0")
    return {
        "confidence": (rng.beta(8, 2, num) * (1 - shift)).tolist(),
        "domain": rng.choice(["en", "es"], num, p=[0.8 - shift, 0.2 + shift]).tolist(),
        "answer": answer.tolist(),
        "target": [None if index % 3 == 0 else str(value) for index, value in enumerate(target)],
    }


def report(kind: str, current: dict[str, list[Any]], reference: dict[str, list[Any]]) -> Any:
    return make(kind, current, reference, name="w", at=NOW, about={"version": "3"})


def test_what_moved_is_told_and_what_did_not_is_not() -> None:
    still = report("drift", rows(300, seed=1), rows(300, seed=2)).numbers
    moved = report("drift", rows(300, seed=1, shift=0.4), rows(300, seed=2)).numbers
    shares = [each["DriftedColumnsCount(drift_share=0.5).share"] for each in (still, moved)]
    assert shares[0] < 0.5 <= shares[1]
    assert (moved["num_rows"], moved["num_reference"], moved["left_out"]) == (300, 300, [])


def test_quality_tells_the_accuracy_on_the_rows_whose_answer_is_known() -> None:
    made = report("quality", rows(300, seed=1), rows(300, seed=2))
    accuracy = next(value for name, value in made.numbers.items() if name.startswith("Accuracy"))
    table = rows(300, seed=1)
    known = [(a, t) for a, t in zip(table["answer"], table["target"], strict=True) if t is not None]
    assert accuracy == pytest.approx(sum(a == t for a, t in known) / len(known))


def test_a_snapshot_becomes_one_page_that_asks_nobody_for_anything() -> None:
    made = report("drift", rows(60), rows(60, seed=2))
    html = page(made.snapshot)
    assert "confidence" in html
    assert json.loads(made.snapshot)["metadata"]["version"] == "3"
    assert '<script src="http' not in html


def test_evidently_finds_each_report_in_its_workspace_once(tmp_path: Path) -> None:
    snapshot = report("drift", rows(60), rows(60, seed=2)).snapshot
    assert add_to_workspace(tmp_path / "ui", {"a": lambda: snapshot}) == 1
    assert add_to_workspace(tmp_path / "ui", {"a": lambda: snapshot, "b": lambda: snapshot}) == 1
    assert len(list((tmp_path / "ui").rglob("snapshots/*.json"))) == 2


def test_too_few_rows_make_no_report() -> None:
    with pytest.raises(NotEnoughRows, match=f"has 5 rows; a report needs {LEAST_ROWS}"):
        report("drift", rows(5), rows(60))
    with pytest.raises(NotEnoughRows, match="reference side has 0 rows"):
        report("drift", rows(60), {})
    with pytest.raises(NotEnoughRows, match="No column"):
        report("drift", {"x": [None] * 60}, {"x": [1.0] * 60})
    with pytest.raises(ValueError, match="There is no report 'speed'"):
        report("speed", rows(60), rows(60))
    with pytest.raises(ValueError, match="one length"):
        report("drift", {"x": [1.0] * 60, "y": [1.0]}, rows(60))


@pytest.mark.parametrize("kind", ["drift", "quality"])
def test_it_survives_what_live_rows_are_like(kind: str) -> None:
    """NaN, gaps, a constant, huge numbers, ten thousand label values, a column that only one side has."""
    num = 200
    odd: dict[str, list[Any]] = {
        "nan": [float("nan")] * num,
        "gaps": [None, 1.0] * (num // 2),
        "constant": [3.0] * num,
        "word": ["x"] * num,
        "huge": [1e300, -1e300] * (num // 2),
        "infinite": [float("inf"), 1.0] * (num // 2),
        "many": [f"value {index * 50}" for index in range(num)],
        "mixed": [1, "one"] * (num // 2),
        "flag": [True, False] * (num // 2),
    }
    current = {**odd, "new": [1.0] * num}
    before = {name: list(column) for name, column in current.items()}
    made = report(kind, current, odd)
    assert made.numbers["left_out"] == ["nan", "new"]
    assert str(current) == str(before)
    json.dumps(made.numbers, allow_nan=False)


def test_rare_values_are_joined_over_both_sides() -> None:
    many = [f"v{index}" for index in range(10_000)]
    (current, reference, is_number), *_ = safe({"x": many + ["v1"] * 9}, {"x": ["v1"] * 9})[0].values()
    assert not is_number
    assert len({*current, *reference}) == 31
    assert set(reference) == {"v1"}
