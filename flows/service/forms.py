"""The bodies of requests and answers, which service and client share. Importing this file imports pydantic alone.

Requests are strict: `false` is no number, and a field that nobody knows is refused.
"""

from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, WithJsonSchema

Line = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
"""Short text without control characters."""
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Wording = Annotated[str, StringConstraints(max_length=2000, pattern=r"^[^\x00]*$")]


class Body(BaseModel):
    """What every body has in common."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Inline(Body):
    """Content that is not text."""

    base64: str = Field(description="The file's bytes, in base64.")


class Remote(Body):
    """Content that lies elsewhere."""

    uri: str = Field(
        min_length=1, max_length=4096, description="Where the file is; fetched only below an allowed prefix."
    )


Inputs = Annotated[
    dict[Name, str | Inline | Remote],
    Field(
        min_length=1,
        max_length=16,
        description='By modality: text as it is, everything else as {"base64": …} or {"uri": …}.',
    ),
]


class PredictIn(Body):
    """One sample to answer."""

    task: Name = Field(description="Name of a task that the version in service knows.")
    inputs: Inputs
    instruction: Wording = Field(default="", description="What is asked; empty: the task's first wording.")
    source: Line = Field(default="", description="Where the sample comes from.")
    domain: Line = Field(default="", description="Stratum that results are broken down by; empty: the source.")
    item: Line = Field(default="", description="What is shown: samples of one item never straddle training and test.")
    deadline_s: float | None = Field(
        default=None, gt=0, le=3600, allow_inf_nan=False, description="Not computed any more after so many seconds."
    )
    budget: float | None = Field(
        default=None, ge=0, le=1, allow_inf_nan=False, description="Share of the cost of using every modality."
    )
    budget_s: float | None = Field(
        default=None, gt=0, le=3600, allow_inf_nan=False, description="Seconds of decoding, encoding and fusing."
    )
    key: Line = Field(default="", description="Whose requests stay on one side of a canary; empty: each is on its own.")


class BatchIn(Body):
    """Several samples; each is answered or refused by itself."""

    samples: list[PredictIn] = Field(min_length=1)


class FeedbackIn(Body):
    """The right answer to a prediction."""

    prediction: Name = Field(description="The prediction's id.")
    answer: Name = Field(description="What was right: one of the task's answers.")
    who: Line = Field(default="", description="Who says so; told beside the name of the key, where one is used.")


class SampleIn(Body):
    """One sample to keep."""

    id: Line = Field(default="", description="Empty: the hash of its content.")
    task: Name = Field(description="Name of a known task.")
    inputs: Inputs
    instruction: Wording = Field(default="", description="What is asked; empty: the task's first wording.")
    answer: Name | None = Field(default=None, description="The right answer; without it, a label is asked for.")
    item: Line = Field(default="", description="What is shown: samples of one item never straddle training and test.")
    source: Line = Field(default="", description="Where the sample comes from.")
    domain: Line = Field(default="", description="Stratum that results are broken down by; empty: the source.")
    time: Annotated[AwareDatetime, Field(strict=False)] | None = Field(
        default=None, description="When it was observed: ISO 8601 with its offset."
    )


ROWS = {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/SampleIn"}}


class IngestIn(Body):
    """Samples to keep; each is kept or refused by itself."""

    samples: Annotated[list[dict[str, Any]], Field(min_length=1), WithJsonSchema(ROWS)]


class Uncertainty(BaseModel):
    """Both of the calibrated probabilities; 0 is certain."""

    one_minus_max: float
    entropy: float = Field(description="In nats.")


class Modalities(BaseModel):
    """What became of the inputs."""

    received: list[str]
    used: list[str]
    ignored: dict[str, str] = Field(description="By modality, the reason.")


class LatencyOut(BaseModel):
    """Seconds spent."""

    queue: float
    decode: float
    encode: float
    fuse: float
    total: float


class PredictOut(BaseModel):
    """An answer."""

    prediction: str = Field(description="Id to give feedback on.")
    task: str
    answer: str
    probability: float
    probabilities: dict[str, float]
    uncertainty: Uncertainty
    modalities: Modalities
    version: int
    generation: int = Field(description="Counts every change of the version in service.")
    budget: float | None = Field(
        default=None, description="Share of the full cost that it was allowed, the load included; null: any."
    )
    latency_s: LatencyOut


class ErrorOut(BaseModel):
    """A refusal."""

    fact: str
    value: str
    mend: str
    request_id: str


class BatchOut(BaseModel):
    """One entry a sample, in order: an answer or a refusal."""

    predictions: list[PredictOut | ErrorOut]


class FeedbackOut(BaseModel):
    """Feedback is stored durably once this is said."""

    prediction: str
    new: bool = Field(description="False if the same was said before.")


class RowOut(BaseModel):
    """What became of one sample."""

    id: str | None = Field(description="Its id; null if it could not be read that far.")
    state: str = Field(description="new, known or refused.")
    reason: str = Field(default="", description="Why it was refused: the fact, the value, the mend.")


class IngestOut(BaseModel):
    """One entry a sample, in order. What is new or known is stored durably, what is refused is kept as a fault."""

    samples: list[RowOut]
    num_new: int
    num_known: int
    num_refused: int
    num_labels: int = Field(description="Answers that were new.")


class HealthOut(BaseModel):
    """A state of health."""

    status: str
    reason: str = ""
    version: int | None = None
