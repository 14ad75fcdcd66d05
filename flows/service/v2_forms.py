"""Bodies of the Open Inference Protocol, version 2, over REST."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from flows.service.forms import Line, Name

Parameters = dict[str, str | int | float | bool]


class Lenient(BaseModel):
    """Clients add fields of their own servers; what we do not know is passed over."""

    model_config = ConfigDict(strict=True, frozen=True)


class TensorIn(Lenient):
    """A tensor of a request."""

    name: Name
    shape: list[Annotated[int, Field(ge=0, le=2**31)]] = Field(min_length=1, max_length=2)
    datatype: str
    parameters: Parameters = Field(default_factory=dict)
    data: list[Any] | None = Field(default=None, description="Left out where the bytes come after the JSON.")


class WantedOut(Lenient):
    """An output that the client wants."""

    name: Name
    parameters: Parameters = Field(default_factory=dict)


class InferIn(Lenient):
    """Rows to answer: one tensor a modality, [rows] or [rows, 1], of type BYTES. An empty element: not there."""

    id: Line = ""
    parameters: Parameters = Field(default_factory=dict)
    inputs: list[TensorIn] = Field(min_length=1, max_length=24)
    outputs: list[WantedOut] | None = Field(default=None, max_length=24)


class TensorOut(BaseModel):
    """A tensor of an answer."""

    name: str
    shape: list[int]
    datatype: str
    parameters: Parameters = Field(default_factory=dict)
    data: list[Any] | None = None


class InferOut(BaseModel):
    """Answers by row."""

    model_name: str
    model_version: str
    id: str = ""
    outputs: list[TensorOut]


class TensorMeta(BaseModel):
    """What a tensor looks like; -1 is the number of rows."""

    name: str
    datatype: str
    shape: list[int]


class ModelMeta(BaseModel):
    """A model and its tensors."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMeta]
    outputs: list[TensorMeta]


class ServerMeta(BaseModel):
    """The server."""

    name: str
    version: str
    extensions: list[str]


class LiveOut(BaseModel):
    """The process answers."""

    live: bool


class ReadyOut(BaseModel):
    """A canary was answered."""

    ready: bool


class ModelReadyOut(ReadyOut):
    """The model answers."""

    name: str


class V2Error(BaseModel):
    """A refusal."""

    error: str
