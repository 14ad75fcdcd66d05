"""What can be wrong with a row. Both are the caller's mistake, so both are `ValueError`.

ValueError
├── RowError      the row itself: unknown task, answer outside the set, no modality ...
└── DecodeError   the content of one modality: not an image, truncated, too long, NaN ...
"""

from __future__ import annotations


class RowError(ValueError):
    """A manifest row that cannot become a sample. The message states the fact, the value and the mend."""


class DecodeError(ValueError):
    """Bytes that cannot become a value of their modality. The message states the fact, the value and the mend."""
