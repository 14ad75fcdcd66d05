"""The bodies that edge and cloud exchange, and what the edge adds to an answer. Imports pydantic alone."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, Field

from flows.service.forms import Body, Line, Name, PredictOut, Wording

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
Inputs = Annotated[dict[Name, str], Field(max_length=16, description="By modality, the encoded bytes in base64.")]


class LoggedIn(Body):
    """An answer that an edge gave on its own."""

    id: Name = Field(description="The prediction's id; the same id is stored once.")
    version: int = Field(ge=1, description="The version that the edge's model was made of.")
    bundle: Line = Field(description="Digest of the edge's model.")
    task: Name
    instruction: Wording
    answer: Name
    probabilities: Annotated[dict[Name, Share], Field(min_length=2, max_length=10_000)]
    received: list[Name] = Field(max_length=16)
    used: list[Name] = Field(max_length=16)
    ignored: dict[Name, Wording] = Field(max_length=16)
    inputs: Inputs
    latency_s: Annotated[dict[Literal["queue", "decode", "encode", "fuse"], Seconds], Field(min_length=4)]
    why: Wording = Field("", description="Why the edge answered itself.")
    source: Line = ""
    domain: Line = ""
    item: Line = ""
    request_id: Line = ""
    at: Annotated[AwareDatetime, Field(strict=False)] = Field(description="When, by the edge's clock.")


class EdgeFeedbackIn(Body):
    """Feedback that an edge took."""

    prediction: Name
    answer: Name
    who: Line = ""


class EdgeLogIn(Body):
    """A part of an edge's spool."""

    edge: Name = Field(description="The edge's own id.")
    predictions: list[LoggedIn] = Field(default_factory=list, max_length=1_000)
    feedback: list[EdgeFeedbackIn] = Field(default_factory=list, max_length=10_000)


class RowDone(BaseModel):
    """What became of one row, for good."""

    prediction: str
    state: Literal["new", "known", "refused"]
    reason: str = ""


class EdgeLogOut(BaseModel):
    """One entry a row, in order. What is new or known is stored durably."""

    predictions: list[RowDone]
    feedback: list[RowDone]


class EdgePredictOut(PredictOut):
    """An answer, and who gave it."""

    answered_by: Literal["edge", "cloud"]
    why: str = Field(description="Why the edge answered itself, or asked.")


class BundleOut(BaseModel):
    """What this edge runs."""

    version: int
    digest: str
    modalities: list[str]
    tasks: list[str]
    cloud: str = Field(description="closed, open or half-open: the breaker towards the cloud; none without one.")
    waiting: int = Field(description="Answers that wait to be synced.")
    waiting_feedback: int
    dropped: int = Field(description="Answers dropped because the spool was full.")
    refused: int = Field(description="Rows that the cloud refused for good.")
    synced: int
