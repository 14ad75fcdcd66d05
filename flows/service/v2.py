"""The Open Inference Protocol, version 2, over REST, so that clients of KServe and Triton work unchanged.

Inputs are BYTES tensors named like modalities, one element a row; an empty element is a modality that is not there.
`task` and `instruction` come as tensors or as parameters, everything else that a prediction may say as a parameter.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter
from fastapi import Request as HttpRequest
from starlette.responses import Response

from flows.service.asking import Asking, by_whom
from flows.service.faults import Fault, shown
from flows.service.forms import PredictIn
from flows.service.keys import ANY, OPEN
from flows.service.live import LiveService
from flows.service.reading import SMALL_BYTES, read_body
from flows.service.routes import gives, told
from flows.service.scopes import needs
from flows.service.v2_forms import (
    InferIn,
    InferOut,
    LiveOut,
    ModelMeta,
    ModelReadyOut,
    ReadyOut,
    ServerMeta,
    TensorMeta,
    V2Error,
)
from flows.service.v2_tensors import HEADER, Column, parse_infer, wanted, write
from omni_model.serve.errors import NothingServed
from omni_model.serve.served import Served

PREFIX = "/v2"
PARAMETERS = ("task", "instruction", "source", "domain", "item", "key", "deadline_s", "budget", "budget_s")
"""Parameters of a request that mean what the fields of a prediction mean."""
OUTPUTS = ("answer", "probability", "probabilities", "uncertainty", "entropy", "prediction", "version")


def refusals(**codes: str) -> dict[int | str, dict[str, Any]]:
    """What else a route answers, by status: `refusals(_404="…")`."""
    also = {"_400": "No HTTP", "_401": "The key is missing or wrong", "_403": "The key has not the scope"}
    return {int(code[1:]): {"model": V2Error, "description": says} for code, says in (also | codes).items()}


NO_MODEL = refusals(_404="No such model, or a version that does not answer", _503="Nothing is in service, or not now")
INFER = NO_MODEL | refusals(_413="The body is too large", _422="The body cannot be used", _504="The deadline passed")
BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/InferIn"}}},
    }
}


def v2(service: LiveService, asking: Asking) -> APIRouter:
    """The routes of the protocol."""
    router = APIRouter(prefix=PREFIX, tags=["Open Inference Protocol"])
    name = service.ws.settings.registered_model

    def served(model: str, version: str) -> Served:
        """What answers under a name. Raises :class:`Fault`, and `NothingServed`."""
        if model != name:
            raise Fault(404, f"There is no model {model!r}.", shown(model), f"Ask for {name}.")
        found = service.engine.served
        if found is None:
            raise NothingServed
        if version and version != str(found.version):
            fact = f"Version {version} does not answer; {found.version} does."
            raise Fault(404, fact, shown(version), "Leave the version out, or put the other one in service.")
        return found

    async def canary() -> None:
        """Raises what prevents an answer within the canary's deadline."""
        deadline_s = service.config.ready_deadline_s
        await asyncio.get_running_loop().run_in_executor(None, lambda: service.engine.canary(deadline_s=deadline_s))

    @router.get("", responses=gives(ServerMeta) | refusals(), openapi_extra=needs(ANY))
    async def server() -> Response:
        """What this is."""
        return told({"name": "omniloop", "version": "2", "extensions": ["binary_tensor_data"]})

    @router.get("/health/live", responses=gives(LiveOut), openapi_extra=needs(OPEN))
    async def live() -> Response:
        """The process answers."""
        return told({"live": True})

    @router.get(
        "/health/ready",
        responses=gives(ReadyOut) | refusals(_503="Not ready", _504="Too late"),
        openapi_extra=needs(OPEN),
    )
    async def ready() -> Response:
        """A canary was answered within its deadline just now."""
        await canary()
        return told({"ready": True})

    for path in ("/models/{model}", "/models/{model}/versions/{version}"):

        @router.get(path, name=f"meta{path}", responses=gives(ModelMeta) | NO_MODEL, openapi_extra=needs(ANY))
        async def meta(model: str, version: str = "") -> Response:
            """The model's tensors."""
            return told(meta_of(name, served(model, version)))

        @router.get(
            f"{path}/ready",
            name=f"ready{path}",
            responses=gives(ModelReadyOut) | NO_MODEL | refusals(_504="Too late"),
            openapi_extra=needs(ANY),
        )
        async def model_ready(model: str, version: str = "") -> Response:
            """The model answers."""
            served(model, version)
            await canary()
            return told({"name": name, "ready": True})

        @router.post(
            f"{path}/infer",
            name=f"infer{path}",
            responses=gives(InferOut) | INFER,
            openapi_extra=needs("predict", BODY),
        )
        async def infer(request: HttpRequest, model: str, version: str = "") -> Response:
            """Answer rows. All are answered, or the first one that cannot be is told."""
            found, state = served(model, version), request.scope["state"]
            body = await read_body(request, service.config.max_body_bytes)
            header = request.headers.get(HEADER, "")
            parts = body, header, service.config.max_samples, found
            if len(body) <= SMALL_BYTES:
                asked, bodies = understood(*parts)
            else:
                asked, bodies = await asyncio.get_running_loop().run_in_executor(service.parsers, understood, *parts)
            outcomes = await asking.answer_all(bodies, **by_whom(state))
            columns = columns_of(answers_of(outcomes), found)
            outputs = list(wanted(asked, columns))
            head = {"model_name": name, "model_version": str(found.version), "id": asked.id or state["request_id"]}
            content, headers = write(head, outputs)
            return Response(content, headers=headers)

    return router


def understood(body: bytes, header: str, max_rows: int, found: Served) -> tuple[InferIn, list[PredictIn]]:
    """What is asked, and a prediction for each row. Raises :class:`Fault` or pydantic's error."""
    asked, tensors = parse_infer(body, header, max_rows)
    return asked, rows_of(asked, tensors, found)


def rows_of(asked: InferIn, tensors: Mapping[str, Sequence[bytes]], found: Served) -> list[PredictIn]:
    """One prediction a row. Raises :class:`Fault` or pydantic's error."""
    common = {name: asked.parameters[name] for name in PARAMETERS if name in asked.parameters}
    timeout = asked.parameters.get("timeout")
    if type(timeout) is int and timeout > 0:
        common.setdefault("deadline_s", timeout / 1e6)  # the protocol's are microseconds
    if "task" not in common and len(found.tasks) == 1:
        common["task"] = next(iter(found.tasks))
    rows = []
    for number in range(len(next(iter(tensors.values())))):
        own: dict[str, Any] = {**common, "inputs": {"text": ""}}
        for name in ("task", "instruction"):
            if name in tensors:
                own[name] = tensors[name][number].decode(errors="replace")
        inputs = {name: rows[number] for name, rows in tensors.items() if name not in own and rows[number]}
        if not inputs:
            mend = "Give at least one modality an element that is not empty."
            raise Fault(422, f"Row {number} has no input.", "", mend)
        rows.append(PredictIn.model_validate(own).model_copy(update={"inputs": inputs}))
    return rows


def answers_of(outcomes: Sequence[dict[str, Any] | Fault]) -> list[dict[str, Any]]:
    """The answers. Raises the first fault, with its row."""
    for number, outcome in enumerate(outcomes):
        if isinstance(outcome, Fault):
            fact = outcome.fact if len(outcomes) == 1 else f"Row {number}: {outcome.fact}"
            raise Fault(outcome.status, fact, outcome.value, outcome.mend, outcome.headers)
    return [outcome for outcome in outcomes if not isinstance(outcome, Fault)]


def columns_of(answers: Sequence[Mapping[str, Any]], found: Served) -> list[Column]:
    """The outputs. A row of `probabilities` is in the order of its task's answers, with zeros after them."""
    width = max(len(answer["probabilities"]) for answer in answers)
    tasks = dict.fromkeys(answer["task"] for answer in answers)
    orders = {task: list(found.tasks[task].answers) for task in tasks if task in found.tasks}
    values: dict[str, tuple[str, list[Any]]] = {
        "answer": ("BYTES", [answer["answer"] for answer in answers]),
        "probability": ("FP32", [answer["probability"] for answer in answers]),
        "probabilities": ("FP32", [padded(list(answer["probabilities"].values()), width) for answer in answers]),
        "uncertainty": ("FP32", [answer["uncertainty"]["one_minus_max"] for answer in answers]),
        "entropy": ("FP32", [answer["uncertainty"]["entropy"] for answer in answers]),
        "prediction": ("BYTES", [answer["prediction"] for answer in answers]),
        "version": ("INT64", [answer["version"] for answer in answers]),
    }
    order = {"answers": json.dumps(orders)}
    return [
        Column(name=name, datatype=kind, values=rows, parameters=dict(order) if name == "probabilities" else {})
        for name, (kind, rows) in values.items()
    ]


def padded(values: list[float], width: int) -> list[float]:
    """
    >>> padded([0.25, 0.75], 3)
    [0.25, 0.75, 0.0]
    """
    return values + [0.0] * (width - len(values))


def meta_of(name: str, found: Served) -> ModelMeta:
    """What a client may send and gets."""
    width = max(len(task.answers) for task in found.tasks.values())
    kinds = {
        "probability": "FP32",
        "probabilities": "FP32",
        "uncertainty": "FP32",
        "entropy": "FP32",
        "version": "INT64",
    }
    inputs = ["task", "instruction", *sorted(found.takes or ())]
    return ModelMeta(
        name=name,
        versions=[str(found.version)],
        platform="omniloop",
        inputs=[TensorMeta(name=each, datatype="BYTES", shape=[-1]) for each in inputs],
        outputs=[
            TensorMeta(
                name=each,
                datatype=kinds.get(each, "BYTES"),
                shape=[-1, width] if each == "probabilities" else [-1],
            )
            for each in OUTPUTS
        ],
    )
