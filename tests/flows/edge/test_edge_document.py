"""The edge's OpenAPI document keeps its word: nothing fails, and nothing is answered that is not named."""

from pathlib import Path

import pytest
import schemathesis
from schemathesis.core.result import Ok
from schemathesis.generation.modes import GenerationMode

from tests.flows.edge.running import running_edge
from tests.flows.service.test_document import EXAMPLES, ask


@pytest.mark.slow
def test_no_operation_of_the_edge_fails_or_answers_what_is_not_documented(bundle: Path, tmp_path: Path) -> None:
    num_asked = 0
    with running_edge(bundle, tmp_path / "spool") as (client, _):
        document = schemathesis.openapi.from_url(f"{str(client.base_url).rstrip('/')}/v1/openapi.json")
        for found in document.get_all_operations():
            assert isinstance(found, Ok), found
            for mode in GenerationMode:
                num_asked += ask(found.ok().as_strategy(generation_mode=mode))
    assert num_asked > 6 * EXAMPLES
