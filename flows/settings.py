"""The one settings object: every default of the product, filled from ``OMNI_…`` environment variables.

The leaves define what can be set (frozen dataclasses with checks); this file only nests them, so that each default
stands in one place. A name that nothing uses is refused, because a misspelt threshold is worse than none.
"""

import difflib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Self, get_type_hints

from pydantic import Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from flows.dashboard_config import DashboardConfig
from flows.edge.config import EdgeConfig
from flows.keep_config import KeepConfig
from flows.pulse_config import PulseConfig
from flows.service.config import ServiceConfig
from flows.tracing_config import TracingConfig
from monitoring.alerting.rules_config import AlertingConfig
from monitoring.config import GateConfig, ProbationConfig, TriggerConfig
from monitoring.notify_config import NotifyConfig
from omni_model.acquisition.config import SelectionConfig
from omni_model.config import ElasticConfig, ModelConfig, TrainConfig
from omni_model.evolve_config import EvolveConfig
from omni_model.msn.config import MsnConfig

PREFIX = "OMNI_"
NOT_SETTINGS = frozenset({"OMNI_FAILPOINT"})
"""Names with our prefix that something other than ``Settings`` reads."""


class SettingsError(ValueError):
    """A setting that cannot be used; the message names the variable and the mend."""


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """How one round goes, from what starts it to who promotes."""

    promotion: Literal["auto", "manual"] = "auto"
    """``auto`` promotes what the gate accepts; ``manual`` lets a person approve every candidate."""
    validation_labels: int = 45
    """Validation samples queued for labelling each round, drawn at random, so that the gate sees new domains."""
    unlabelled_rows: int = 1000
    """Unlabelled training samples, drawn at random each round, that tuning may learn from under the model's own
    confident answers; 0 switches that off."""
    label_share_to_go_on: float = 1.0
    """Share of the selected samples that must be labelled before fine-tuning starts, in (0, 1]."""
    min_new_labels: int = 20
    """A round with fewer newly labelled training samples does not train."""
    new_labels_trigger: int = 200
    """Newly labelled samples since the last round that request a round by themselves; 0 switches the trigger off."""
    seed: int = 0
    """Seed of selection, replay and training of every round."""

    def __post_init__(self) -> None:
        if not 0 < self.label_share_to_go_on <= 1:
            raise ValueError(
                f"loop.label_share_to_go_on must lie in (0, 1], got {self.label_share_to_go_on}. "
                "Set OMNI_LOOP__LABEL_SHARE_TO_GO_ON."
            )
        for name in ("validation_labels", "unlabelled_rows", "min_new_labels", "new_labels_trigger"):
            if getattr(self, name) < 0:
                raise ValueError(
                    f"loop.{name} must be 0 or more, got {getattr(self, name)}. Set OMNI_LOOP__{name.upper()}."
                )


class Environment(PydanticBaseSettingsSource):
    """Reads ``OMNI_SECTION__FIELD`` names into nested values and refuses names that no setting has."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Part of the base class's protocol; :meth:`__call__` reads all names at once instead."""
        raise KeyError(field_name)

    def __call__(self) -> dict[str, Any]:
        known = names(self.settings_cls)
        values: dict[str, Any] = {}
        for name, text in os.environ.items():
            if not name.startswith(PREFIX) or name in NOT_SETTINGS:
                continue
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                mend = f"Did you mean {near[0]}?" if near else "`omniloop doctor` lists the names."
                raise SettingsError(f"{name} is set but no setting has that name. {mend}")
            value = json.loads(text) if text.startswith(("[", "{")) else text
            *sections, leaf = known[name]
            place = values
            for section in sections:
                place = place.setdefault(section, {})
            place[leaf] = value
        return values


class Settings(BaseSettings):
    """Everything that can be set. ``OMNI_GATE__MAX_RELATIVE_FALL=0.03`` sets ``settings.gate.max_relative_fall``."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid")

    home: Path = Field(default=Path(".omniloop"), description="Folder that holds everything written.")
    database_url: str = Field(default="", description="SQLAlchemy URL; empty: SQLite in the home.")
    blob_url: str = Field(default="", description="fsspec URL of the blob store; empty: a folder in the home.")
    mlflow_uri: str = Field(default="", description="MLflow tracking and registry URI; empty: SQLite in the home.")
    own_model: str = Field(default="", description="module:Class of a LoopModel of one's own; empty: ours.")
    registered_model: str = Field(default="omniloop", description="Name of the registered model in MLflow.")
    uri_schemes: tuple[str, ...] = Field(
        default=("file", "s3", "gs", "abfs"), description="Schemes of URIs that a manifest may name."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="WARNING", description="Level of the log on stderr."
    )

    loop: LoopConfig = Field(default_factory=LoopConfig)
    model: ModelConfig = Field(default_factory=ModelConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    elastic: ElasticConfig = Field(default_factory=ElasticConfig)
    evolve: EvolveConfig = Field(default_factory=EvolveConfig)
    selection: SelectionConfig = Field(default_factory=SelectionConfig)
    gate: GateConfig = Field(default_factory=GateConfig)
    probation: ProbationConfig = Field(default_factory=ProbationConfig)
    triggers: TriggerConfig = Field(default_factory=TriggerConfig)
    msn: MsnConfig = Field(default_factory=MsnConfig)
    notify: NotifyConfig = Field(default_factory=NotifyConfig)
    alerting: AlertingConfig = Field(default_factory=AlertingConfig)
    pulse: PulseConfig = Field(default_factory=PulseConfig)
    service: ServiceConfig = Field(default_factory=ServiceConfig)
    edge: EdgeConfig = Field(default_factory=EdgeConfig)
    tracing: TracingConfig = Field(default_factory=TracingConfig)
    keep: KeepConfig = Field(default_factory=KeepConfig)
    dashboard: DashboardConfig = Field(default_factory=DashboardConfig)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, Environment(settings_cls)

    @classmethod
    def load(cls, **values: Any) -> Self:
        """The settings of this process; ``values`` win over the environment.

        Raises :class:`SettingsError` with the variable's name and the mend.
        """
        try:
            settings = cls(**values)
        except ValidationError as error:
            raise SettingsError(told(error)) from error
        except json.JSONDecodeError as error:
            raise SettingsError(
                f'A list in an {PREFIX}… variable must be JSON, such as ["a", "b"]: {error}.'
            ) from error
        return settings.resolved()

    def resolved(self) -> Self:
        """The same settings with the empty URLs filled in from the home."""
        home = self.home.expanduser().absolute()
        return self.model_copy(
            update={
                "home": home,
                "database_url": self.database_url or f"sqlite:///{home / 'omniloop.db'}",
                "blob_url": self.blob_url or f"file://{home / 'blobs'}",
                "mlflow_uri": self.mlflow_uri or f"sqlite:///{home / 'mlflow.db'}",
            }
        )


def told(error: ValidationError) -> str:
    """The first fault of settings, in words; a check of ours names the variable and the mend itself."""
    first = error.errors()[0]
    name = PREFIX + "__".join(str(part) for part in first["loc"]).upper()
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    if first["type"] in ("tuple_type", "list_type"):
        text = str(first["input"])
        example = json.dumps([text if text.isidentifier() else "…"], ensure_ascii=False)  # an address may hold a key
        return f"{name} must be a list. Write it as JSON: {name}='{example}'."
    got = "" if isinstance(first["input"], dict) else f", got {first['input']!r}"  # a section may hold a key
    return f"{name}: {first['msg'].rstrip('.')}{got}."


def names(settings: type[BaseSettings]) -> Mapping[str, tuple[str, ...]]:
    """Every environment variable that ``settings`` reads, with the path of the field it fills."""
    found: dict[str, tuple[str, ...]] = {}
    for section, info in settings.model_fields.items():
        for path in _paths(info.annotation, (section,)):
            found[PREFIX + "__".join(path).upper()] = path
    return found


def _paths(kind: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The paths of all leaves below a field of type ``kind``."""
    if not is_dataclass(kind):
        yield path
        return
    hints = get_type_hints(kind)
    for entry in fields(kind):
        yield from _paths(hints[entry.name], (*path, entry.name))
