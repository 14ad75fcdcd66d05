"""How long what was told is kept. Importing this file imports nothing heavy.

>>> KeepConfig(notices_days=-1)
Traceback (most recent call last):
ValueError: keep.notices_days must be 0 or more, got -1. Set OMNI_KEEP__NOTICES_DAYS.
"""

from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True)
class KeepConfig:
    """Days until what is over is deleted; 0 keeps it. The log of answers and measurements have their own settings."""

    notices_days: float = 90.0
    """Days after which notices that were delivered are deleted. One that waits or was given up on stays, and so does
    the last one of each group, because the next one is made by what it said."""
    silences_days: float = 90.0
    """Days after its end at which a silence is deleted; the audit trail keeps who wanted it and why."""
    reports_days: float = 365.0
    """Days after which reports of windows of traffic are deleted, snapshots and all; those of rounds stay."""

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if not 0 <= value < float("inf"):
                raise ValueError(
                    f"keep.{entry.name} must be 0 or more, got {value}. Set OMNI_KEEP__{entry.name.upper()}."
                )
