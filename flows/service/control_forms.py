"""The bodies of decisions and of what is known about versions. Importing this file imports pydantic alone."""

from typing import Any

from pydantic import BaseModel, Field

from flows.service.forms import Body, Line, Name


class MoveIn(Body):
    """A decision about a version."""

    why: Name = Field(description="Goes into the audit trail.")
    who: Line = Field(default="", description="Who decides, where nobody has a key; else it is the key's name.")


class VersionOut(BaseModel):
    """A version and its state."""

    version: int
    state: str
    parent: int | None
    in_service: bool = Field(description="By the database.")
    answering: bool = Field(description="By this process, now.")
    warm: bool = Field(description="In this process's memory.")


class TrialOut(BaseModel):
    """A version that is tried before it is promoted."""

    version: int
    mode: str = Field(description="canary: it answers a share. shadow: it answers a copy of it, and nobody is told.")
    share: float


class VersionsOut(BaseModel):
    """All versions, and what this process does."""

    versions: list[VersionOut]
    generation: int
    answering: int | None
    refused: str = Field(description="Why the version in service is not answering; empty if it is.")
    trial: TrialOut | None = Field(default=None, description="What this process tries beside it, now.")


class MoveOut(BaseModel):
    """Where a version is now."""

    version: int
    state: str
    in_service: int | None = Field(description="The version that the database puts in service now.")
    generation: int


class AuditOut(BaseModel):
    """One move of a version."""

    at: str
    who: str
    became: str
    why: str


class VersionDetail(VersionOut):
    """A version, its numbers, and everybody who moved it."""

    round: int | None
    digest: str
    created_at: str
    metrics: dict[str, Any]
    trail: list[AuditOut]


class DeletionOut(BaseModel):
    """What went with a sample, and which versions learnt from it: weights do not forget."""

    sample: str
    num_labels: int
    num_predictions: int
    num_mirrors: int = Field(description="Second answers, of trials.")
    num_rounds: int
    num_blobs: int
    trained_versions: list[int]
    derived_versions: list[int] = Field(description="Versions that descend from those.")
