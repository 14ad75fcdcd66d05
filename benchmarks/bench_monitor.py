"""Monitoring on the live service: `python -m benchmarks.bench_monitor [--quick] [--only PART]` writes
benchmarks/results/monitor.json. Which faults does it find, after how many samples, does it cry wolf, does every alert
arrive once, what does it cost, and how do other detectors do on the same streams?
"""

from __future__ import annotations

import argparse
import importlib
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.harness import Figure, figure, quick, write_results
from benchmarks.monitor_home import Watched

PARTS = ("faults", "clean", "delivery", "cost", "peers")
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
    "tri-digits for two tasks (the digit, and whether it is even); the service has one core, and priority over other "
    "work on the machine where that may be given. Clients ask over HTTP and give the right answer as feedback to half of what they asked.",
    "What is accelerated: every duration of the default rules (window, for, keep_firing_for, group intervals) is a "
    "sixtieth, no window is longer than 60 s (of the day of accuracy), the pulse judges each second and asks samples "
    "again each five seconds. Metrics, bounds, hysteresis, numbers of samples, confidences and inhibitions are read "
    "from the default file. Triggers, rounds and the fitting of selectors do not run. At the default pace the same "
    "takes about sixty times as long in seconds, not in samples.",
)


def run(parts: Sequence[str], watched: Watched, *, short: bool) -> tuple[dict[str, Figure], list[str]]:
    """The figures of some parts, and what is to be said about them."""
    figures: dict[str, Figure] = {}
    notes: list[str] = []
    for part in parts:
        began = time.monotonic()
        print(f"{part}", flush=True)
        made, said = importlib.import_module(f"benchmarks.monitor_{part}").figures(watched, short)
        figures |= made
        notes += said
        print(f"  {time.monotonic() - began:.0f} s", flush=True)
    return figures, notes


def main() -> None:
    """Measure and write; with `--only` print instead."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_monitor", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a short form whose figures are not kept")
    parser.add_argument("--only", choices=PARTS, action="append", help="measure this part and print it")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="bench-monitor-") as folder:
        watched = Watched(Path(folder))
        watched.build()
        figures, notes = run(arguments.only or PARTS, watched, short=quick())
    for name, entry in figures.items():
        print(f"{name}: {entry['value']} {entry['unit']}")
    print(*notes, sep="\n")
    if not arguments.only:
        missing = {name: figure(None, unit) for name, unit in HEADLINES.items() if name not in figures}
        ordered = {name: {**missing, **figures}[name] for name in HEADLINES} | figures
        print(write_results("monitor", ordered, quick=quick(), notes=[*NOTES, *notes]))


if __name__ == "__main__":
    main()
