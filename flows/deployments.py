"""The flows that Prefect may start by itself, and how they are registered with it: by module path, one run at a time.

A flow has one deployment, ``retrain/omniloop``, and any number of schedules on it. The limit of one run therefore
holds over all of them together: a run that falls due while another is still going is cancelled, not queued.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.deployments.runner import RunnerDeployment

    from flows.prefect_server import Api

NAME = "omniloop"
"""The deployment's name under each flow."""
SERVED = (
    "flows.retrain.retrain",
    "flows.fit_selector.fit_selector",
    "flows.report.report",
    "flows.watch.watch",
    "flows.baseline.baseline",
)
"""Entry points of the flows that ``omniloop up`` runs when Prefect asks for it; the first one makes rounds."""


def flow_name(entrypoint: str) -> str:
    """The name of the flow at ``entrypoint``, which is the function's with dashes, as Prefect makes it.

    >>> flow_name("flows.retrain.retrain")
    'retrain'
    """
    module, _, function = entrypoint.rpartition(".")
    if not module or ":" in entrypoint or "/" in entrypoint:
        raise ValueError(f"A flow is named by its module path, got {entrypoint!r}. Write it like {SERVED[0]}.")
    return function.replace("_", "-")


def entrypoint_of(name: str) -> str:
    """The entry point of a flow that is served, by its name; `ValueError` for any other.

    >>> entrypoint_of("fit-selector")
    'flows.fit_selector.fit_selector'
    """
    known = {flow_name(entrypoint): entrypoint for entrypoint in SERVED}
    if name not in known:
        raise ValueError(f"There is no flow {name!r} to start by the clock. There are {', '.join(known)}.")
    return known[name]


def full_name(entrypoint: str) -> str:
    """How Prefect calls the deployment of the flow at ``entrypoint``.

    >>> full_name("flows.retrain.retrain")
    'retrain/omniloop'
    """
    return f"{flow_name(entrypoint)}/{NAME}"


def client(api: "Api") -> "SyncPrefectClient":
    """A client of ``api``; a context manager."""
    from prefect.client.orchestration import SyncPrefectClient

    return SyncPrefectClient(api.url, auth_string=api.auth, httpx_settings={"trust_env": False})


def deployment(entrypoint: str) -> "RunnerDeployment":
    """What a runner serves. It names no schedules, so that registering it again keeps those that are there."""
    from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
    from prefect.deployments.runner import RunnerDeployment

    return RunnerDeployment(
        name=NAME,
        flow_name=flow_name(entrypoint),
        entrypoint=entrypoint,
        concurrency_limit=1,
        concurrency_options=ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
        description=f"Runs {entrypoint} in the process that `omniloop up` keeps.",
        enforce_parameter_schema=False,
    )


def ensure(connection: "SyncPrefectClient", entrypoint: str) -> Any:
    """The deployment of the flow at ``entrypoint`` as the server has it, registered first if it has none.

    The flow is not imported for this: that would cost seconds, and its parameters are checked when it runs.
    """
    from prefect.exceptions import ObjectNotFound

    try:
        return connection.read_deployment_by_name(full_name(entrypoint))
    except ObjectNotFound:
        made = deployment(entrypoint)
        connection.create_deployment(
            flow_id=connection.create_flow_from_name(made.flow_name or flow_name(entrypoint)),
            name=made.name,
            entrypoint=entrypoint,
            concurrency_limit=1,
            concurrency_options=made.concurrency_options,
            description=made.description,
            enforce_parameter_schema=False,
        )
        return connection.read_deployment_by_name(full_name(entrypoint))
