"""The record of something made for a version."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from db.records.loop import Json

MSN = "msn"
"""The kind of artefact that says how a version chooses modalities."""
CARD = "card"
"""The kind of artefact that is a version's model card, in Markdown."""
ARCHITECTURE = "architecture"
"""The kind of artefact that proposes another architecture to go on with from a version, as JSON."""


@dataclass(frozen=True, kw_only=True)
class Artefact:
    """Something made for a version and kept in the blob store."""

    id: int
    version: int
    kind: str
    """What it is, such as `MSN`."""
    digest: str
    """Of its bytes in the blob store."""
    detail: Json
    """Figures about it."""
    created_at: datetime
