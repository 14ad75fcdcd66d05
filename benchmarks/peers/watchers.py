"""Drift detectors of river and NannyML on streams given as JSON: `python watchers.py STREAMS OUT`.

Runs in an environment of its own and imports nothing of ours. Every detector has its defaults. The input has
`reference` (columns of numbers, None for gaps) and `streams` by name, each a list of columns of one length; the output
has, by detector and stream, the places at which it raised an alarm.
"""

from __future__ import annotations

import json
import math
import sys
import warnings
from pathlib import Path
from typing import Any

CHUNK_ROWS = 64
Columns = dict[str, list[float | None]]


def river_alarms(columns: Columns, names: list[str], make: Any) -> list[int]:
    """Places at which a detector on any of the columns says that there is drift; each restarts itself."""
    found: set[int] = set()
    for name in names:
        detector = make()
        for place, value in enumerate(columns[name]):
            if value is None or not math.isfinite(value):
                continue
            detector.update(value)
            if detector.drift_detected:
                found.add(place)
    return sorted(found)


def nannyml_alarms(reference: Columns, columns: Columns, names: list[str]) -> dict[str, list[int]]:
    """Ends of the chunks in which NannyML's univariate (any column) and multivariate detectors say alert."""
    import nannyml as nml
    import pandas as pd

    known, seen = (pd.DataFrame({name: table[name] for name in names}, dtype=float) for table in (reference, columns))
    median = known.median()
    filled = known.fillna(median), seen.fillna(median)
    univariate = nml.UnivariateDriftCalculator(column_names=names, chunk_size=CHUNK_ROWS)
    univariate.fit(known)
    by_column = univariate.calculate(seen).to_df()
    alerts = by_column.xs("alert", axis=1, level=2).any(axis=1)
    multivariate = nml.DataReconstructionDriftCalculator(column_names=names, chunk_size=CHUNK_ROWS)
    multivariate.fit(filled[0])
    rebuilt = multivariate.calculate(filled[1]).to_df()
    whole = rebuilt.xs("alert", axis=1, level=1).any(axis=1)
    return {
        "nannyml univariate": chunks_of(alerts.to_numpy(), by_column, seen),
        "nannyml multivariate": chunks_of(whole.to_numpy(), rebuilt, seen),
    }


def chunks_of(alerts: Any, table: Any, seen: Any) -> list[int]:
    """The ends of the chunks of the analysis that have an alert."""
    num = -(-len(seen) // CHUNK_ROWS)
    return [min((at + 1) * CHUNK_ROWS, len(seen)) - 1 for at, is_alert in enumerate(alerts[-num:]) if bool(is_alert)]


def main() -> None:
    """Every detector on every stream."""
    warnings.simplefilter("ignore")
    from river import drift

    given = json.loads(Path(sys.argv[1]).read_text())
    reference, names = given["reference"], list(given["reference"])
    of_model = [name for name in names if name in ("confidence", "error")]
    makers = {"adwin": drift.ADWIN, "page-hinkley": drift.PageHinkley, "kswin": lambda: drift.KSWIN(seed=0)}
    found: dict[str, dict[str, list[int]]] = {}
    for stream, columns in given["streams"].items():
        for name, make in makers.items():
            found.setdefault(f"river {name}", {})[stream] = river_alarms(columns, names, make)
            found.setdefault(f"river {name}, model", {})[stream] = river_alarms(columns, of_model, make)
        for name, places in nannyml_alarms(reference, columns, names).items():
            found.setdefault(name, {})[stream] = places
    Path(sys.argv[2]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
