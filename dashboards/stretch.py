"""Which time the charts show, and of what: the choice that their page and each of them take alike."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from dashboards.asked import MaybeRow

RANGES = {
    "1h": timedelta(hours=1),
    "6h": timedelta(hours=6),
    "24h": timedelta(days=1),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}
KINDS = ("all", "domain", "task", "modalities", "modality", "pair", "version")


def _moment(value: Any) -> Any:
    """What a form gives as text without a zone is UTC."""
    if isinstance(value, str) and value:
        try:
            value = datetime.fromisoformat(value)
        except ValueError as error:
            raise ValueError(f"{value[:40]!r} is no moment. Write it like 2026-03-01T12:00.") from error
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value
    return None


Moment = Annotated[datetime | None, BeforeValidator(_moment)]


class Stretch(BaseModel):
    """Which time to show, and of what."""

    model_config = ConfigDict(populate_by_name=True)

    range: Literal["1h", "6h", "24h", "7d", "30d"] = "24h"
    start: Moment = Field(default=None, alias="from")
    """In UTC; with it or `to`, `range` only fills the other end."""
    end: Moment = Field(default=None, alias="to")
    by: Literal["all", "domain", "task", "modalities", "modality", "pair", "version"] = "all"
    only: str = Field(default="", max_length=200)
    """One slice of that kind; empty: each has its line."""
    version: MaybeRow = None

    @model_validator(mode="after")
    def _in_order(self) -> Stretch:
        if self.start and self.end and self.start >= self.end:
            raise ValueError("The time to show must end after it begins. Change from or to.")
        return self

    def ends(self, now: datetime) -> tuple[datetime, datetime]:
        """From when to when."""
        end = self.end or (min(now, self.start + RANGES[self.range]) if self.start else now)
        start = self.start or end - RANGES[self.range]
        return (start, end) if start < end else (start, start + timedelta(seconds=1))
