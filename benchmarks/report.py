"""``make bench-report``: docs/benchmarks.md from benchmarks/results/*.json, so that no figure in the docs is typed.

With ``--check`` nothing is written; the exit code says whether the page is what the results make it.
"""

import argparse
import ast
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS, SCHEMA_VERSION

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
HEAD = """\
# Measured

This page is rendered by `make bench-report` from `benchmarks/results/*.json`; change nothing here by hand.
`make bench-NAME` measures a subject anew, `make bench-NAME QUICK=1` a short form of it whose figures are not kept.
A value stands with its standard deviation over n repeats or seeds. `none` means: cannot be measured on that machine.
"""


def number(value: float | None, spread: float | None = None) -> str:
    """A value as people read it: four significant digits, thousands apart, the spread with as many decimals.

    >>> number(0.92345, 0.0121), number(1234567.0), number(3.0), number(None)
    ('0.9234 ± 0.0121', '1,234,567', '3', 'none')
    """
    if value is None:
        return "none"
    if float(value).is_integer() and spread is None:
        return f"{int(value):,}"
    decimals = max(0, 4 - len(str(int(abs(value))))) if abs(value) >= 1 else _decimals_below_one(value)
    shown = f"{value:,.{decimals}f}"
    return shown if spread is None else f"{shown} ± {spread:,.{decimals}f}"


def _decimals_below_one(value: float) -> int:
    """Enough decimals for four digits, at least four and at most eight.

    >>> _decimals_below_one(0.5), _decimals_below_one(0.00012)
    (4, 7)
    """
    decimals = 4
    while value and abs(value) * 10 ** (decimals - 3) < 1 and decimals < 8:
        decimals += 1
    return decimals


def render(results: Sequence[Mapping[str, Any]], subjects: Mapping[str, str]) -> str:
    """The whole page. ``subjects`` says of each benchmark what it measures."""
    sections = [
        _section(result, subjects.get(result["name"], "")) for result in sorted(results, key=lambda r: r["name"])
    ]
    return "\n".join([HEAD, *(sections or ["Nothing has been measured yet.\n"])])


def _section(result: Mapping[str, Any], subject: str) -> str:
    """One benchmark: what it measures, its figures, its notes, and where they come from."""
    rows = [
        f"| `{name}` | {number(entry['value'], entry['spread'])} | {entry['unit']} "
        f"| {'' if entry['n'] is None else format(entry['n'], ',')} |"
        for name, entry in result["figures"].items()
    ]
    lines = [
        f"## {result['name'].replace('_', '-')}",
        "",
        *([subject, ""] if subject else []),
        *(line for table in result.get("tables", ()) for line in _table(table)),
        "| figure | value | unit | n |",
        "|---|---:|---|---:|",
        *rows,
        "",
        *(f"- {note}" for note in result["notes"]),
        *([""] if result["notes"] else []),
        _origin(result),
        "",
    ]
    return "\n".join(lines)


def _table(table: Mapping[str, Any]) -> list[str]:
    """One of a benchmark's own tables; a bar in a cell would end it."""
    rows = [[str(cell).replace("|", "\\|") for cell in row] for row in (table["head"], *table["rows"])]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [f"**{table['title']}**", "", lines[0], "|" + "---|" * len(rows[0]), *lines[1:], ""]


def _origin(result: Mapping[str, Any]) -> str:
    """Machine, versions and date in one line."""
    machine, versions = result["machine"], result["versions"]
    with_gpu = f", {machine['accelerator']}" if machine["accelerator"] else ", no GPU"
    libraries = ", ".join(f"{name} {version}" for name, version in versions.items() if name != "omniloop")
    return (
        f"`make bench-{result['name'].replace('_', '-')}` on {result['date']}: {machine['processor']}, "
        f"{machine['cores']} cores, {machine['memory_gb']} GiB{with_gpu}; {libraries}."
    )


def read_results(folder: Path) -> list[dict[str, Any]]:
    """The kept results. Raises ``ValueError`` for a file that another version of the harness wrote."""
    results = []
    for path in sorted(folder.glob("*.json")):
        if path.name.endswith(".quick.json"):
            continue
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.get("schema_version") != SCHEMA_VERSION:
            raise ValueError(
                f"{path.name} has schema {content.get('schema_version')}, not {SCHEMA_VERSION}. Measure anew."
            )
        results.append(content)
    return results


def read_subjects(folder: Path) -> dict[str, str]:
    """What each ``bench_NAME.py`` measures: the first paragraph of its docstring, read without running it."""
    found = {}
    for path in sorted(folder.glob("bench_*.py")):
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        found[path.stem.removeprefix("bench_")] = " ".join(docstring.split("\n\n")[0].split())
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page, or with ``--check`` compare it; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if the page is out of date")
    arguments = parser.parse_args(argv)
    page = render(read_results(RESULTS), read_subjects(Path(__file__).parent))
    if arguments.check:
        current = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
        if current != page:
            print("docs/benchmarks.md is not what benchmarks/results make it. Run `make bench-report`.")
        return int(current != page)
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page, encoding="utf-8")
    print(f"docs/benchmarks.md: {page.count(chr(10) + '## ')} benchmarks")
    return 0


if __name__ == "__main__":
    sys.exit(main())
