"""Training on a GPU: throughput, memory, and the distance to the GPU's peak. Says so if there is none."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.harness import Figure, figure
from omni_model.config import ModelConfig
from omni_model.data import tri_digits
from omni_model.features import Batcher, encode_samples
from omni_model.losses import loss_parts
from omni_model.model import OmniModel

UNITS = {
    "gpu_train_samples_per_s": "samples/s",
    "gpu_peak_memory_mib": "MiB",
    "gpu_share_of_matmul_peak": "share",
}
SIZE, STEPS, ROWS = 8192, 20, 1024


def gpu(say: Callable[[str], None]) -> tuple[dict[str, Figure], str]:
    """The figures and a sentence; none without a GPU."""
    if not torch.cuda.is_available():
        return {
            name: figure(None, unit) for name, unit in UNITS.items()
        }, "GPU: not run, there is none on this machine."
    samples, memory, reached = training()
    share = reached / matmul_flops()
    say(f"gpu: {samples:.0f} samples/s, {memory:.0f} MiB, {share:.1%} of the matrix product's peak")
    values = dict(zip(UNITS, (samples, memory, share), strict=True))
    made = {name: figure(value, UNITS[name], n=STEPS) for name, value in values.items()}
    return made, f"GPU: {torch.cuda.get_device_name(0)}, float32 with TF32 products, {ROWS} rows a step."


def training() -> tuple[float, float, float]:
    """Samples a second, peak MiB, and FLOP/s of a training step on cached features."""
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.manual_seed(0)
    model = OmniModel(ModelConfig(), [tri_digits.TASK])
    rows = encode_samples(model, tri_digits.load())
    model.place(lambda _: "cuda", "cuda")
    batch = Batcher(model, rows)(torch.arange(len(rows)).repeat(1 + ROWS // len(rows))[:ROWS]).to(model.device)

    def step() -> None:
        model.zero_grad(set_to_none=True)
        torch.autograd.backward(torch.stack(list(loss_parts(model(batch), batch).values())).sum())

    with FlopCounterMode(display=False) as counter:
        step()
    torch.cuda.reset_peak_memory_stats()
    seconds = timed(step, STEPS)
    return ROWS / seconds, torch.cuda.max_memory_allocated() / 2**20, counter.get_total_flops() / seconds


def matmul_flops() -> float:
    """FLOP/s of a large matrix product in the same precision: the roof."""
    a, b = (torch.randn(SIZE, SIZE, device="cuda") for _ in range(2))
    return 2 * SIZE**3 / timed(lambda: a @ b, STEPS)


def timed(job: Callable[[], object], count: int) -> float:
    """Seconds a run, after three runs to warm up."""
    for _ in range(3):
        job()
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(count):
        job()
    torch.cuda.synchronize()
    return (time.perf_counter() - began) / count
