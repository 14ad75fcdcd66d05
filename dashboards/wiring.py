"""What the pages are told when they start: where everything is, and what was set. `flows` writes it, once, as JSON.

There are no defaults here: each stands where the setting is defined.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict


class Wiring(BaseModel):
    """Everything that the pages need to know of the installation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path
    """The folder that everything is written to."""
    database_url: str
    blob_url: str
    host: str
    port: int
    names: tuple[str, ...]
    """Host names by which browsers may reach the pages, beside the address itself."""
    is_https: bool
    """Browsers reach the pages through https, so cookies are sent on nothing else."""
    session_hours: float
    """Hours after which somebody has to sign in again."""
    idle_hours: float
    """Hours without a request after which somebody has to sign in again."""
    approver_differs: bool
    """Whoever started a round may not approve what came of it."""
    service_url: str
    """Where the live service answers; empty: it is not known."""
    service_key: str
    """The key to it."""
    prefect_url: str
    """A Prefect API of the user's own; empty: what the home announces."""
    prefect_auth: str
    mlflow_url: str
    """Where people look at MLflow; empty: nowhere."""
    evidently_url: str
    """Where people look at Evidently's own pages; empty: nowhere."""
    gate: Mapping[str, Any]
    """The gate's limits, as `monitoring.config.GateConfig` takes them."""
    alerting: Mapping[str, Any]
    """As `monitoring.alerting.rules_config.AlertingConfig` takes them."""
    receivers: Mapping[str, str]
    """Who may be told of alerts: name to a description without secrets."""
    settings: Mapping[str, Any]
    """Every setting in force, secrets left out, for people to read."""
    version: str
    """Of the program."""
