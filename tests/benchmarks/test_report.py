"""The page of figures is what the result files make it, and nothing else."""

from pathlib import Path

import pytest

from benchmarks.harness import figure, write_results
from benchmarks.report import main, number, read_results, read_subjects, render


def test_the_committed_page_is_what_the_committed_results_make_it() -> None:
    assert main(["--check"]) == 0, "Run `make bench-report`."


def test_quick_results_never_reach_the_page(tmp_path: Path) -> None:
    write_results("loop", {"ours": figure(0.5, "accuracy")}, quick=True, folder=tmp_path)
    assert read_results(tmp_path) == []
    assert "Nothing has been measured" in render([], {})


def test_every_figure_stands_with_unit_spread_n_machine_and_date(tmp_path: Path) -> None:
    figures = {"ours": figure(0.92345, "accuracy", spread=0.0121, seeds=[0, 1, 2]), "gpu_s": figure(None, "s")}
    write_results("loop", figures, quick=False, notes="Five domains.", folder=tmp_path)
    page = render(read_results(tmp_path), {"loop": "Ours against joint."})
    assert "| `ours` | 0.9234 ± 0.0121 | accuracy | 3 |" in page
    assert "| `gpu_s` | none | s |  |" in page
    assert "Ours against joint." in page
    assert "- Five domains." in page
    assert "`make bench-loop` on 20" in page
    assert "numpy" in page


def test_rendering_twice_gives_the_same_page(tmp_path: Path) -> None:
    for name in ("loop", "gate"):
        write_results(name, {"a": figure(1, "s")}, quick=False, folder=tmp_path)
    results = read_results(tmp_path)
    assert render(results, {}) == render(results[::-1], {})


def test_a_result_of_another_schema_is_refused(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text('{"schema_version": 0}')
    with pytest.raises(ValueError, match="Measure anew"):
        read_results(tmp_path)


def test_each_benchmark_says_what_it_measures() -> None:
    subjects = read_subjects(Path(__file__).parents[2] / "benchmarks")
    assert subjects
    assert all(subjects.values()), subjects


@pytest.mark.parametrize(
    ("value", "spread", "text"),
    [
        (12.3456, None, "12.35"),
        (-0.05, 0.01, "-0.05000 ± 0.01000"),
        (0.0, None, "0"),
        (1e-9, None, "0.00000000"),
        (2.0, 0.5, "2.000 ± 0.500"),
    ],
)
def test_numbers_are_rounded_for_reading(value: float, spread: float | None, text: str) -> None:
    assert number(value, spread) == text


def test_a_benchmarks_own_tables_stand_before_its_figures(tmp_path: Path) -> None:
    table = {"title": "Arms", "head": ["arm", "score"], "rows": [["a | b", "0.5 ± 0.1"]]}
    write_results("science", {"a": figure(1, "s")}, quick=False, more={"tables": [table]}, folder=tmp_path)
    page = render(read_results(tmp_path), {})
    assert "**Arms**\n\n| arm | score |\n|---|---|\n| a \\| b | 0.5 ± 0.1 |" in page
    assert page.index("Arms") < page.index("| figure |")
