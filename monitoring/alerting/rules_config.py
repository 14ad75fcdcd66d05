"""Where the rules are and how often they are looked at. Importing this file imports nothing heavy.

>>> AlertingConfig(sample_rows=0)
Traceback (most recent call last):
ValueError: alerting.sample_rows must be above 0, got 0. Set OMNI_ALERTING__SAMPLE_ROWS.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class AlertingConfig:
    """How the rules are evaluated. How often they are is `pulse.rules_s`."""

    rules: str = ""
    """Path of a YAML file of rules; empty: `rules.yaml` in the home, else those that come with the program."""
    max_gap_s: float = 300.0
    """Seconds without an evaluation after which a pending alert starts to wait again: nobody saw what was between."""
    forget_s: float = 86400.0
    """Seconds without data after which an alert about a slice that is seen no more ends, said to have lost its data."""
    keep_s: float = 30 * 86400.0
    """Seconds that live measurements are kept; a back-test looks no further back."""
    max_rows: int = 1000
    """Predictions of a window that are measured at most: the latest."""
    max_slices: int = 30
    """Slices of a kind that are measured apart, the largest first; ten thousand label values make no more."""
    sample_rows: int = 64
    """Recent samples that the version in service is asked again, for what the log of answers cannot tell."""
    baseline_rows: int = 200
    """Samples with known answers that a baseline is captured from at most."""

    def __post_init__(self) -> None:
        names = ("max_gap_s", "forget_s", "keep_s", "max_rows", "max_slices", "sample_rows", "baseline_rows")
        for name in names:
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise ValueError(f"alerting.{name} must be above 0, got {value}. Set OMNI_ALERTING__{name.upper()}.")
