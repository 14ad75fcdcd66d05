"""What the engine says instead of an answer. The message is the fact, the value and the mend.

OmniError
├── Overloaded          the queue is full; `retry_after_s` says when it is worth asking again
├── DeadlinePassed      the request's deadline passed before it was computed, so it was not
├── NothingServed       no version is in service yet
├── EngineClosed        the engine is shutting down
├── NotAnswerable       this request, and no other, cannot be answered
└── VersionRefused      a version failed to load or to pass its check; the old one stays
"""

from __future__ import annotations

from omni_model.errors import OmniError


class Overloaded(OmniError):
    """The queue is full."""

    def __init__(self, num_rows: int, retry_after_s: float) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(
            f"The queue is full: {num_rows} requests wait or are computed. Ask again in {retry_after_s:.1f} s."
        )


class DeadlinePassed(OmniError):
    """The request came to its turn after its deadline and was not computed."""

    def __init__(self, late_s: float) -> None:
        super().__init__(
            f"The deadline passed {late_s:.3f} s before the request's turn, so it was not computed. "
            "Allow more time, or ask again when there is less load."
        )


class NothingServed(OmniError):
    """No version is in service."""

    def __init__(self) -> None:
        super().__init__("No version is in service. Train the first one with `omniloop train`.")


class EngineClosed(OmniError):
    """The engine takes no more requests."""

    def __init__(self) -> None:
        super().__init__("The service is shutting down. Ask again once it has started anew.")


class NotAnswerable(OmniError):
    """The model failed on this request alone."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(
            f"The model cannot answer this request: {type(cause).__name__}: {cause}. "
            "Compare its inputs with docs/data.md; requests beside it are not touched."
        )


class VersionRefused(OmniError):
    """A version may not be put in service."""

    def __init__(self, version: int, reason: str) -> None:
        self.version = version
        super().__init__(
            f"v{version} was refused: {reason} The version before it stays; roll back or restore v{version}."
        )
