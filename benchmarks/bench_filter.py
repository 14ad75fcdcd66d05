"""What filtering costs: `python -m benchmarks.bench_filter [--quick]` writes benchmarks/results/filter.json.

How much slower than a bare forward pass is scoring a pool and selecting from it? How long does picking 1,000 out of a
million scored candidates take, in the ordinary case and in the worst ones? Does memory grow with the pool?
"""

import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from benchmarks.candidate_streams import Run, measure
from benchmarks.harness import Figure, figure, figure_of, paired_ratio, quick, write_results
from omni_model.acquisition import ACQUISITIONS, Selection, SelectionConfig, select
from omni_model.acquisition.predicted import predicted_batches
from omni_model.config import ModelConfig, TrainConfig
from omni_model.data import tri_digits
from omni_model.data.splits import split_of
from omni_model.features import Batcher, FeatureSet, encode_samples
from omni_model.model import OmniModel
from omni_model.protocol import Batch
from omni_model.sample import Sample
from omni_model.train import fit

MILLION = 1_000_000
BATCH_ROWS = 128
CHUNK_ROWS = 512
BUDGET = 100
MC_PASSES = 10
HEADLINE = "margin"
MEMORY_OF = (HEADLINE, "badge", "core_set")
NOTES = (
    "Ratios are rows a second of filtering over rows a second of one bare forward pass of the same batches, in one "
    "run, alternating, CPU time of one thread; the pool is all of tri-digits, the limits are the defaults, "
    f"{BUDGET} rows are selected.",
    "ratio_to_bare_forward starts from encoded features on both sides, so the bare side is `model(batch)` and nothing "
    "else; ratio_from_samples starts from samples, so the bare side prepares and encodes them too.",
    f"bald makes {MC_PASSES} further passes and disagreement one a modality; their ratio is to a single pass all the "
    "same.",
    "select_* are CPU seconds of one thread from predictions to the 1,000 selected; ten answers, width 96. rising: "
    "every row more uncertain than all before it. copies: nine rows of ten are the same most uncertain sample.",
    "rss_growth_* are differences in peak memory between processes that select 1,000 rows, the largest over margin, "
    "badge and core_set. 10,000 candidates do not fill the reservoir of 20,000 rows, a million do.",
)


def trained_model(samples: list[Sample]) -> OmniModel:
    """A model of the default size after a short training, so that its doubts and embeddings are of a natural kind."""
    torch.manual_seed(0)
    model = OmniModel(ModelConfig(), [tri_digits.TASK])
    train = [sample for sample in samples if sample.domain == "en" and split_of(sample.item) == "train"]
    fit(model, train, [], TrainConfig(epochs=8), seed=0)
    return model.eval()


@torch.no_grad()
def forward_all(model: OmniModel, batches: list[Batch]) -> None:
    """The bare forward pass."""
    for batch in batches:
        model(batch)


@torch.no_grad()
def encode_and_forward_all(model: OmniModel, samples: list[Sample]) -> None:
    """The bare pass from samples: prepare, encode, forward."""
    for start in range(0, len(samples), CHUNK_ROWS):
        rows = encode_samples(model, samples[start : start + CHUNK_ROWS], batch_rows=BATCH_ROWS)
        forward_all(model, list(Batcher(model, rows).all(BATCH_ROWS)))


def run_filter(model: OmniModel, rows: list[Sample] | FeatureSet, name: str) -> Selection:
    """Score the pool and select from it."""
    batches = predicted_batches(model, rows, name, chunk_rows=CHUNK_ROWS, batch_rows=BATCH_ROWS, mc_passes=MC_PASSES)
    return select(batches, SelectionConfig(acquisition=name, budget=BUDGET))


def ratios(short: bool) -> dict[str, Figure]:
    """Rows a second of filtering over rows a second of the bare forward pass."""
    samples = tri_digits.load()
    model = trained_model(samples)
    features = encode_samples(model, samples)
    batches = list(Batcher(model, features).all(BATCH_ROWS))

    def ratio(name: str, repeats: int) -> Figure:
        print(f"  {name} against the bare forward pass", flush=True)
        return paired_ratio(
            lambda: forward_all(model, batches), lambda: run_filter(model, features, name), repeats
        ).figure()

    figures = {"ratio_to_bare_forward": ratio(HEADLINE, 5 if short else 21)}
    figures["ratio_from_samples"] = paired_ratio(
        lambda: encode_and_forward_all(model, samples), lambda: run_filter(model, samples, HEADLINE), 2 if short else 11
    ).figure()
    for name in () if short else sorted(set(ACQUISITIONS) - {HEADLINE}):
        figures[f"ratio_{name}"] = ratio(name, 5)
    return figures


def selections(short: bool) -> dict[str, Figure]:
    """CPU seconds to pick 1,000 out of a million, and how the peak memory grows with the pool."""
    seeds = range(1 if short else 5)
    runs: dict[tuple[str, str], list[Run]] = {}
    kinds = [(HEADLINE, "mixed"), (HEADLINE, "rising"), (HEADLINE, "copies")]
    for name, kind in kinds + [(name, "mixed") for name in sorted(ACQUISITIONS) if name != HEADLINE]:
        print(f"  1,000 of a million by {name}, {kind} stream", flush=True)
        runs[name, kind] = [measure(name, MILLION, kind=kind, seed=seed) for seed in seeds]
    figures = {}
    for (name, kind), several in runs.items():
        key = "select_1k_of_1m_s" if (name, kind) == kinds[0] else f"select_{name if kind == 'mixed' else kind}_s"
        figures[key] = figure_of([run["selection_s"] for run in several], "s", seeds=seeds)
    million = {name: runs[name, "mixed"][0]["peak_mb"] for name in MEMORY_OF}
    few = {name: measure(name, 10_000)["peak_mb"] for name in MEMORY_OF}
    figures["rss_growth_mb_10k_to_1m"] = figure(max(million[name] - few[name] for name in MEMORY_OF), "MB", n=1)
    if not short:
        many = {name: measure(name, 4 * MILLION)["peak_mb"] for name in MEMORY_OF}
        figures["rss_growth_mb_1m_to_4m"] = figure(max(many[name] - million[name] for name in MEMORY_OF), "MB", n=1)
    return figures


def main() -> None:
    """Measure and write."""
    short = quick()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        figures = ratios(short) | selections(short)
    path = write_results("filter", figures, quick=short, notes=NOTES)
    for name, entry in figures.items():
        spread = "" if entry["spread"] is None else f" ± {entry['spread']:.3f}"
        print(f"{name:32} {entry['value']:8.3f}{spread} {entry['unit']}")
    print(f"Written to {path}")


if __name__ == "__main__":
    main()
