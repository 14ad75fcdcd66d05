"""Runs of the round's flow in Prefect: started, asked after, and given up when nothing is behind them any more."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

from flows.deployments import SERVED, client, ensure
from flows.prefect_server import announced, users_own

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

GOING, DONE, FAILED = "going", "done", "failed"
SOON = timedelta(seconds=2)


@dataclass(frozen=True, kw_only=True)
class Going:
    """A run that has not ended."""

    id: str
    has_begun: bool
    """A process was started for it, or is about to be; False while it waits for the runner."""


class Runs(Protocol):
    """Where rounds are run."""

    def going(self) -> list[Going]:
        """Runs that fell due and have not ended, whoever started them."""

    def start(self, trigger: str) -> str:
        """Start one; returns its id."""

    def outcome(self, run_id: str) -> str:
        """``going``, ``done`` or ``failed``; a run that Prefect has forgotten is done."""

    def give_up(self, run_id: str) -> None:
        """Say that no process is behind it any more."""


class PrefectRuns:
    """Runs of the deployment that ``omniloop up`` serves."""

    def __init__(self, connection: "SyncPrefectClient", entrypoint: str = SERVED[0]) -> None:
        self._connection = connection
        self._deployment: UUID = ensure(connection, entrypoint).id

    def going(self) -> list[Going]:
        from prefect.client.schemas.filters import (
            FlowRunFilter,
            FlowRunFilterDeploymentId,
            FlowRunFilterExpectedStartTime,
            FlowRunFilterState,
            FlowRunFilterStateType,
        )
        from prefect.client.schemas.objects import StateType

        begun = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
        wanted = FlowRunFilter(
            deployment_id=FlowRunFilterDeploymentId(any_=[self._deployment]),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED, *begun])),
            expected_start_time=FlowRunFilterExpectedStartTime.model_validate({"before_": datetime.now(UTC) + SOON}),
        )
        runs = self._connection.read_flow_runs(flow_run_filter=wanted, limit=20)
        return [Going(id=str(run.id), has_begun=run.state_type in begun) for run in runs]

    def start(self, trigger: str) -> str:
        run = self._connection.create_flow_run_from_deployment(
            self._deployment, parameters={"trigger": trigger}, tags=["pulse"]
        )
        return str(run.id)

    def outcome(self, run_id: str) -> str:
        from prefect.exceptions import ObjectNotFound

        try:
            state = self._connection.read_flow_run(UUID(run_id)).state
        except ObjectNotFound:
            return DONE
        if state is None or not state.is_final():
            return GOING
        return DONE if state.is_completed() else FAILED

    def give_up(self, run_id: str) -> None:
        from prefect.client.schemas.objects import State
        from prefect.states import Crashed

        state: State[Any] = Crashed(message="No process was working on it any more.")
        self._connection.set_flow_run_state(UUID(run_id), state, force=True)


@contextmanager
def prefect_runs(home: Path) -> Iterator[Runs | None]:
    """The runs of the Prefect that this home uses; None while it does not answer."""
    api = users_own() or announced(home)
    if api is None or not api.healthy():
        yield None
        return
    with client(api) as connection:
        yield PrefectRuns(connection)
