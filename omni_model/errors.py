"""What can go wrong in the model that is not the caller's typing mistake (that is `ValueError`).

OmniError
├── CheckpointError      a folder that is no checkpoint of ours: missing, damaged, another schema, another base
├── FrozenLayersMoved    a parameter or buffer changed that tuning had promised to leave alone
├── MissingExtraError    a data set needs an optional package (in `data.building`)
└── PackageError         a data set needs a Debian package that cannot be had (in `data.debian`)
"""

from __future__ import annotations


class OmniError(Exception):
    """Base of the errors that this room raises on its own account."""


class CheckpointError(OmniError):
    """A checkpoint that cannot be read, or does not belong to what it is combined with."""


class FrozenLayersMoved(OmniError):
    """Frozen tensors changed. The model must not be registered."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        super().__init__(
            f"{len(names)} frozen tensors moved during tuning: {shown}. "
            "Refuse this model; name the modules in ElasticConfig.also if they are meant to be tuned."
        )
