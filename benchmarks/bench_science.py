"""The science: attention, modality balance, selection, elastic tuning, evolved architectures and training speed.

    make bench-science                              everything; hours on two cores, and goes on where it was stopped
    make bench-science QUICK=1                      the short form; its figures mean nothing
    make bench-science ARGS="--only dcma"           one part; the others keep what they had

A part is a module `benchmarks/science_PART.py` with `measure(quick, say)`, which returns figures, tables and notes.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.harness import RESULTS, Figure, quick, write_results
from benchmarks.science_claims import claims

PARTS = ("dcma", "balance", "speed", "selection", "elastic", "profiler", "evolve")
HEADLINE = (
    "dcma_minus_joint_attention_points",
    "mbl_gain_relative",
    "mbl_rank_among_peers",
    "dwa_overhead_share",
    "labels_to_95_ratio_to_random",
    "elastic_minus_joint_points",
    "elastic_forgetting",
    "bytes_per_version_ratio",
    "evolved_minus_default_points",
    "train_speed_ratio_to_plain",
)
"""The figures that stand at the top, in this order, once their part has been measured."""

Part = dict[str, Any]


def main(argv: Sequence[str] | None = None, *, folder: Path = RESULTS) -> None:
    """Measure the parts that were asked for and keep them beside what is known of the others."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_science", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the short form")
    parser.add_argument("--only", choices=PARTS, action="append", help="measure this part alone; may be given again")
    arguments = parser.parse_args(argv)
    short, console = arguments.quick or quick([]), Console()
    path = folder / f"science{'.quick' if short else ''}.json"
    parts = known_parts(path)
    for name in arguments.only or [part for part in PARTS if is_there(part)]:
        console.rule(name)
        parts[name] = measured(name, short, lambda line: console.print(line, highlight=False))
        for table in parts[name]["tables"]:
            show(console, table)
        write(parts, short=short, folder=folder)
    console.print(f"Written to {path}")


def is_there(part: str) -> bool:
    """Whether the part's module exists."""
    return importlib.util.find_spec(f"benchmarks.science_{part}") is not None


def measured(part: str, short: bool, say: Callable[[str], None]) -> Part:
    """One part, with when, on which commit and how long it was measured."""
    began = time.perf_counter()
    made = importlib.import_module(f"benchmarks.science_{part}").measure(short, say)
    return {
        "figures": dict(made["figures"]),
        "tables": list(made["tables"]),
        "notes": list(made["notes"]),
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "seconds": round(time.perf_counter() - began),
    }


def known_parts(path: Path) -> dict[str, Part]:
    """What an earlier run has kept; nothing if there is none."""
    if not path.exists():
        return {}
    found: dict[str, Part] = json.loads(path.read_text(encoding="utf-8"))["parts"]
    return found


def write(parts: Mapping[str, Part], *, short: bool, folder: Path = RESULTS) -> Path:
    """All parts in one file, the headline figures first."""
    ordered = {name: parts[name] for name in PARTS if name in parts}
    figures: dict[str, Figure] = {key: entry for part in ordered.values() for key, entry in part["figures"].items()}
    figures = {key: figures[key] for key in HEADLINE if key in figures} | figures
    tables = [claims(figures, folder), *(table for part in ordered.values() for table in part["tables"])]
    notes = [note for part in ordered.values() for note in part["notes"]]
    return write_results(
        "science", figures, quick=short, notes=notes, more={"tables": tables, "parts": ordered}, folder=folder
    )


def commit() -> str | None:
    """The revision of the code, None where there is no repository."""
    command = ["git", "rev-parse", "--short=12", "HEAD"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def show(console: Console, table: Mapping[str, Any]) -> None:
    """A table as a person reads it."""
    shown = Table(*table["head"], title=table["title"])
    for row in table["rows"]:
        shown.add_row(*(str(cell) for cell in row))
    console.print(shown)


if __name__ == "__main__":
    main()
