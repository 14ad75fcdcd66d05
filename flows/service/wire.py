"""The bodies of requests and answers. Strict: `false` is no number, and a field that nobody knows is refused."""

import base64
import binascii
from collections.abc import Mapping
from typing import Annotated
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from flows.service.faults import Fault, shown
from omni_model.serve.exchange import Answer, Request

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


class PredictIn(Body):
    """One sample to answer."""

    task: Name = Field(description="Name of a task that the version in service knows.")
    inputs: dict[Name, str | Inline] = Field(
        min_length=1, max_length=16, description='By modality: text as it is, everything else as {"base64": …}.'
    )
    instruction: Wording = Field("", description="What is asked; empty: the task's first wording.")
    source: Line = Field("", description="Where the sample comes from.")
    domain: Line = Field("", description="Stratum that results are broken down by; empty: the source.")
    item: Line = Field("", description="What is shown: samples of one item never straddle training and test.")
    deadline_s: float | None = Field(
        None, gt=0, le=3600, allow_inf_nan=False, description="Not computed any more after so many seconds."
    )


class BatchIn(Body):
    """Several samples; each is answered or refused by itself."""

    samples: list[PredictIn] = Field(min_length=1)


class FeedbackIn(Body):
    """The right answer to a prediction."""

    prediction: Name = Field(description="The prediction's id.")
    answer: Name = Field(description="What was right: one of the task's answers.")
    who: Line = Field("", description="Who says so.")


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


class VersionOut(BaseModel):
    """A version and its state."""

    version: int
    state: str
    parent: int | None
    in_service: bool = Field(description="By the database.")
    answering: bool = Field(description="By this process, now.")
    warm: bool = Field(description="In this process's memory.")


class VersionsOut(BaseModel):
    """All versions, and what this process does."""

    versions: list[VersionOut]
    generation: int
    answering: int | None
    refused: str = Field(description="Why the version in service is not answering; empty if it is.")


class HealthOut(BaseModel):
    """A state of health."""

    status: str
    reason: str = ""
    version: int | None = None


def request_of(body: PredictIn) -> Request:
    """The engine's form of a body, under a new prediction id. Raises :class:`Fault`."""
    return Request(
        id=uuid4().hex,
        task=body.task,
        instruction=body.instruction.strip(),
        content={name: content_of(name, value) for name, value in body.inputs.items()},
    )


def content_of(modality: str, value: str | Inline) -> bytes:
    """The bytes of one input. Raises :class:`Fault`."""
    if isinstance(value, str):
        if modality != "text":
            mend = 'Send the file\'s bytes as {"base64": "…"}, or as a part of a multipart form.'
            raise Fault(422, f"inputs.{modality}: a plain string is text, not {modality}.", shown(value), mend)
        return value.encode()
    try:
        return base64.b64decode(value.base64, validate=True)
    except (binascii.Error, ValueError) as error:
        mend = "Encode the file's bytes anew, without line breaks."
        raise Fault(422, f"inputs.{modality}.base64: {error}.", shown(value.base64), mend) from error


def body_of(answer: Answer) -> PredictOut:
    """An answer as it is sent."""
    parts = answer.latency
    return PredictOut(
        prediction=answer.id,
        task=answer.task,
        answer=answer.answer,
        probability=answer.probability,
        probabilities=dict(answer.probabilities),
        uncertainty=Uncertainty(one_minus_max=max(0.0, 1 - answer.probability), entropy=answer.entropy),
        modalities=Modalities(received=list(answer.received), used=list(answer.used), ignored=dict(answer.ignored)),
        version=answer.version,
        generation=answer.generation,
        latency_s=LatencyOut(
            queue=parts.queue_s, decode=parts.decode_s, encode=parts.encode_s, fuse=parts.fuse_s, total=parts.total_s
        ),
    )


def error_of(fault: Fault, request_id: str) -> dict[str, str]:
    """A refusal as it is sent."""
    return {"fact": fault.fact, "value": fault.value, "mend": fault.mend, "request_id": request_id}


def fields_of(parts: Mapping[str, str | bytes]) -> PredictIn:
    """The body that the parts of a multipart form mean: ours by name, every other one is the input of that modality."""
    own = PredictIn.model_fields.keys() - {"inputs", "deadline_s"}
    values: dict[str, object] = {name: _text(name, part) for name, part in parts.items() if name in own}
    if "deadline_s" in parts:
        try:
            values["deadline_s"] = float(_text("deadline_s", parts["deadline_s"]))
        except ValueError as error:
            raise Fault(
                422, f"deadline_s: {error}.", shown(parts["deadline_s"]), "Send a number of seconds."
            ) from error
    values["inputs"] = {
        name: part if isinstance(part, str) else Inline(base64=base64.b64encode(part).decode())
        for name, part in parts.items()
        if name not in own and name != "deadline_s"
    }
    return PredictIn.model_validate(values)


def _text(name: str, part: str | bytes) -> str:
    if isinstance(part, str):
        return part
    raise Fault(422, f"{name}: a file came where text is expected.", "a file", f"Send {name} as a plain form field.")
