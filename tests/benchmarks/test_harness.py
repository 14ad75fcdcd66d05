"""The harness keeps what is true: finite figures, alternating pairs, files that say where they come from."""

import json
import math
from pathlib import Path

import pytest

from benchmarks.harness import Figure, figure, figure_of, paired_ratio, quick, write_results


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_figure_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        figure(value, "s")


def test_what_cannot_be_measured_is_none_and_not_zero() -> None:
    assert figure(None, "share")["value"] is None


def test_one_value_has_no_spread() -> None:
    assert figure_of([2.0], "s")["spread"] is None


def test_pairs_alternate_and_every_second_pair_starts_with_b() -> None:
    order: list[str] = []
    ticks = iter(range(100))
    paired_ratio(lambda: order.append("a"), lambda: order.append("b"), 3, warm_ups=1, clock=lambda: next(ticks))
    assert "".join(order) == "ab" + "ab" + "ba" + "ab"


def test_a_job_twice_as_long_costs_about_twice_the_cpu_time() -> None:
    def work(rounds: int) -> int:
        return sum(number * number for number in range(rounds))

    ratio = paired_ratio(lambda: work(200_000), lambda: work(100_000), 9)
    assert ratio.value == pytest.approx(2.0, rel=0.4)


def test_a_job_without_measurable_time_gives_no_ratio() -> None:
    with pytest.raises(ValueError, match="no measurable time"):
        paired_ratio(lambda: None, lambda: None, 1, clock=lambda: 0.0)


def test_results_say_machine_versions_and_date(tmp_path: Path) -> None:
    path = write_results(
        "loop", {"ours": figure(0.9, "accuracy", seeds=[0, 1])}, quick=False, notes="A note.", folder=tmp_path
    )
    content = json.loads(path.read_text())
    assert path.name == "loop.json"
    assert content["figures"]["ours"] == {"value": 0.9, "unit": "accuracy", "spread": None, "n": 2, "seeds": [0, 1]}
    assert content["machine"]["cores"] >= 1
    assert content["machine"]["memory_gb"] > 0
    assert "numpy" in content["versions"]
    assert content["notes"] == ["A note."]
    assert len(content["date"]) == 10


def test_the_quick_form_never_replaces_a_kept_figure(tmp_path: Path) -> None:
    kept = write_results("loop", {"ours": figure(1, "s")}, quick=False, folder=tmp_path)
    other = write_results("loop", {"ours": figure(2, "s")}, quick=True, folder=tmp_path)
    assert other.name == "loop.quick.json"
    assert json.loads(kept.read_text())["figures"]["ours"]["value"] == 1.0


@pytest.mark.parametrize(("name", "key"), [("Loop", "ours"), ("loop", "ours-30")])
def test_names_are_lower_snake_case(name: str, key: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lower_snake_case"):
        write_results(name, {key: figure(1, "s")}, quick=True, folder=tmp_path)


def test_a_figure_made_by_hand_is_checked_too(tmp_path: Path) -> None:
    made = Figure(value=math.nan, unit="s", spread=None, n=None, seeds=None)
    with pytest.raises(ValueError, match="finite"):
        write_results("loop", {"ours": made}, quick=True, folder=tmp_path)


def test_quick_comes_from_the_command_line_or_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QUICK", raising=False)
    assert not quick([])
    assert quick(["--quick"])
    monkeypatch.setenv("QUICK", "1")
    assert quick([])
    monkeypatch.setenv("QUICK", "0")
    assert not quick([])
