"""How a measured figure is taken and kept, the same way for every benchmark.

A benchmark is a module ``benchmarks/bench_NAME.py`` with a ``main()`` that ends in :func:`write_results`;
``make bench-NAME`` runs it, and ``make bench-NAME QUICK=1`` runs a form of about a minute whose figures are not kept.
Nothing here depends on the repository's history: a figure says on which machine and with which versions it was taken.
"""

import json
import math
import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, TypedDict

import psutil

RESULTS = Path(__file__).parent / "results"
SCHEMA_VERSION = 1
VERSIONS_OF = (
    "omniloop",
    "torch",
    "numpy",
    "scipy",
    "scikit-learn",
    "pandas",
    "sqlalchemy",
    "mlflow",
    "prefect",
    "evidently",
)
"""The distributions whose versions a figure may depend on."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")


class Figure(TypedDict):
    """One measured number."""

    value: float | None
    """None: cannot be measured on this machine (no GPU, say). Never 0 in its place."""
    unit: str
    spread: float | None
    """Standard deviation over the ``n`` repeats, in the same unit."""
    n: int | None
    """Number of repeats, seeds or samples behind the value."""
    seeds: list[int] | None


def figure(
    value: float | None,
    unit: str,
    spread: float | None = None,
    n: int | None = None,
    seeds: Sequence[int] | None = None,
) -> Figure:
    """One figure, checked. Raises ``ValueError`` for a NaN, an infinity, a negative spread or an empty unit.

    >>> figure(0.5, "ratio", spread=0.1, n=3)
    {'value': 0.5, 'unit': 'ratio', 'spread': 0.1, 'n': 3, 'seeds': None}
    """
    if not unit:
        raise ValueError('A figure needs a unit, got "". Use "ratio", "s", "samples/s", "points" or the like.')
    value = None if value is None else float(value)
    spread = None if spread is None else float(spread)
    if value is not None and not math.isfinite(value):
        raise ValueError(f"A figure must be a finite number, got {value}. Pass None if it cannot be measured here.")
    if spread is not None and not (math.isfinite(spread) and spread >= 0):
        raise ValueError(f"The spread of a figure must be 0 or more, got {spread}. Pass None if there is one repeat.")
    if seeds is not None and n is None:
        n = len(seeds)
    return Figure(value=value, unit=unit, spread=spread, n=n, seeds=None if seeds is None else [int(s) for s in seeds])


def figure_of(values: Sequence[float], unit: str, *, seeds: Sequence[int] | None = None) -> Figure:
    """The mean of ``values`` with their standard deviation (n − 1) as spread; one value has no spread.

    >>> figure_of([1.0, 3.0], "s")["value"], round(figure_of([1.0, 3.0], "s")["spread"], 3)
    (2.0, 1.414)
    """
    if not values:
        raise ValueError(
            "A figure needs at least one value, got none. Pass figure(None, unit) if it cannot be measured."
        )
    spread = statistics.stdev(values) if len(values) > 1 else None
    return figure(statistics.fmean(values), unit, spread=spread, n=len(values), seeds=seeds)


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """Cost of ``a`` over cost of ``b``, each pair taken back to back."""

    value: float
    """Median of the pairs' ratios."""
    spread: float
    """Standard deviation of the pairs' ratios; 0 with one pair."""
    n: int
    """Number of pairs."""
    a_s: float
    """Median seconds of ``a``."""
    b_s: float
    """Median seconds of ``b``."""

    def figure(self) -> Figure:
        """The ratio as a figure."""
        return figure(self.value, "ratio", spread=self.spread, n=self.n)


def paired_ratio(
    a: Callable[[], object],
    b: Callable[[], object],
    repeats: int,
    *,
    warm_ups: int = 1,
    clock: Callable[[], float] = time.process_time,
) -> Ratio:
    """Time of ``a()`` over time of ``b()`` in one run, alternating, so that a drift of the machine hits both alike.

    ``clock`` is the CPU time of this process by default (all its threads, not its children), which a busy neighbour
    disturbs least; pass ``time.perf_counter`` for wall time. Every second pair runs ``b`` first; the first ``warm_ups``
    pairs are thrown away.

    >>> ticks = iter([0, 4, 4, 6, 6, 8, 8, 12])                   # a: 4, b: 2, then b: 2, a: 4
    >>> paired_ratio(lambda: None, lambda: None, 2, warm_ups=0, clock=lambda: next(ticks)).value
    2.0
    """
    if repeats < 1:
        raise ValueError(f"repeats must be 1 or more, got {repeats}.")

    def cost(job: Callable[[], object]) -> float:
        start = clock()
        job()
        return clock() - start

    for _ in range(warm_ups):
        a()
        b()
    costs_a: list[float] = []
    costs_b: list[float] = []
    for repeat in range(repeats):
        for job, costs in ((a, costs_a), (b, costs_b)) if repeat % 2 == 0 else ((b, costs_b), (a, costs_a)):
            costs.append(cost(job))
    if min(costs_b) <= 0:
        raise ValueError("b() took no measurable time, so there is no ratio. Let it do more work per call.")
    ratios = [one / other for one, other in zip(costs_a, costs_b, strict=True)]
    return Ratio(
        value=statistics.median(ratios),
        spread=statistics.stdev(ratios) if repeats > 1 else 0.0,
        n=repeats,
        a_s=statistics.median(costs_a),
        b_s=statistics.median(costs_b),
    )


def quick(argv: Sequence[str] | None = None) -> bool:
    """Is this the short form? True with ``--quick`` on the command line or ``QUICK=1`` in the environment."""
    arguments = sys.argv[1:] if argv is None else argv
    return "--quick" in arguments or os.environ.get("QUICK", "0") not in ("", "0")


def machine() -> dict[str, Any]:
    """What the figures were taken on: processor, cores this process may use, memory, system, accelerator."""
    return {
        "processor": _processor(),
        "cores": len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "accelerator": _accelerator(),
    }


def versions() -> dict[str, str]:
    """Python's version and those of :data:`VERSIONS_OF` that are installed, without importing them."""
    found = {"python": platform.python_version()}
    for name in VERSIONS_OF:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def write_results(
    name: str,
    figures: Mapping[str, Figure],
    *,
    quick: bool,
    notes: str | Sequence[str] | None = None,
    more: Mapping[str, Any] | None = None,
    folder: Path = RESULTS,
) -> Path:
    """Write ``NAME.json`` (``NAME.quick.json`` for the short form) into ``folder`` and return its path.

    ``notes`` are sentences that stand under the figures in the docs. ``more`` holds further keys, such as ``tables``
    (each with ``title``, ``head`` and ``rows``), which the docs show before the figures. A file is replaced whole
    or not at all.
    Raises ``ValueError`` for a name that is not lower_snake_case or when there is no figure.
    """
    for each in (name, *figures):
        if not _NAME.fullmatch(each):
            raise ValueError(f"Names of benchmarks and figures are lower_snake_case, got {each!r}. Rename it.")
    if not figures:
        raise ValueError(f"The benchmark {name} has no figures. Pass at least one.")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}{'.quick' if quick else ''}.json"
    content = {
        "schema_version": SCHEMA_VERSION,
        "name": name,
        "quick": quick,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "versions": versions(),
        "notes": [notes] if isinstance(notes, str) else list(notes or ()),
        "figures": {key: figure(**entry) for key, entry in figures.items()},
        **(more or {}),
    }
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    temporary.replace(path)
    return path


def _processor() -> str:
    """The processor's name as the system tells it."""
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        found = re.search(r"^model name\s*:\s*(.+)$", listing.read_text(), re.MULTILINE)
        if found:
            return found.group(1).strip()
    return platform.processor() or platform.machine()


def _accelerator() -> str | None:
    """The GPU's name, asked only of a torch that the benchmark has loaded itself."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    return str(torch.cuda.get_device_name(0))
