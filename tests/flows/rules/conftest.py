"""A home with v1 in service, a clock that stands still, and a rule on accuracy."""

from datetime import UTC, datetime

import pytest

from flows.workspace import Workspace
from monitoring.alerting.reading import parse_rules
from monitoring.alerting.rule import RuleSet
from tests.flows import homes
from tests.flows.rules.turns import RULES


@pytest.fixture
def clock() -> homes.Clock:
    return homes.Clock(now=datetime.now(UTC))


@pytest.fixture
def timed(ws: Workspace, clock: homes.Clock) -> Workspace:
    return ws.with_(clock=clock)


@pytest.fixture
def rules() -> RuleSet:
    return parse_rules(RULES)
