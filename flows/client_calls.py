"""What the client asks, as values: method, path, body, and the form of the answer; and how an answer is read."""

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from flows.service.control_forms import MoveIn, MoveOut, VersionDetail, VersionsOut
from flows.service.forms import (
    BatchIn,
    BatchOut,
    ErrorOut,
    FeedbackIn,
    FeedbackOut,
    HealthOut,
    IngestIn,
    IngestOut,
    Inline,
    PredictIn,
    PredictOut,
    Remote,
)

Out = TypeVar("Out", bound=BaseModel)
Content = str | bytes | Path | Remote
"""Text, a file's bytes, its path, or where it lies."""


MAX_SHOWN = 200
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
LONGEST_WAIT_S = 60.0
"""A `Retry-After` beyond it is told to the caller rather than waited for."""
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
BROKEN = (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)
"""What leaves open whether the service has done what was asked."""


class ServiceError(Exception):
    """The service refused, or could not be asked."""

    def __init__(self, fact: str, *, value: str = "", mend: str = "", request_id: str = "", status: int = 0) -> None:
        self.fact, self.value, self.mend, self.request_id = fact, value, mend, request_id
        self.status = status
        """HTTP status; 0 if there was no answer."""
        super().__init__(" ".join(part for part in (fact, mend) if part))


@contextmanager
def unsendable() -> Iterator[None]:
    """Tell whatever keeps a question from being sent as a :class:`ServiceError` without a status."""
    try:
        yield
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "The question"
        mend = "Correct it; `predict` and docs/client.md say what can be sent."
        raise ServiceError(f"{place}: {first['msg'].rstrip('.')}.", value=shown(first["input"]), mend=mend) from None
    except OSError as error:
        value = shown(error.filename or "")
        fact = f"{value or 'The file'} cannot be read: {(error.strerror or type(error).__name__).lower()}."
        raise ServiceError(fact, value=value, mend="Name a file that can be read.") from error
    except (AttributeError, TypeError, ValueError, httpx.InvalidURL) as error:
        fact = f"The question cannot be sent: {str(error).rstrip('.')}."
        mend = "Give inputs by modality as str, bytes, Path or Remote, and numbers as numbers."
        raise ServiceError(fact, value=type(error).__name__, mend=mend) from error


def shown(value: object) -> str:
    """A value as it is told, cut short.

    >>> shown(7), len(shown(b"x" * 1000))
    ('7', 200)
    """
    text = str(value) if isinstance(value, str | Path) else repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}…"


def bearer(key: str) -> str:
    """The header of a key, whitespace around it left out. `ValueError`, which hides the key, for one that is none.

    >>> bearer("omni_abc\\n")
    'Bearer omni_abc'
    """
    key = key.strip()
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ValueError(
            f"The key must be of printable ASCII characters without spaces, got {len(key)} characters, not all of them "
            "such. Give one key as `omniloop keys create` showed it."
        )
    return f"Bearer {key}"


@dataclass(frozen=True, kw_only=True)
class Call(Generic[Out]):
    """One question."""

    method: str
    path: str
    form: type[Out]
    body: BaseModel | None = None
    is_idempotent: bool = True
    """Whether asking twice does no harm."""
    tries_again: bool = True
    """Whether 503 means later rather than no."""
    also: tuple[int, ...] = ()
    """Statuses beside 2xx whose body is an answer."""


@unsendable()
def predict_call(task: str, inputs: Mapping[str, Content], more: Mapping[str, Any]) -> Call[PredictOut]:
    """Two answers to one request would only be logged twice."""
    return Call(
        method="POST", path="/v1/predict", form=PredictOut, body=sample_of({**more, "task": task, "inputs": inputs})
    )


@unsendable()
def batch_call(samples: Sequence[Mapping[str, Any]]) -> Call[BatchOut]:
    """Several samples."""
    body = BatchIn(samples=[sample_of(sample) for sample in samples])
    return Call(method="POST", path="/v1/predict/batch", form=BatchOut, body=body)


@unsendable()
def feedback_call(prediction: str, answer: str, who: str) -> Call[FeedbackOut]:
    """The same feedback again changes nothing."""
    body = FeedbackIn(prediction=prediction, answer=answer, who=who)
    return Call(method="POST", path="/v1/feedback", form=FeedbackOut, body=body)


@unsendable()
def ingest_call(samples: Sequence[Mapping[str, Any]]) -> Call[IngestOut]:
    """The same samples again change nothing. They are checked by the service, each by itself."""
    rows = [{**sample, "inputs": packed(sample.get("inputs", {}))} for sample in samples]
    return Call(method="POST", path="/v1/ingest", form=IngestOut, body=IngestIn(samples=rows))


def versions_call() -> Call[VersionsOut]:
    """All versions."""
    return Call(method="GET", path="/v1/versions", form=VersionsOut)


@unsendable()
def version_call(version: int) -> Call[VersionDetail]:
    """One version."""
    return Call(method="GET", path=f"/v1/versions/{version:d}", form=VersionDetail)


@unsendable()
def move_call(version: int, move: str, why: str) -> Call[MoveOut]:
    """A decision, which is made once: the second time it is refused."""
    path = f"/v1/versions/{version:d}/{move}"
    return Call(method="POST", path=path, form=MoveOut, body=MoveIn(why=why), is_idempotent=False)


def health_call() -> Call[HealthOut]:
    """A 503 is an answer here."""
    return Call(method="GET", path="/health/ready", form=HealthOut, tries_again=False, also=(503,))


def sample_of(sample: Mapping[str, Any]) -> PredictIn:
    """A sample as it is sent. `ValueError` and `OSError` for one that cannot be."""
    return PredictIn.model_validate({**sample, "inputs": unpacked(sample.get("inputs", {}))})


def unpacked(inputs: Mapping[str, Content]) -> dict[str, str | Inline | Remote]:
    """Inputs as they are sent.

    >>> unpacked({"text": "seven", "image": b"abc"})
    {'text': 'seven', 'image': Inline(base64='YWJj')}
    """
    return {name: one(value) for name, value in inputs.items()}


def packed(inputs: Mapping[str, Content]) -> dict[str, Any]:
    """The same as plain values."""
    return {name: v.model_dump() if isinstance(v, BaseModel) else v for name, v in unpacked(inputs).items()}


def one(value: Content) -> str | Inline | Remote:
    """One input as it is sent."""
    if isinstance(value, Path):
        value = value.read_bytes()
    return Inline(base64=base64.b64encode(value).decode()) if isinstance(value, bytes) else value


def read(call: Call[Out], request: httpx.Request, outcome: httpx.Response | httpx.RequestError) -> Out:
    """The answer. Raises :class:`ServiceError`."""
    asked = request.headers["x-request-id"]
    if not isinstance(outcome, httpx.Response):
        if isinstance(outcome, httpx.LocalProtocolError):  # it quotes the header that it does not like, perhaps the key
            fact, mend = (
                "The question is no HTTP that could be sent.",
                "Check the address and the key for odd characters.",
            )
            raise ServiceError(fact, mend=mend, request_id=asked)
        where = request.url.copy_with(query=None, userinfo=b"")
        fact = f"{where} could not be asked: {type(outcome).__name__}: {outcome}."
        mend = "Check the address and that the service runs; `omniloop serve` starts it."
        raise ServiceError(fact, mend=mend, request_id=asked) from outcome
    if outcome.is_success or outcome.status_code in call.also:
        try:
            return call.form.model_validate_json(outcome.content)
        except ValidationError as error:
            fact = f"The answer has not the form of {call.form.__name__}."
            mend = "Use client and service of one release."
            raise ServiceError(fact, mend=mend, request_id=asked, status=outcome.status_code) from error
    try:
        said = ErrorOut.model_validate_json(outcome.content)
    except ValidationError as error:
        fact, mend = f"The service answers {outcome.status_code}.", "Look at what stands between client and service."
        raise ServiceError(fact, mend=mend, request_id=asked, status=outcome.status_code) from error
    raise ServiceError(
        said.fact, value=said.value, mend=said.mend, request_id=said.request_id, status=outcome.status_code
    )


@dataclass(kw_only=True)
class Tries:
    """How often and when a call is made again."""

    left: int
    """Further tries after the one on its way."""
    chance: Callable[[], float]
    """A number in [0, 1)."""
    pause_s: float = FIRST_PAUSE_S

    def wait_s(self, call: Call[Any], outcome: httpx.Response | httpx.RequestError) -> float | None:
        """Seconds to wait before the next try; None if there is none, because the outcome stands."""
        if isinstance(outcome, httpx.Response):
            again, least_s = outcome.status_code in (429, 503) and call.tries_again, retry_after_s(outcome)
        else:
            again, least_s = isinstance(outcome, NOT_SENT) or (isinstance(outcome, BROKEN) and call.is_idempotent), 0.0
        if not again or self.left <= 0 or least_s > LONGEST_WAIT_S:
            return None
        self.left -= 1
        wait_s = least_s + self.pause_s * (0.5 + self.chance())
        self.pause_s = min(2 * self.pause_s, LONGEST_PAUSE_S)
        return wait_s


def retry_after_s(answer: httpx.Response) -> float:
    """What the service says how long to wait, in seconds; 0 if it does not say.

    >>> retry_after_s(httpx.Response(503, headers={"Retry-After": "2"})), retry_after_s(httpx.Response(503))
    (2.0, 0.0)
    """
    said = answer.headers.get("retry-after", "")
    return float(said) if said.isdecimal() else 0.0
