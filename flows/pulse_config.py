"""How often the pulse looks at what. Frozen values, checked when made; importing this file imports nothing heavy.

>>> PulseConfig(triggers_s=0)
Traceback (most recent call last):
ValueError: pulse.triggers_s must be above 0, got 0. Set OMNI_PULSE__TRIGGERS_S.
"""

from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True)
class PulseConfig:
    """The pulse's intervals, in seconds."""

    deliver_s: float = 5.0
    """Between two looks at the outbox; what waits there is delivered."""
    reconcile_s: float = 60.0
    """Between two reconciliations with MLflow when nothing waits."""
    probation_s: float = 5.0
    """Between two looks for feedback on a version on probation or on trial."""
    forget_s: float = 300.0
    """Between two looks for what the log of answers has kept long enough."""
    tidy_s: float = 900.0
    """Between two looks for measurements, notices, silences and reports that were kept long enough."""
    triggers_s: float = 30.0
    """Between two checks whether new labels, drift or performance ask for a round."""
    rounds_s: float = 5.0
    """Between two looks for a round that can be started or can go on."""
    selectors_s: float = 5.0
    """Between two looks for a version in service of which no selector of modalities was fitted."""
    rules_s: float = 60.0
    """Between two evaluations of the rules."""
    probe_s: float = 300.0
    """Between two times that recent samples are asked again; left out while there are none that are new."""
    resume_after_s: float = 120.0
    """A round that neither moves nor waits for labels, and that no process works on, is taken up again after this."""
    retry_s: float = 60.0
    """Before a round whose run failed is tried again; doubles with each failure, up to an hour."""
    orphan_after_s: float = 180.0
    """A run that Prefect calls running, though no process works on a round, counts as crashed after this."""
    job_limit_s: float = 1800.0
    """A look that takes longer is stuck: the pulse stops beating, and `omniloop up` starts it again."""
    stop_s: float = 5.0
    """What a look that is going on gets to end in when the pulse is told to stop."""

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if not 0 < value < float("inf"):
                raise ValueError(
                    f"pulse.{entry.name} must be above 0, got {value}. Set OMNI_PULSE__{entry.name.upper()}."
                )
