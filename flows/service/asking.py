"""From the body of a prediction to its answer: budgets of keys, URIs, the engine, the log."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from flows.service.faults import Fault, fault_of
from flows.service.forms import Inline, PredictIn, Remote
from flows.service.keys import Caller
from flows.service.live import Asked, LiveService
from flows.service.reading import SMALL_BYTES
from flows.service.uris import Fetcher
from flows.service.wire import answer_out
from flows.trace import UNTRACED, Trace


class Asking:
    """Hands samples to the engine and waits for what it says."""

    def __init__(self, service: LiveService, fetcher: Fetcher) -> None:
        self._service, self._fetcher = service, fetcher

    async def answer(
        self, body: PredictIn, *, caller: Caller, request_id: str, trace: Trace = UNTRACED
    ) -> dict[str, Any]:
        """The answer in the form of `PredictOut`. Raises what the engine raises, and :class:`Fault`."""
        return await self._wait(await self._ask(body, caller), request_id, trace)

    async def answer_all(
        self, bodies: Sequence[PredictIn], *, caller: Caller, request_id: str, trace: Trace = UNTRACED
    ) -> list[dict[str, Any] | Fault]:
        """The answers or faults of several samples, in order. All are on their way before the first is waited for."""
        asked = await asyncio.gather(*(self._ask(body, caller) for body in bodies), return_exceptions=True)
        done: list[dict[str, Any] | Fault] = []
        for each in asked:
            try:
                if isinstance(each, BaseException):
                    done.append(known(each))
                else:
                    done.append(await self._wait(each, request_id, trace))
            except Exception as error:  # noqa: BLE001  what is no fault of ours is raised again
                done.append(known(error))
        return done

    async def _ask(self, body: PredictIn, caller: Caller) -> Asked:
        body = within(body, caller.budget)
        if any(type(value) is Remote for value in body.inputs.values()):
            body = await self._fetched(body)
        if num_chars(body) <= SMALL_BYTES:
            return self._service.ask(body)
        return await asyncio.get_running_loop().run_in_executor(self._service.parsers, self._service.ask, body)

    async def _fetched(self, body: PredictIn) -> PredictIn:
        """The body with the content of its URIs, and what is left of its time."""
        clock = asyncio.get_running_loop().time
        allowed_s, began = body.deadline_s or self._service.config.deadline_s, clock()
        inputs = await self._fetcher.fetch(body.inputs)
        return body.model_copy(update={"inputs": inputs, "deadline_s": max(1e-6, allowed_s - (clock() - began))})

    async def _wait(self, asked: Asked, request_id: str, trace: Trace) -> dict[str, Any]:
        answer = await asyncio.wrap_future(asked.future)
        trace.answered(answer)
        self._service.note(asked, answer, request_id)
        return answer_out(answer)


def by_whom(state: Mapping[str, Any]) -> dict[str, Any]:
    """What the door found out about a request: who asks, under which id, in which trace."""
    return {"caller": state["caller"], "request_id": state["request_id"], "trace": state["trace"]}


def within(body: PredictIn, budget: float | None) -> PredictIn:
    """The body with the smaller one of its own budget and its key's."""
    if budget is None or (body.budget is not None and body.budget <= budget):
        return body
    return body.model_copy(update={"budget": budget})


def num_chars(body: PredictIn) -> int:
    """Characters of base64 that there are to be unpacked."""
    return sum(len(value.base64) for value in body.inputs.values() if isinstance(value, Inline))


def known(error: BaseException) -> Fault:
    """The fault that an error is to the client; any other error is raised again."""
    fault = fault_of(error) if isinstance(error, Exception) else None
    if fault is None:
        raise error
    return fault
