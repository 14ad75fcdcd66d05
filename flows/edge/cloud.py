"""The way to the cloud: one answer at a time for those who wait for it, and the spool in parts behind their backs."""

import asyncio
import base64
from typing import Any

import httpx
from pydantic import ValidationError

from flows.edge.breaker import Breaker
from flows.edge.config import EdgeConfig
from flows.edge.forms import EdgeLogOut
from flows.edge.records import Part
from flows.errors import LoopError
from flows.service.forms import PredictIn, PredictOut

SYNC_TIMEOUT_S = 60.0
"""For a part of the spool, which nobody waits for."""
UNFIT = (400, 413, 415, 422)
"""What the cloud says to a part that it will never take as it is."""


class CloudSilent(LoopError):
    """The cloud cannot be reached, is too slow, or fails."""


class CloudRefused(LoopError):
    """The cloud answers, and refuses this request or part."""


class Cloud:
    """A live service elsewhere. Open it in the event loop that asks it; `send` runs in a thread."""

    def __init__(self, config: EdgeConfig, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._timeout_s = config.cloud_timeout_s
        self.breaker = Breaker(failures=config.failures, pause_s=config.pause_s, longest_pause_s=config.longest_pause_s)
        headers = {"Authorization": f"Bearer {config.cloud_key}"} if config.cloud_key else {}
        self._headers, self._url = headers, config.cloud.rstrip("/")
        self._client = httpx.AsyncClient(
            base_url=self._url, headers=headers, timeout=config.cloud_timeout_s, transport=transport
        )
        self._sender = httpx.Client(base_url=self._url, headers=headers, timeout=SYNC_TIMEOUT_S)

    async def predict(self, body: PredictIn, *, within_s: float, request_id: str) -> dict[str, Any]:
        """The cloud's answer, in the form of `PredictOut`. Raises :class:`CloudSilent`, :class:`CloudRefused`."""
        if not self.breaker.lets_pass():
            raise CloudSilent("it failed a moment ago and is left alone for now")
        try:
            said = await asyncio.wait_for(self._ask(body, request_id), min(within_s, self._timeout_s))
        except (CloudSilent, TimeoutError) as error:
            self.breaker.failed()
            raise CloudSilent(str(error) or f"it took more than {min(within_s, self._timeout_s):.3g} s") from error
        except BaseException:
            self.breaker.worked()  # it answered, or whoever asked hung up: no fault of the cloud's
            raise
        self.breaker.worked()
        return said

    async def _ask(self, body: PredictIn, request_id: str) -> dict[str, Any]:
        content = body.model_dump_json(exclude_defaults=True)
        headers = {"Content-Type": "application/json", "X-Request-ID": request_id}
        try:
            response = await self._client.post("/v1/predict", content=content, headers=headers)
        except httpx.HTTPError as error:
            raise CloudSilent(str(error) or type(error).__name__) from error
        if response.status_code >= 500 or response.status_code in (401, 403, 404, 429):
            raise CloudSilent(f"it says {told(response)}")
        if response.status_code != 200:
            raise CloudRefused(f"it says {told(response)}")
        try:
            return PredictOut.model_validate_json(response.content).model_dump()
        except ValidationError as error:
            raise CloudSilent("its answer is none of a live service") from error

    def send(self, edge: str, part: Part) -> EdgeLogOut:
        """Hand over a part of the spool. Raises :class:`CloudSilent`; :class:`CloudRefused` if it is unfit."""
        try:
            response = self._sender.post("/v1/edge/log", json=as_json(edge, part))
        except httpx.HTTPError as error:
            raise CloudSilent(str(error) or type(error).__name__) from error
        if response.status_code in UNFIT:
            raise CloudRefused(told(response))
        if response.status_code != 200:
            raise CloudSilent(f"it says {told(response)}")
        try:
            return EdgeLogOut.model_validate_json(response.content)
        except ValidationError as error:
            raise CloudSilent("its answer is none of a live service") from error

    async def close(self) -> None:
        """Let go of all connections."""
        await self._client.aclose()
        self._sender.close()


def as_json(edge: str, part: Part) -> dict[str, Any]:
    """A part of the spool in the form of `EdgeLogIn`."""
    return {
        "edge": edge,
        "predictions": [
            {
                **row.body,
                "id": row.id,
                "inputs": {name: base64.b64encode(data).decode() for name, data in row.content.items()},
            }
            for row in part.predictions
        ],
        "feedback": [
            {"prediction": given.prediction, "answer": given.answer, "who": given.who} for given in part.feedback
        ],
    }


def told(response: httpx.Response) -> str:
    """What a refusal says, cut short."""
    try:
        said = response.json()
        text = str(said["fact"]).rstrip(".") if isinstance(said, dict) else str(said)
        if isinstance(said, dict) and said["value"] and str(said["value"]) not in text:
            text += f" ({said['value']})"
    except (ValueError, KeyError):
        text = response.reason_phrase
    return f"{response.status_code}: {text}"[:500]
