"""The Open Inference Protocol: a public client of it works unchanged, with JSON and with binary tensors."""

import json
import time
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from omni_model.data.codecs import CODECS
from omni_model.sample import Sample
from tests.flows.service.running import body_of

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def public(refusing: httpx.Client) -> Any:
    """Triton's own client, at a running service."""
    return triton.InferenceServerClient(url=str(refusing.base_url).removeprefix("http://").rstrip("/"))


def column(name: str, elements: list[bytes], *, binary: bool = True) -> Any:
    """A tensor of the client's."""
    tensor = triton.InferInput(name, [len(elements)], "BYTES")
    tensor.set_data_from_numpy(np.array(elements, dtype=object), binary_data=binary)
    return tensor


def content(sample: Sample, name: str) -> bytes:
    return CODECS[name].encode(sample.inputs[name]) if name in sample.inputs else b""


def test_a_public_client_sees_server_and_model(public: Any) -> None:
    assert public.is_server_live()
    assert public.is_server_ready()
    assert public.is_model_ready("omniloop")
    assert public.is_model_ready("omniloop", "1")
    assert not public.is_model_ready("omniloop", "9")
    assert not public.is_model_ready("other")
    assert "binary_tensor_data" in public.get_server_metadata()["extensions"]
    meta = public.get_model_metadata("omniloop")
    assert meta["versions"] == ["1"]
    assert {"task", "text", "image", "audio"} <= {tensor["name"] for tensor in meta["inputs"]}
    assert {"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]} in meta["outputs"]


@pytest.mark.parametrize("binary", [True, False])
def test_a_public_client_gets_the_answers_of_predict(
    public: Any, refusing: httpx.Client, arriving: list[Sample], binary: bool
) -> None:
    samples = arriving[:5]
    rows = {name: [content(sample, name) for sample in samples] for name in ("text", "image", "audio")}
    rows["instruction"] = [sample.instruction.encode() for sample in samples]
    inputs = [column(name, elements) for name, elements in rows.items()]
    outputs = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("answer", "probabilities", "version")]
    said = public.infer("omniloop", inputs, request_id="r1", outputs=outputs, parameters={"task": "digit"})
    expected = [refusing.post("/v1/predict", json=body_of(sample)).json() for sample in samples]
    answers = [each.decode() if isinstance(each, bytes) else each for each in said.as_numpy("answer")]
    assert answers == [each["answer"] for each in expected]
    np.testing.assert_allclose(
        said.as_numpy("probabilities"), [list(each["probabilities"].values()) for each in expected], atol=1e-3
    )
    assert said.as_numpy("version").tolist() == [1] * 5
    assert said.get_response()["id"] == "r1"
    names = json.loads(said.get_output("probabilities")["parameters"]["answers"])
    assert names["digit"] == list(expected[0]["probabilities"])


def test_text_goes_as_json_and_all_outputs_come_back_as_bytes(public: Any, refusing: httpx.Client) -> None:
    task = column("task", [b"digit", b"digit"], binary=False)
    said = public.infer("omniloop", [column("text", [b"tres", b"dos"], binary=False), task])
    assert said.as_numpy("probability").shape == (2,)
    assert (said.as_numpy("uncertainty") <= 1).all()
    feedback = refusing.post(
        "/v1/feedback", json={"prediction": said.as_numpy("prediction")[0].decode(), "answer": "3"}
    )
    assert feedback.json()["new"]


def test_the_same_in_plain_json(refusing: httpx.Client, arriving: list[Sample]) -> None:
    sample = next(sample for sample in arriving if "image" in sample.inputs)
    image = body_of(sample)["inputs"]["image"]["base64"]
    tensors = [{"name": "image", "shape": [1, 1], "datatype": "BYTES", "data": [[image]]}]
    response = refusing.post("/v2/models/omniloop/versions/1/infer", json={"inputs": tensors})
    assert response.status_code == 200, response.text
    outputs = {tensor["name"]: tensor for tensor in response.json()["outputs"]}
    assert outputs["probabilities"]["shape"] == [1, 10]
    assert sum(outputs["probabilities"]["data"]) == pytest.approx(1, abs=1e-4)


def test_a_row_that_cannot_be_answered_is_named(public: Any) -> None:
    text = column("text", [b"tres", b"\xff\xfe"])
    with pytest.raises(InferenceServerException, match="Row 1: ") as refused:
        public.infer("omniloop", [text], parameters={"task": "digit"})
    assert refused.value.status() == "422"


TEXT = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["tres"]}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, "inputs: Field required"),
        ({"inputs": []}, "inputs"),
        ({"inputs": [TEXT, TEXT]}, "Two inputs are named 'text'"),
        ({"inputs": [{**TEXT, "datatype": "FP32"}]}, "is of another type"),
        ({"inputs": [{**TEXT, "shape": [2]}]}, "of 1 rows"),
        ({"inputs": [{**TEXT, "shape": [0], "data": []}]}, "of 0 rows"),
        ({"inputs": [{**TEXT, "data": [7]}]}, "more than strings"),
        ({"inputs": [{**TEXT, "data": None}]}, "of 0 rows"),
        ({"inputs": [{**TEXT, "data": [""]}]}, "Row 0 has no input"),
        ({"inputs": [{**TEXT, "name": "image", "data": ["§"]}]}, "Input image"),
        ({"inputs": [{**TEXT, "name": "smell"}]}, "smell"),
        ({"inputs": [{**TEXT, "parameters": {"binary_data_size": 9}}]}, "bytes that it announces"),
        ({"inputs": [TEXT], "parameters": {"budget": 7}}, "budget"),
        ({"inputs": [TEXT], "parameters": {"task": "colour"}}, "colour"),
        ({"inputs": [TEXT], "outputs": [{"name": "taste"}]}, "no output 'taste'"),
    ],
)
def test_what_cannot_be_used_is_refused_in_the_protocols_own_form(
    refusing: httpx.Client, body: dict[str, Any], error: str
) -> None:
    response = refusing.post("/v2/models/omniloop/infer", json=body)
    assert response.status_code == 422, response.text
    assert set(response.json()) == {"error"}
    assert error in response.json()["error"]


@pytest.mark.parametrize("header", ["99999", "-1", "x", "4"])
def test_a_header_that_does_not_fit_is_refused(refusing: httpx.Client, header: str) -> None:
    body = json.dumps({"inputs": [TEXT]}).encode()
    headers = {"Inference-Header-Content-Length": header}
    response = refusing.post("/v2/models/omniloop/infer", content=body, headers=headers)
    assert response.status_code == 422
    assert set(response.json()) == {"error"}


def test_unknown_models_versions_and_paths_are_not_found(refusing: httpx.Client) -> None:
    for path in ("models/other", "models/omniloop/versions/2", "models/omniloop/versions/x/ready", "nothing"):
        response = refusing.get(f"/v2/{path}")
        assert response.status_code == 404
        assert set(response.json()) == {"error"}


@pytest.mark.parametrize("number", [65, 3_000, 300_000])
def test_too_many_rows_are_refused_before_any_is_built(refusing: httpx.Client, number: int) -> None:
    tensor = {**TEXT, "shape": [number], "data": ["a"] * number}
    body = json.dumps({"inputs": [tensor], "parameters": {"task": "digit"}}).encode()
    began = time.monotonic()
    response = refusing.post("/v2/models/omniloop/infer", content=body, headers=JSON)
    assert response.status_code == 422
    assert "One request may hold 64 samples." in response.json()["error"]
    assert time.monotonic() - began < 1.0


def test_too_many_binary_rows_are_refused_before_any_is_built(public: Any) -> None:
    with pytest.raises(InferenceServerException, match="One request may hold 64 samples"):
        public.infer("omniloop", [column("text", [b"a"] * 100_000)], parameters={"task": "digit"})


def test_an_output_is_given_once(refusing: httpx.Client) -> None:
    for number in (2, 5_000):
        outputs = [{"name": "probabilities"}] * number
        response = refusing.post("/v2/models/omniloop/infer", json={"inputs": [TEXT], "outputs": outputs})
        assert response.status_code == 422, number
        assert set(response.json()) == {"error"}
