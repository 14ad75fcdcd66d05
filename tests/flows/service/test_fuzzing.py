"""Whatever JSON comes, the service answers or refuses; it never fails."""

import json

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.flows.service.running import told

WORDS = st.sampled_from(["digit", "tres", "text", "image", "audio", "video", "sensor", "base64", "7", ""]) | st.text()
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS
JSONS = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3))
CONTENT = WORDS | st.fixed_dictionaries({"base64": st.binary(max_size=40).map(lambda data: data.hex()) | WORDS}) | JSONS
BODIES = JSONS | st.fixed_dictionaries(
    {"task": st.just("digit") | JSONS, "inputs": st.dictionaries(WORDS, CONTENT, max_size=3)},
    optional={"instruction": WORDS | JSONS, "domain": WORDS, "item": WORDS, "deadline_s": LEAVES, "extra": JSONS},
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=BODIES)
def test_any_body_is_answered_or_refused(refusing: httpx.Client, body: object) -> None:
    for path, whole in (
        ("/v1/predict", body),
        ("/v1/predict/batch", {"samples": [body]}),
        ("/v1/feedback", body),
        ("/v1/ingest", {"samples": [body]}),
    ):
        response = refusing.post(path, content=json.dumps(whole), headers={"Content-Type": "application/json"})
        assert response.headers["X-Request-ID"]
        assert response.status_code in (200, 202, 404, 422), response.text
        if response.status_code >= 400:
            told(response)


TENSORS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["text", "task", "image"]) | WORDS,
        "shape": st.lists(st.integers(-1, 3), max_size=3) | JSONS,
        "datatype": st.just("BYTES") | WORDS,
        "data": st.lists(WORDS | st.lists(WORDS, max_size=1), max_size=3) | JSONS,
    },
    optional={"parameters": st.dictionaries(st.just("binary_data_size") | WORDS, LEAVES, max_size=2)},
)
INFERS = st.fixed_dictionaries(
    {"inputs": st.lists(TENSORS, max_size=3) | JSONS},
    optional={
        "parameters": st.dictionaries(st.sampled_from(["task", "budget", "timeout", "key"]), LEAVES, max_size=3),
        "outputs": st.lists(st.fixed_dictionaries({"name": st.just("answer") | WORDS}), max_size=2) | JSONS,
        "id": WORDS,
    },
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=INFERS | JSONS, tail=st.binary(max_size=20), header=st.none() | st.integers(-3, 3))
def test_any_tensor_is_answered_or_refused(
    refusing: httpx.Client, body: object, tail: bytes, header: int | None
) -> None:
    text = json.dumps(body).encode()
    headers = {} if header is None else {"Inference-Header-Content-Length": str(len(text) + header)}
    response = refusing.post("/v2/models/omniloop/infer", content=text + tail, headers=headers)
    assert response.status_code in (200, 422), response.text
    if response.status_code != 200:
        assert set(response.json()) == {"error"}
