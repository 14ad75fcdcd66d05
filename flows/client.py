"""A small typed client of the live service, for applications. Imports httpx and pydantic, and nothing of the model.

    with Client("http://127.0.0.1:8765", key="omni_…") as client:
        said = client.predict("digit", {"text": "seven", "image": Path("seven.png")})
        client.feedback(said.prediction, "7", who="ann")

What could not be reached, or says that it has no time now (503, 429), is asked again after a pause that grows and is
spread by chance, or that the service names. A connection that broke after the request was sent is tried again only
where asking twice does no harm. :class:`AsyncClient` does the same for asyncio.
"""

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Self, TypeVar
from uuid import uuid4

import httpx
from pydantic import BaseModel

from flows.client_calls import (
    Call,
    Content,
    ServiceError,
    Tries,
    batch_call,
    bearer,
    feedback_call,
    health_call,
    ingest_call,
    move_call,
    predict_call,
    read,
    unsendable,
    version_call,
    versions_call,
)
from flows.service.control_forms import MoveOut, VersionDetail, VersionsOut
from flows.service.forms import BatchOut, ErrorOut, FeedbackOut, HealthOut, IngestOut, PredictOut, Remote

__all__ = ["AsyncClient", "Client", "Content", "ErrorOut", "PredictOut", "Remote", "ServiceError"]

Out = TypeVar("Out", bound=BaseModel)
Http = TypeVar("Http", httpx.Client, httpx.AsyncClient)


class _Calling(Generic[Http]):
    """What both clients share."""

    def __init__(self, http: Http, key: str, retries: int, chance: Callable[[], float]) -> None:
        if retries < 0:
            raise ValueError(f"retries must be 0 or more, got {retries}. Pass 0 for none.")
        self._http: Http = http
        self._retries, self._chance = retries, chance
        self._headers = {"Authorization": bearer(key)} if key.strip() else {}

    def _begin(self, call: Call[Any]) -> tuple[httpx.Request, Tries]:
        """The request, under an id that stays the same however often it is sent."""
        headers = {**self._headers, "X-Request-ID": uuid4().hex}
        with unsendable():
            content = None if call.body is None else call.body.model_dump_json(exclude_defaults=True)
            if content is not None:
                headers["Content-Type"] = "application/json"
            request = self._http.build_request(call.method, call.path, content=content, headers=headers)
        return request, Tries(left=self._retries, chance=self._chance)


class Client(_Calling[httpx.Client]):
    """Asks one service. Safe to share between threads; close it, or use it in a `with`.

    `key` may be a file's whole text: whitespace around it is left out. `ValueError` for one that is no key.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8765",
        *,
        key: str = "",
        timeout_s: float = 15.0,
        retries: int = 3,
        transport: httpx.BaseTransport | None = None,
        trust_env: bool = True,
        sleep: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        http = httpx.Client(base_url=url, timeout=timeout_s, transport=transport, trust_env=trust_env)
        super().__init__(http, key, retries, chance)
        self._sleep = sleep

    def predict(self, task: str, inputs: Mapping[str, Content], **more: Any) -> PredictOut:
        """Answer a sample. `more`: instruction, source, domain, item, deadline_s, budget, budget_s, key.

        Inputs by modality: text as `str`, files as `bytes` or `Path`, what lies elsewhere as `Remote(uri=…)`.
        Raises :class:`ServiceError`, for what cannot be sent too.
        """
        return self._do(predict_call(task, inputs, more))

    def predict_batch(self, samples: Sequence[Mapping[str, Any]]) -> list[PredictOut | ErrorOut]:
        """Answer several samples, each a mapping with the arguments of `predict`; a refusal stands in its place."""
        return list(self._do(batch_call(samples)).predictions)

    def feedback(self, prediction: str, answer: str, *, who: str = "") -> FeedbackOut:
        """Say what was right. Durable when this returns."""
        return self._do(feedback_call(prediction, answer, who))

    def ingest(self, samples: Sequence[Mapping[str, Any]]) -> IngestOut:
        """Keep samples: mappings with task, inputs and perhaps id, answer, instruction, item, source, domain, time.

        Durable when this returns. What is refused is told by sample.
        """
        return self._do(ingest_call(samples))

    def versions(self) -> VersionsOut:
        """Every version, and which one answers."""
        return self._do(versions_call())

    def version(self, version: int) -> VersionDetail:
        """One version with its numbers and moves."""
        return self._do(version_call(version))

    def approve(self, version: int, *, why: str) -> MoveOut:
        """Put a version in service, on probation."""
        return self._do(move_call(version, "approve", why))

    def reject(self, version: int, *, why: str) -> MoveOut:
        """Refuse a version for good."""
        return self._do(move_call(version, "reject", why))

    def rollback(self, version: int, *, why: str) -> MoveOut:
        """Take the version in service back."""
        return self._do(move_call(version, "rollback", why))

    def health(self) -> HealthOut:
        """Whether it is ready. Raises only if nothing answers."""
        return self._do(health_call())

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _do(self, call: Call[Out]) -> Out:
        request, tries = self._begin(call)
        while True:
            outcome: httpx.Response | httpx.RequestError
            try:
                outcome = self._http.send(request)
            except httpx.RequestError as error:
                outcome = error
            wait_s = tries.wait_s(call, outcome)
            if wait_s is None:
                return read(call, request, outcome)
            self._sleep(wait_s)


class AsyncClient(_Calling[httpx.AsyncClient]):
    """The same for asyncio. Close it, or use it in an `async with`."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8765",
        *,
        key: str = "",
        timeout_s: float = 15.0,
        retries: int = 3,
        transport: httpx.AsyncBaseTransport | None = None,
        trust_env: bool = True,
        chance: Callable[[], float] = random.random,
    ) -> None:
        http = httpx.AsyncClient(base_url=url, timeout=timeout_s, transport=transport, trust_env=trust_env)
        super().__init__(http, key, retries, chance)

    async def predict(self, task: str, inputs: Mapping[str, Content], **more: Any) -> PredictOut:
        """As :meth:`Client.predict`."""
        return await self._do(predict_call(task, inputs, more))

    async def predict_batch(self, samples: Sequence[Mapping[str, Any]]) -> list[PredictOut | ErrorOut]:
        """As :meth:`Client.predict_batch`."""
        found: BatchOut = await self._do(batch_call(samples))
        return list(found.predictions)

    async def feedback(self, prediction: str, answer: str, *, who: str = "") -> FeedbackOut:
        """As :meth:`Client.feedback`."""
        return await self._do(feedback_call(prediction, answer, who))

    async def ingest(self, samples: Sequence[Mapping[str, Any]]) -> IngestOut:
        """As :meth:`Client.ingest`."""
        return await self._do(ingest_call(samples))

    async def versions(self) -> VersionsOut:
        """As :meth:`Client.versions`."""
        return await self._do(versions_call())

    async def health(self) -> HealthOut:
        """As :meth:`Client.health`."""
        return await self._do(health_call())

    async def close(self) -> None:
        """Give the connections back."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _do(self, call: Call[Out]) -> Out:
        request, tries = self._begin(call)
        while True:
            outcome: httpx.Response | httpx.RequestError
            try:
                outcome = await self._http.send(request)
            except httpx.RequestError as error:
                outcome = error
            wait_s = tries.wait_s(call, outcome)
            if wait_s is None:
                return read(call, request, outcome)
            await asyncio.sleep(wait_s)
