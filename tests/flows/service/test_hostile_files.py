"""Whatever file comes, the service answers or refuses; it never fails, and goes on answering."""

import base64

import httpx
from hypothesis import HealthCheck, given, settings

from tests.flows.service.running import told
from tests.omni_model.serve.hostile_files import HOSTILE, mutated

LARGE_BYTES = 20 * 2**20


@settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(file=mutated())
def test_a_mutated_file_is_answered_or_refused(refusing: httpx.Client, file: tuple[str, bytes]) -> None:
    ask(refusing, *file)


def test_a_hostile_file_is_answered_or_refused_and_the_next_one_is_answered(refusing: httpx.Client) -> None:
    for modality, make in HOSTILE.values():
        content = make()
        if len(content) < LARGE_BYTES:
            ask(refusing, modality, content)
    assert refusing.post("/v1/predict", json={"task": "digit", "inputs": {"text": "tres"}}).status_code == 200


def ask(client: httpx.Client, modality: str, content: bytes) -> None:
    """For a prediction and to be kept; the model of this home takes no video and no sensor, ingest decodes them all."""
    response = client.post("/v1/predict", data={"task": "digit"}, files={modality: ("file", content)}, timeout=60)
    assert response.status_code in (200, 422), response.text
    if response.status_code == 422:
        told(response)
    sample = {"task": "digit", "inputs": {modality: {"base64": base64.b64encode(content).decode()}}}
    kept = client.post("/v1/ingest", json={"samples": [sample]}, timeout=60)
    assert kept.status_code in (200, 202), kept.text
    assert kept.json()["samples"][0]["state"] in ("new", "known", "refused")
