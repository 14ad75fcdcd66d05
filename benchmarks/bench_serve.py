"""The live service beside other servers: `python -m benchmarks.bench_serve [--quick] [--only PART]` writes
benchmarks/results/serve.json.

What does it cost beside the bare forward pass, what does a request that nothing computes for cost, does a change of
version fail a request, what does SIGTERM lose, who fails with a poisoned request, and what does the cache bring?
"""

from __future__ import annotations

import argparse
import importlib
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from benchmarks.harness import Figure, figure, quick, write_results
from benchmarks.serve_home import Bench

PARTS = ("throughput", "noop", "swap", "cache", "faults", "msn")
HEADLINES = {
    "noop_cpu_ms": "CPU ms/request",
    "ratio_to_bare_batched_64": "ratio",
    "p99_ratio_to_best_peer_64": "ratio",
    "swap_failed_requests": "requests",
    "swap_p95_s": "s",
    "cache_speedup_90": "ratio",
    "msn_speedup": "ratio",
    "msn_accuracy_loss": "points",
    "poison_innocents_failed": "share",
    "sigterm_lost": "requests",
    "idle_cpu_share": "share of a core",
}
NOTES = (
    "One checkpoint of the default size, trained for eight epochs on tri-digits, behind every server; every server's "
    "answers are compared with the model's own before it is measured. One worker each, torch with one thread, batches "
    "of at most 32. Servers are started afresh in each round and measured in alternating order; the load comes from a "
    "process of its own, N clients in a closed loop over connections kept open, bodies rendered before: pictures and "
    "recordings never repeat, words and instructions do.",
    "per_core_s is requests by CPU seconds of the server's whole process tree, user and system, without the load's "
    "own; bare is the same work from encoded bytes to answers in batches of 32, without a server, base64 or JSON, on "
    "one thread.",
    "The figures without a name are those of our service with nothing logged (OMNI_SERVICE__LOG_SHARE=0), as the other "
    "servers log nothing; `logging` is the default of the product: every answer is logged with its inputs, and the "
    "price of that is counted.",
    "LitServe batches with a time-out of 5 ms, MLServer with 5 ms, BentoML adaptively, MLflow not at all. Those that "
    "are not in our lock run in environments of their own with our lock's torch.",
    "noop_cpu_ms: a model that computes next to nothing, one short text a request, 64 clients; noop_cpu_ms_1: one "
    "client. idle_cpu_share is CPU time by wall time after that load.",
    "swap_*: under 64 clients each candidate is promoted and rolled back. Failed is every answer but 200; an answer is "
    "stale if its request was sent after another client had been answered by the newer version. The seconds are from "
    "the decision (before its transaction) to the end of the last answer of the old version.",
    "poison_innocents_failed: 16 clients, one request of sixteen makes the model raise for its whole batch; the share "
    "of the other requests that get no 200. sigterm_lost: requests sent before SIGTERM under 64 clients that get no "
    "answer.",
    "cache_*: one client, so many per cent of the requests sent before; mean latency at the client. The article's "
    "4.4 times is with encoders that take most of 820 ms; ours take a few.",
)


def run(parts: Sequence[str], bench: Bench, *, short: bool) -> tuple[dict[str, Figure], list[str]]:
    """The figures of some parts, and what could not be measured."""
    figures: dict[str, Figure] = {}
    notes: list[str] = []
    for part in parts:
        began = time.monotonic()
        print(f"{part}", flush=True)
        if find_spec(f"benchmarks.serve_{part}") is None:
            notes.append(f"{part}: not measured, benchmarks/serve_{part}.py is not there.")
            continue
        module = importlib.import_module(f"benchmarks.serve_{part}")
        if part == "msn":
            made, said = module.figures(short), list(module.NOTES)
        else:
            made, said = module.figures(bench, short)
        figures |= made
        notes += said
        print(f"  {time.monotonic() - began:.0f} s", flush=True)
    return figures, notes


def main() -> None:
    """Measure and write; with `--only` print instead."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_serve", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a short form whose figures are not kept")
    parser.add_argument("--only", choices=PARTS, action="append", help="measure this part and print it")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-serve-") as folder:
        figures, notes = run(arguments.only or PARTS, Bench(Path(folder)), short=quick())
    for name, entry in figures.items():
        print(f"{name}: {entry['value']} {entry['unit']}")
    print(*notes, sep="\n")
    if not arguments.only:
        missing = {name: figure(None, unit) for name, unit in HEADLINES.items() if name not in figures}
        ordered = {name: {**missing, **figures}[name] for name in HEADLINES} | figures
        print(write_results("serve", ordered, quick=quick(), notes=[*NOTES, *notes]))


if __name__ == "__main__":
    main()
