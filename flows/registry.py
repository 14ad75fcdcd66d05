"""MLflow, behind the few verbs that the loop needs. The only file that imports it.

The database decides which version serves; this registry keeps what a person wants to look at: a run a round with its
parameters, metrics, curves, data set and lineage, the weights as artefacts, and aliases that mirror the database.
Every verb can be repeated after a crash without making a second run or a second version.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import mlflow
from mlflow.entities import Dataset, DatasetInput, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.tracking import MlflowClient

from flows.errors import RegistryError

P = ParamSpec("P")
R = TypeVar("R")

ALIASES = ("previous", "champion", "challenger")
"""In the order of writing: MLflow cannot set two at once, and ``previous`` must be right before ``champion`` moves."""
ROUND_TAG = "omniloop.round"
VERSION_TAG = "omniloop.version"


@dataclass(frozen=True, kw_only=True)
class RoundRun:
    """What is kept of one round in its MLflow run."""

    round_id: int
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    history: Sequence[Mapping[str, float]]
    """One row an epoch; each key becomes a curve."""
    dataset_name: str
    dataset_digest: str
    """Digest of the sample snapshot that the round trained on."""
    tags: Mapping[str, str]


def told(verb: Callable[Concatenate["Registry", P], R]) -> Callable[Concatenate["Registry", P], R]:
    """A verb whose failures say what to do."""

    @wraps(verb)
    def call(self: "Registry", /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return verb(self, *args, **kwargs)
        except MlflowException as error:
            reason = str(error).strip().splitlines()[0]
            raise RegistryError(
                f"MLflow at {self.place} failed ({verb.__name__}): {reason} "
                "Free space if its disk is full, check OMNI_MLFLOW_URI and that the store is up, then try again."
            ) from error

    return call


class Registry:
    """One registered model in one MLflow store."""

    def __init__(self, uri: str, model: str, artifact_root: Path) -> None:
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        self.model = model
        self.uri = uri
        self._artifact_root = artifact_root
        self._client = MlflowClient(tracking_uri=uri, registry_uri=uri)

    @property
    def place(self) -> str:
        """The store's address without a password."""
        scheme, separator, rest = self.uri.partition("://")
        return f"{scheme}{separator}{rest.rpartition('@')[2]}"

    @told
    def log_round(self, run: RoundRun) -> str:
        """Write the round's run and return its id. A second call for the same round returns the finished run."""
        experiment = self._experiment()
        query = f"tags.`{ROUND_TAG}` = '{run.round_id}'"
        for known in self._client.search_runs([experiment], query):
            if known.info.status == "FINISHED":
                return str(known.info.run_id)
            self._client.delete_run(known.info.run_id)
        created = self._client.create_run(
            experiment, run_name=f"round {run.round_id}", tags={ROUND_TAG: str(run.round_id), **run.tags}
        )
        run_id = str(created.info.run_id)
        now = created.info.start_time
        curves = [
            Metric(key, float(value), now, step)
            for step, row in enumerate(run.history)
            for key, value in row.items()
            if isinstance(value, int | float)
        ]
        finals = [Metric(key, float(value), now, 0) for key, value in run.metrics.items()]
        self._client.log_batch(
            run_id,
            metrics=[*curves, *finals],
            params=[Param(key, str(value)[:6000]) for key, value in run.params.items()],
            tags=[RunTag("mlflow.source.name", "omniloop")],
        )
        dataset = Dataset(
            name=run.dataset_name,
            digest=run.dataset_digest[:36],
            source_type="omniloop",
            source=json.dumps({"snapshot": run.dataset_digest}),
        )
        self._client.log_inputs(run_id, [DatasetInput(dataset)])
        self._client.set_terminated(run_id, "FINISHED")
        return run_id

    @told
    def register(self, version: int, run_id: str, folder: Path, tags: Mapping[str, str]) -> str:
        """Log ``folder`` as the run's artefact and register it as a version; returns MLflow's own version number."""
        self._ensure_model()
        for known in self._client.search_model_versions(f"name = '{self.model}'"):
            if known.tags.get(VERSION_TAG) == str(version):
                return str(known.version)
        self._client.log_artifacts(run_id, str(folder), "model")
        source = f"{self._client.get_run(run_id).info.artifact_uri}/model"
        created = self._client.create_model_version(
            self.model, source, run_id, tags={VERSION_TAG: str(version), **tags}, description=f"Omniloop v{version}"
        )
        return str(created.version)

    @told
    def log_file(self, run_id: str, path: Path, folder: str) -> None:
        """Keep one more file with a round's run."""
        self._client.log_artifact(run_id, str(path), folder)

    @told
    def log_metrics(self, run_id: str, metrics: Mapping[str, float]) -> None:
        """Add final figures to a round's run."""
        self._client.log_batch(run_id, metrics=[Metric(key, float(value), 0, 0) for key, value in metrics.items()])

    @told
    def tag_version(self, mlflow_version: str, tags: Mapping[str, str]) -> None:
        """Write a version's state where MLflow's own pages show it."""
        for key, value in tags.items():
            self._client.set_model_version_tag(self.model, mlflow_version, key, value)

    @told
    def aliases(self) -> dict[str, str]:
        """Our aliases as MLflow has them now: alias → MLflow version."""
        try:
            model = self._client.get_registered_model(self.model)
        except MlflowException as error:
            if error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                return {}
            raise
        return {alias: str(version) for alias, version in model.aliases.items() if alias in ALIASES}

    @told
    def project(self, wanted: Mapping[str, str | None]) -> None:
        """Make our aliases point as ``wanted`` says (None: the alias is removed). Repeating it changes nothing."""
        present = self.aliases()
        for alias in ALIASES:
            target = wanted.get(alias)
            if target == present.get(alias):
                continue
            if target is None:
                self._client.delete_registered_model_alias(self.model, alias)
            else:
                self._client.set_registered_model_alias(self.model, alias, target)

    def _experiment(self) -> str:
        known = self._client.get_experiment_by_name(self.model)
        if known is not None:
            return str(known.experiment_id)
        location = self._artifact_root.as_uri() if self.uri.startswith("sqlite") else None
        return str(self._client.create_experiment(self.model, artifact_location=location))

    def _ensure_model(self) -> None:
        try:
            self._client.get_registered_model(self.model)
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                raise
            self._client.create_registered_model(self.model)


def installed() -> str:
    """MLflow's version."""
    return str(mlflow.__version__)
