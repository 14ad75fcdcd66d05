"""One finding of the doctor."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """What was looked at, what was found, and what to do about it."""

    name: str
    status: Status
    """``warn``: it works, but less than it could, or not for long. ``fail``: something will not work."""
    detail: str
    mend: str = ""
    """Empty when there is nothing to mend."""
