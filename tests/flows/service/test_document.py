"""The OpenAPI document keeps its word: whatever is asked, nothing fails, and nothing is answered that is not named."""

from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.generation.modes import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = 6
"""Of each operation, in and out of form."""


@pytest.mark.slow
def test_no_operation_fails_or_answers_what_is_not_documented(refusing: httpx.Client) -> None:
    document = schemathesis.openapi.from_url(f"{str(refusing.base_url).rstrip('/')}/v1/openapi.json")
    num_asked = 0
    for found in document.get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()
        for mode in GenerationMode:
            num_asked += ask(operation.as_strategy(generation_mode=mode))
    assert num_asked > 25 * EXAMPLES


def ask(cases: st.SearchStrategy[Any]) -> int:
    """Ask cases and check what is answered; returns how many."""
    num_asked = 0

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def one(case: Any) -> None:
        nonlocal num_asked
        num_asked += 1
        case.call_and_validate(checks=CHECKS, timeout=20)

    try:
        one()
    except Unsatisfiable:  # an operation without parameters cannot be asked out of form
        assert num_asked == 0
    return num_asked
