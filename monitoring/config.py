"""The limits of gate, probation and triggers. Frozen values, checked when made; importing this imports nothing heavy.

>>> GateConfig().max_relative_fall, ProbationConfig().max_pairs
(0.05, 5000)
>>> GateConfig(confidence=95)
Traceback (most recent call last):
ValueError: gate.confidence must lie in (0.5, 1), got 95. For 95 % give 0.95.
"""

from __future__ import annotations

from dataclasses import dataclass

EVERYTHING = "all"
"""Name of the slice that holds every sample."""


@dataclass(frozen=True, kw_only=True)
class GateConfig:
    """What a candidate is held to."""

    max_relative_fall: float = 0.05
    """Allowed relative fall of accuracy, balanced accuracy and instruction following; a fraction."""
    max_error_rise: float = 0.05
    """Allowed rise of ECE, alignment error and negative flips; absolute, as a ratio of tiny errors says nothing."""
    max_latency_rise: float = 1.0
    """Allowed relative rise of a latency quantile; 1.0 lets it double."""
    confidence: float = 0.95
    """Confidence of each bound: a candidate just at the limit is accepted with a chance of at most 1 - confidence."""
    primary: tuple[str, ...] = ("accuracy", "balanced_accuracy")
    """Metrics for which a fall beyond the limit must be ruled out before the gate accepts."""
    guarded: tuple[str, ...] = ("instruction_following",)
    """Metrics that must have been measured, and that reject if a fall beyond the limit is established."""
    watched: tuple[str, ...] = ("ece", "alignment_error", "latency_p50")
    """Metrics whose established change for the worse holds the candidate for a person: it can be mended without other
    data (calibration), or have causes outside the version (latency). They may be absent, but not nan."""
    guarded_slices: tuple[str, ...] = ("task", "domain", "modalities", "with", "without")
    """Kinds of slice whose accuracy rejects if a fall beyond the limit is established after Holm's correction."""
    hold_small_falls: bool = True
    """Hold a candidate for a person if a primary metric has established a fall, though one within the limit: else
    round after round could lose just under the limit."""
    min_items: int = 60
    """Independent items that a primary or guarded metric must rest on."""
    min_slice_items: int = 20
    """Independent items below which a slice is reported as not enough data."""
    max_age_s: float = 7 * 86400.0
    """Seconds after which a comparison no longer counts."""

    def __post_init__(self) -> None:
        for name in ("max_relative_fall", "max_error_rise"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"gate.{name} must lie in (0, 1), got {getattr(self, name)}. For 5 % give 0.05.")
        if not self.max_latency_rise > 0:
            raise ValueError(f"gate.max_latency_rise must be above 0, got {self.max_latency_rise}. For +50 % give 0.5.")
        if not 0.5 < self.confidence < 1:
            raise ValueError(f"gate.confidence must lie in (0.5, 1), got {self.confidence}. For 95 % give 0.95.")
        if not self.primary:
            raise ValueError("gate.primary is empty, so anything would be accepted. Name at least `accuracy`.")
        named = (*self.primary, *self.guarded, *self.watched)
        if len(set(named)) != len(named):
            raise ValueError(f"gate.primary, guarded and watched must not share a metric, got {named}. Name each once.")
        for name in ("min_items", "min_slice_items"):
            if getattr(self, name) < 2:
                raise ValueError(f"gate.{name} must be at least 2, got {getattr(self, name)}. Usual are 60 and 20.")
        if not self.max_age_s > 0:
            raise ValueError(f"gate.max_age_s must be above 0, got {self.max_age_s}. A week is 604800.")


@dataclass(frozen=True, kw_only=True)
class ProbationConfig:
    """When probation ends."""

    max_relative_fall: float = 0.05
    """Relative fall of accuracy that is allowed."""
    max_false_rollback: float = 0.02
    """Chance that a version which is no worse is ever rolled back."""
    max_false_accept: float = 0.02
    """Chance that a version which has fallen by the limit or more is ever accepted."""
    disaster_points: float = 0.20
    """Absolute fall of accuracy that rolls back as soon as a fall is established, without waiting for `min_pairs`."""
    min_pairs: int = 50
    """Pairs before an ordinary rollback or an acceptance."""
    max_pairs: int = 5000
    """Pairs after which a person decides."""

    def __post_init__(self) -> None:
        for name in ("max_relative_fall", "max_false_rollback", "max_false_accept", "disaster_points"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"probation.{name} must lie in (0, 1), got {getattr(self, name)}. For 5 % give 0.05.")
        if not 1 <= self.min_pairs <= self.max_pairs:
            raise ValueError(f"probation.min_pairs must lie in 1..max_pairs, got {self.min_pairs} of {self.max_pairs}.")


@dataclass(frozen=True, kw_only=True)
class TriggerConfig:
    """When live traffic asks for a round by itself. How many new labels do is `loop.new_labels_trigger`."""

    drift_first_rows: int = 100
    """Predictions in the first look for drift; each later look waits for twice as many new ones. 0: never look."""
    drift_most_rows: int = 1000
    """Predictions in a look for drift at most."""
    feedback_first_rows: int = 100
    """Predictions with feedback in the first look at performance; doubles as above. 0: never look."""
    feedback_most_rows: int = 1000
    """Predictions with feedback in a look at performance at most."""
    max_false_alarm: float = 0.05
    """Chance that drift, or a fall, is ever reported of a version of which it is not true, over all looks together."""
    max_relative_fall: float = 0.05
    """Relative fall of accuracy below that at validation that is allowed."""
    min_distance: float = 0.2
    """Kolmogorov-Smirnov distance of confidences, within a domain, below which a difference does not matter."""
    max_new_share: float = 0.1
    """Share of the traffic that may be of domains, or combinations of modalities, that validation did not know."""
    min_mix_shift: float = 0.2
    """Total variation distance between two mixes below which a difference does not matter."""
    min_rows: int = 20
    """Rows on either side below which confidences are not compared."""
    known_rows: int = 5
    """Validation samples from which on a domain counts as known."""
    ask_again_s: float = 86400.0
    """Seconds before the same finding on the same version may ask again, after a round that changed nothing."""

    def __post_init__(self) -> None:
        for name in ("max_false_alarm", "max_relative_fall", "min_distance", "max_new_share", "min_mix_shift"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"triggers.{name} must lie in (0, 1), got {getattr(self, name)}. For 5 % give 0.05.")
        for kind in ("drift", "feedback"):
            first, most = getattr(self, f"{kind}_first_rows"), getattr(self, f"{kind}_most_rows")
            if first != 0 and not 1 <= self.min_rows <= first <= most:
                raise ValueError(
                    f"triggers.{kind}_first_rows must be 0 or lie between min_rows and {kind}_most_rows, got {first} "
                    f"for {self.min_rows} and {most}. Usual are 20, 100 and 1000."
                )
        if self.known_rows < 1:
            raise ValueError(f"triggers.known_rows must be at least 1, got {self.known_rows}. Usual is 5.")
        if not self.ask_again_s >= 0:
            raise ValueError(f"triggers.ask_again_s must be 0 or more, got {self.ask_again_s}. A day is 86400.")
