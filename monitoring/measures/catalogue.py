"""Every measure by name: what it is, its unit, which way is better, and where the definition comes from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One kind of number."""

    name: str
    """The name that tables, pages and files use."""
    unit: str
    """`fraction` lies in [0, 1]; `s` is seconds; `nat` is natural-log information."""
    higher_is_better: bool
    """False for errors, losses and times."""
    definition: str
    """In one sentence."""
    source: str
    """Where the formula comes from."""


_ALL = (
    Measure(
        name="accuracy",
        unit="fraction",
        higher_is_better=True,
        definition="Share of labelled samples whose answer is the target.",
        source="common usage",
    ),
    Measure(
        name="balanced_accuracy",
        unit="fraction",
        higher_is_better=True,
        definition="Mean over the classes that occur (task and target) of the share answered rightly.",
        source="Brodersen et al. 2010",
    ),
    Measure(
        name="ece",
        unit="fraction",
        higher_is_better=False,
        definition="Expected calibration error: |accuracy - confidence| over 15 equal-width bins, weighted by share.",
        source="Guo et al. 2017",
    ),
    Measure(
        name="nll",
        unit="nat",
        higher_is_better=False,
        definition="Mean of -log of the probability given to the target, probabilities kept above 1e-12.",
        source="common usage",
    ),
    Measure(
        name="brier",
        unit="squared probability",
        higher_is_better=False,
        definition="Mean squared distance between the probabilities and the one-hot target, in [0, 2].",
        source="Brier 1950, the original form over all classes",
    ),
    Measure(
        name="alignment_error",
        unit="fraction",
        higher_is_better=False,
        definition="1 - (R@1 x→y + R@1 y→x) / 2, averaged over the modality pairs observed; a tie is a miss.",
        source="cross-modal retrieval as in CLIP (Radford et al. 2021), ties as misses",
    ),
    Measure(
        name="modality_balance",
        unit="fraction",
        higher_is_better=True,
        definition="Entropy of the positive Shapley shares of the modalities over log of their number.",
        source="Shapley 1953; SHAPE (Hu et al. 2022); the entropy is our own aggregation",
    ),
    Measure(
        name="instruction_following",
        unit="fraction",
        higher_is_better=True,
        definition="Share of samples whose unmasked answer lies in the answer set of the instructed task.",
        source="strict accuracy of IFEval (Zhou et al. 2023), with the answer set as the checkable constraint",
    ),
    Measure(
        name="negative_flip_rate",
        unit="fraction",
        higher_is_better=False,
        definition="Share of labelled samples that the old version answered rightly and the new one wrongly.",
        source="Yan et al. 2021, positive-congruent training",
    ),
    Measure(
        name="latency_p50",
        unit="s",
        higher_is_better=False,
        definition="Median seconds from sample to answer, nearest rank.",
        source="common usage",
    ),
    Measure(
        name="latency_p95",
        unit="s",
        higher_is_better=False,
        definition="The time that 95 % of the samples keep within, nearest rank.",
        source="common usage",
    ),
)

MEASURES: dict[str, Measure] = {measure.name: measure for measure in _ALL}
