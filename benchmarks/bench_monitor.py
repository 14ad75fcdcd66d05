"""Monitoring on the live service: `python -m benchmarks.bench_monitor [--quick] [--only PART]` writes
benchmarks/results/monitor.json. Which faults does it find, after how many samples, does it cry wolf, does every alert
arrive once, what does it cost, and how do other detectors do on the same streams?
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from benchmarks.harness import Figure, figure, quick, write_results
from benchmarks.monitor_home import Watched

PARTS = ("faults", "clean", "cost", "delivery", "peers")
UNTIMED = ("delivery", "peers")
Made = tuple[dict[str, Figure], list[str]]
HEADLINES = {
    "faults_injected": "faults",
    "faults_detected": "faults",
    "wrong_alerts": "alerts",
    "false_alerts_clean_run": "alerts",
    "median_samples_to_detect": "samples",
    "monitor_cpu_share": "ratio",
    "alerts_lost": "alerts",
    "alerts_doubled": "alerts",
}
NOTES = (
    "The live service and the pulse are processes of their own on one home, with a model of width 64 trained on "
    "tri-digits for two tasks (the digit, and whether it is even); the service has one core, and both priority over "
    "other work on the machine where that may be given. Clients ask over HTTP and give the right answer as feedback to "
    "half of what they asked.",
    "What is accelerated: every duration of the default rules (window, for, keep_firing_for, group intervals) is a "
    "sixtieth, no window is longer than 60 s (of the day of accuracy), the pulse judges each second and asks samples "
    "again each five seconds. Metrics, bounds, hysteresis, numbers of samples, confidences and inhibitions are read "
    "from the default file. Triggers, rounds and the fitting of selectors do not run. At the default pace the same "
    "takes about sixty times as long in seconds, not in samples.",
)


def run(parts: Sequence[str], watched: Watched, out: Path, *, short: bool) -> Made:
    """The figures of some parts, and what is to be said about them; written to `out` after each."""
    figures: dict[str, Figure] = {}
    notes: list[str] = []
    for part in parts:
        began = time.monotonic()
        print(f"{part}", flush=True)
        try:
            made, said = importlib.import_module(f"benchmarks.monitor_{part}").figures(watched, short)
        except (RuntimeError, OSError) as error:
            made, said = {}, [f"{part}: not measured. {error}"]
        figures |= made
        notes += said
        out.write_text(json.dumps([figures, notes]), encoding="utf-8")
        print(f"  {part}: {time.monotonic() - began:.0f} s", flush=True)
    return figures, notes


@contextmanager
def beside(parts: Sequence[str], folder: Path, *, short: bool) -> Iterator[Callable[[], Made]]:
    """Parts that measure no time, in a process of their own that yields to the others; call for what they found."""
    out = folder / "beside.json"
    command = [sys.executable, "-m", "benchmarks.bench_monitor", "--out", str(out), *(["--quick"] if short else [])]
    running = subprocess.Popen(["nice", *command, *(word for part in parts for word in ("--only", part))])

    def found() -> Made:
        running.wait()
        if not out.exists():
            return {}, [f"{', '.join(parts)}: not measured. The process ended with {running.returncode}."]
        figures, notes = json.loads(out.read_text(encoding="utf-8"))
        return figures, notes

    try:
        yield found
    finally:
        running.terminate()
        running.wait()


def main() -> None:
    """Measure and write; with `--only` print instead."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_monitor", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a short form whose figures are not kept")
    parser.add_argument("--only", choices=PARTS, action="append", help="measure this part and print it")
    parser.add_argument("--out", type=Path, help="file that also gets what was measured, after each part")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="bench-monitor-") as name:
        folder = Path(name)
        out = arguments.out or folder / "found.json"
        watched = Watched(folder / "watched")
        watched.build()
        if arguments.only:
            figures, notes = run(arguments.only, watched, out, short=quick())
        else:
            with beside(UNTIMED, folder, short=quick()) as found:
                figures, notes = run([part for part in PARTS if part not in UNTIMED], watched, out, short=quick())
                more, said = found()
            figures, notes = figures | more, notes + said
    for key, entry in figures.items():
        print(f"{key}: {entry['value']} {entry['unit']}")
    print(*notes, sep="\n")
    if not arguments.only:
        missing = {key: figure(None, unit) for key, unit in HEADLINES.items() if key not in figures}
        ordered = {key: {**missing, **figures}[key] for key in HEADLINES} | figures
        print(write_results("monitor", ordered, quick=quick(), notes=[*NOTES, *notes]))


if __name__ == "__main__":
    main()
