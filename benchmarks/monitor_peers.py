"""Other detectors on the streams that ours sees: Evidently's preset alone, river's detectors, NannyML."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from statistics import fmean, median

from benchmarks.harness import Figure, figure, figure_of
from benchmarks.monitor_home import Watched
from benchmarks.monitor_ours import alarms
from benchmarks.monitor_streams import AT, CLEAN_ROWS, FAULTY, Column, Columns, Streams, first_delay, joined
from benchmarks.serve_peers import Unavailable, built
from benchmarks.serve_process import ROOT, one_thread
from monitoring.reports import DRIFT, make
from omni_model.checkpoint import load

SEEDS, SEEDS_SHORT = (1, 2, 3), (1,)
NEEDS = ("river==0.26.1", "nannyml==0.13.1", "statsmodels")
WINDOW = 64
CLEAN_WINDOWS, CLEAN_SHORT, FAULTY_WINDOWS = 4, 2, 2
"""Windows that Evidently sees of each stream; a report of 19 columns takes seconds."""
Found = dict[str, dict[str, list[int]]]


def figures(watched: Watched, short: bool) -> tuple[dict[str, Figure], list[str]]:
    """Delay by fault and false alarms, by detector."""
    seeds, model = SEEDS_SHORT if short else SEEDS, load(watched.folder / "checkpoint")
    notes, of_seeds = [], []
    for seed in seeds:
        print(f"  seed {seed}", flush=True)
        streams = Streams.of(model, seed)
        columns = Columns(streams.reference)
        reference, clean = columns.of(streams.reference), columns.of(streams.clean)
        tables = {"clean": clean} | {name: joined(clean, columns.of(rows)) for name, rows in streams.faulty.items()}
        found = ours(streams) | evidently(reference, tables, short=short)
        try:
            found |= others(watched, reference, tables)
        except (Unavailable, RuntimeError) as error:
            notes.append(f"River and NannyML: {error}")
        of_seeds.append(found)
    made: dict[str, Figure] = {}
    for detector in of_seeds[0]:
        seen = samples_seen(detector, short=short)
        made |= figures_of(detector, [found[detector] for found in of_seeds if detector in found], seeds, seen)
    return made, [*NOTES, *(table(detector, of_seeds) for detector in of_seeds[0]), *notes]


NOTES = (
    "Peers: one stream a fault and seed, 320 clean samples and then 256 faulty ones, and a clean one of 640, "
    "answered by the model that the service serves; everybody has the same 384 clean samples as reference, and "
    "feedback on every answer. Ours is the product's measures, default rules and state machine on the last 64 "
    "samples, a look each 32 samples that counts for two minutes; latency, resources and the balance of "
    "modalities are not in it. The others get confidence, error, the simple descriptors and two principal "
    "components of each modality's embeddings as columns, and their defaults. Evidently's data drift preset sees "
    "windows of 64: `dataset` is its own verdict (half of the columns), `any` is any column. River's detectors "
    "watch each column, or the model's confidence and errors alone. NannyML has chunks of 64. A window that the "
    "fault has not filled counts for nobody.",
    "delay_* is the median over seeds of the samples from the fault to the first alarm of those that came; "
    "missed_* are streams without one. false_per_1000_* are alarms on the clean stream by its samples: a window "
    "or chunk in alarm is one, a rule that fires is one.",
)


def ours(streams: Streams) -> Found:
    """Our rules together."""
    clean = alarms(streams.reference, streams.clean)
    found = {"clean": sorted(place for places in clean.values() for place in places)}
    for name, rows in streams.faulty.items():
        raised = alarms(streams.reference, streams.clean.then(rows, AT))
        print(f"    {name}: { {rule: [p - AT + 1 for p in places] for rule, places in raised.items()} }", flush=True)
        found[name] = sorted(place for places in raised.values() for place in places)
    return {"ours": found}


def evidently(reference: Mapping[str, Column], tables: Mapping[str, Mapping[str, Column]], *, short: bool) -> Found:
    """Its preset on windows: its own verdict, and any column."""
    found: Found = {"evidently dataset": {}, "evidently any": {}}
    for name, columns in tables.items():
        first = 0 if name == "clean" else AT
        num = (CLEAN_SHORT if short else CLEAN_WINDOWS) if name == "clean" else (1 if short else FAULTY_WINDOWS)
        dataset, either = found["evidently dataset"].setdefault(name, []), found["evidently any"].setdefault(name, [])
        for start in range(first, first + num * WINDOW, WINDOW):
            window = {key: values[start : start + WINDOW] for key, values in columns.items()}
            told = make(DRIFT, window, reference, name=name, at=datetime.now(UTC), about={}).numbers
            drifted = float(
                next(value for key, value in told.items() if "DriftedColumnsCount" in key and "share" in key[-5:])
            )
            dataset += [start + WINDOW - 1] if drifted >= 0.5 else []
            either += [start + WINDOW - 1] if drifted > 0 else []
            if name != "clean" and dataset and either:
                break
    return found


def others(watched: Watched, reference: Mapping[str, Column], tables: Mapping[str, Mapping[str, Column]]) -> Found:
    """River's and NannyML's, in their own environment. Raises `Unavailable` or `RuntimeError`."""
    python = built("watchers", NEEDS)
    given, out = watched.folder / "streams.json", watched.folder / "alarms.json"
    given.write_text(json.dumps({"reference": reference, "streams": tables}))
    done = subprocess.run(
        [str(python), str(ROOT / "benchmarks/peers/watchers.py"), str(given), str(out)],
        env=one_thread({}),
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    if done.returncode:
        raise RuntimeError(f"benchmarks/peers/watchers.py ended with {done.returncode}: {done.stderr[-300:]}")
    found: Found = json.loads(out.read_text())
    return found


def figures_of(
    detector: str, found: Sequence[Mapping[str, Sequence[int]]], seeds: Sequence[int], seen: int
) -> dict[str, Figure]:
    """A detector's median delay, its misses, and its false alarms."""
    key = detector.replace(" ", "_").replace(",", "").replace("-", "_")
    delays = [first_delay(each[name]) for each in found for name in FAULTY]
    known = [delay for delay in delays if delay is not None]
    return {
        f"delay_{key}": figure(median(known) if known else None, "samples", n=len(known)),
        f"missed_{key}": figure(len(delays) - len(known), "streams", n=len(delays)),
        f"false_per_1000_{key}": figure_of([1000 * len(each["clean"]) / seen for each in found], "alarms", seeds=seeds),
    }


def samples_seen(detector: str, *, short: bool) -> int:
    """Clean samples that a detector saw."""
    windows = CLEAN_SHORT if short else CLEAN_WINDOWS
    return windows * WINDOW if detector.startswith("evidently") else CLEAN_ROWS


def table(detector: str, of_seeds: Sequence[Found]) -> str:
    """A detector's mean delay for each fault, over the seeds in which it noticed it."""
    parts = []
    for name in FAULTY:
        delays = [first_delay(found[detector][name]) for found in of_seeds if detector in found]
        known = [delay for delay in delays if delay is not None]
        parts.append(f"{name} {fmean(known):.0f} ({len(known)} of {len(delays)})" if known else f"{name} never")
    return f"Samples until {detector} noticed: {'; '.join(parts)}."
