"""Training and inference against the same architecture written plainly, where the time goes, and packing against
padding; on a GPU throughput, memory and the distance to the roofline.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks.harness import Figure, figure, paired_ratio
from benchmarks.science_gpu import gpu
from benchmarks.science_plain import padded, plain, waste
from omni_model.config import ModelConfig
from omni_model.data import tri_digits
from omni_model.features import Batcher, FeatureSet, encode_samples
from omni_model.losses import loss_parts
from omni_model.model import OmniModel
from omni_model.protocol import Batch

Say = Callable[[str], None]
ROWS = 32
TOP = 6


def measure(quick: bool, say: Say) -> dict[str, Any]:
    """Figures, tables and notes."""
    torch.set_num_threads(1)
    repeats = 3 if quick else 15
    torch.manual_seed(0)
    model = OmniModel(ModelConfig(width=32) if quick else ModelConfig(), [tri_digits.TASK])
    rows = encode_samples(model, tri_digits.load(["en"])[: ROWS * (2 if quick else 6)])
    batch, simple = Batcher(model, rows)(torch.arange(ROWS)), plain(model)
    wide = padded(batch, rows)
    figures: dict[str, Figure] = {"plain_answers_differ_by": figure(gap(model, simple, batch, wide), "logit")}
    train = paired_ratio(step(simple, batch), step(model, batch), repeats)
    infer = paired_ratio(forward(simple, batch), forward(model, batch), repeats)
    fixed = paired_ratio(step(simple, wide), step(model, batch), repeats)
    figures["train_speed_ratio_to_plain"] = train.figure()
    figures["infer_speed_ratio_to_plain"] = infer.figure()
    figures["train_speed_ratio_to_plain_of_fixed_length"] = fixed.figure()
    figures["train_step_ms"] = figure(1e3 * train.b_s, "ms", n=train.n)
    figures["train_step_plain_ms"] = figure(1e3 * train.a_s, "ms", n=train.n)
    say(f"speed: training {train.value:.2f}, inference {infer.value:.2f} times as fast as written plainly")
    packing, table = packed(model, rows, repeats)
    figures |= packing
    tables = [table, profiled({"ours": step(model, batch), "plain": step(simple, batch)})]
    more, told = gpu(say)
    return {"figures": figures | more, "tables": tables, "notes": [*NOTES, told]}


NOTES = (
    "Speed: the layers and the head, forward and backward, on encoded rows of tri-digits; 32 rows, the default model, "
    "one CPU thread, pairs taken in turns. The encoders are the same in both.",
    "Plain: scores, bias, mask and softmax spelt out; every modality's map on every token. Padded alike in both; of "
    "fixed length: the plain form's blocks are padded to the longest row of the data.",
)


def step(model: OmniModel, batch: Batch) -> Callable[[], None]:
    """One forward and backward pass of the interaction layers."""

    def run() -> None:
        model.train()
        model.zero_grad(set_to_none=True)
        parts = loss_parts(model(batch), batch)
        torch.autograd.backward(torch.stack(list(parts.values())).sum())

    return run


def forward(model: OmniModel, batch: Batch) -> Callable[[], None]:
    """One pass without gradients."""

    def run() -> None:
        model.eval()
        with torch.inference_mode():
            model(batch)

    return run


@torch.no_grad()
def gap(one: OmniModel, two: OmniModel, batch: Batch, wide: Batch) -> float:
    """Largest difference of the logits of both forms: rounding, or the comparison is of two things."""
    first: Tensor = one.eval()(batch).logits
    difference = float((first - two.eval()(wide).logits).abs().max())
    if difference > 1e-3:
        raise RuntimeError(f"The plain form answers differently, by {difference:g}. Mend it before comparing speeds.")
    return difference


def packed(model: OmniModel, rows: FeatureSet, repeats: int) -> tuple[dict[str, Figure], dict[str, Any]]:
    """Three ways to batch the same rows: at random, rows of like length together, and each alone without padding."""
    batcher, every = Batcher(model, rows), torch.arange(len(rows))
    lengths = torch.stack([block.lengths for block in rows.blocks.values()]).sum(dim=0)
    ways = {
        "padded to the longest of a random batch": torch.split(every, ROWS),
        "rows of like length together": torch.split(lengths.argsort(stable=True), ROWS),
        "one row at a time, nothing padded": torch.split(every, 1),
    }
    made = {name: [batcher(part) for part in parts] for name, parts in ways.items()}
    runs = {name: [forward(model, batch) for batch in batches] for name, batches in made.items()}

    def all_of(name: str) -> Callable[[], None]:
        def run() -> None:
            for each in runs[name]:
                each()

        return run

    first = next(iter(ways))
    cells, figures = [[first, f"{waste(made[first]):.0%}", "1"]], {"padding_share": figure(waste(made[first]), "share")}
    for name, key in zip(list(ways)[1:], ("like_length", "unpadded"), strict=True):
        ratio = paired_ratio(all_of(name), all_of(first), max(2, repeats // 3))
        figures[f"{key}_time_ratio_to_padded"] = ratio.figure()
        cells.append([name, f"{waste(made[name]):.0%}", f"{ratio.value:.2f} ± {ratio.spread:.2f}"])
    head = ["how rows are batched", "places that hold no token", "time, forward"]
    return figures, {"title": "Packing against padding on tri-digits", "head": head, "rows": cells}


def profiled(jobs: dict[str, Callable[[], None]]) -> dict[str, Any]:
    """The operators in which a training step spends its time, by torch's profiler."""
    rows = []
    for name, job in jobs.items():
        job()
        with profile(activities=[ProfilerActivity.CPU]) as seen:
            for _ in range(3):
                job()
        events = sorted(seen.key_averages(), key=lambda event: -event.self_cpu_time_total)
        total = sum(event.self_cpu_time_total for event in events)
        parts = [
            f"{event.key.removeprefix('aten::')} {event.self_cpu_time_total / total:.0%}" for event in events[:TOP]
        ]
        calls = sum(event.count for event in events) // 3
        rows.append([name, f"{total / 3e3:.1f}", f"{calls:,}", ", ".join(parts)])
    head = ["form", "CPU ms a step", "operators called", "where"]
    return {"title": "Where a training step spends its time (torch.profiler)", "head": head, "rows": rows}
