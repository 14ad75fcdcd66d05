"""The edge's OpenAPI document, with the bodies that its routes read themselves."""

from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from flows.edge.forms import EdgePredictOut
from flows.service.forms import BatchIn, ErrorOut, FeedbackIn, PredictIn

BODIES = (PredictIn, BatchIn, FeedbackIn)
"""Forms that routes read themselves."""


class EdgeBatchOut(BaseModel):
    """One entry a sample, in order: an answer or a refusal."""

    predictions: list[EdgePredictOut | ErrorOut]


def takes(form: type[BaseModel], *, multipart: bool = False) -> dict[str, Any]:
    """OpenAPI's words for a body that the route reads itself."""
    content: dict[str, Any] = {"application/json": {"schema": {"$ref": f"#/components/schemas/{form.__name__}"}}}
    if multipart:
        parts = {"type": "object", "required": ["task"], "properties": {"task": {"type": "string"}}}
        content["multipart/form-data"] = {"schema": {**parts, "additionalProperties": True}}
    return {"requestBody": {"required": True, "content": content}}


def document(app: FastAPI) -> dict[str, Any]:
    """The document, made once."""
    if app.openapi_schema is None:
        made = get_openapi(title=app.title, version=version("omniloop"), routes=app.routes)
        _, bodies = models_json_schema(
            [(form, "validation") for form in BODIES], ref_template="#/components/schemas/{model}"
        )
        parts = made.setdefault("components", {})
        parts.setdefault("schemas", {}).update(bodies["$defs"])
        parts["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        app.openapi_schema = made
    return app.openapi_schema
