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
    for path, whole in (("/v1/predict", body), ("/v1/predict/batch", {"samples": [body]}), ("/v1/feedback", body)):
        response = refusing.post(path, content=json.dumps(whole), headers={"Content-Type": "application/json"})
        assert response.headers["X-Request-ID"]
        assert response.status_code in (200, 404, 422), response.text
        if response.status_code != 200:
            told(response)
