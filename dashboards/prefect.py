"""Prefect over its REST API: which schedules there are, what ran, and changing them. Importing prefect would take a
second and a hundred megabytes; the pages need six calls of it.

The deployments are those that `omniloop up` registers, `<flow>/omniloop`; a schedule's name is its slug there, so the
commands and the pages see the same ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

from dashboards.problems import Problem
from dashboards.wiring import Wiring

DEPLOYMENT = "omniloop"
"""The name of our deployment under each flow."""
TIMEOUT_S = 3.0
MOST = 200
"""Deployments, or runs, asked for at once."""


class PrefectGone(Problem):
    """Prefect does not answer, or there is none; the message says the mend."""

    def __init__(self, words: str) -> None:
        super().__init__(503, words)


class PrefectRefused(ValueError):
    """Prefect answers, and says no."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A schedule as Prefect has it."""

    id: str
    deployment_id: str
    flow: str
    name: str
    schedule: Mapping[str, Any]
    """`cron`, `interval` (seconds) with `anchor_date`, or `rrule`; and `timezone`."""
    active: bool
    parameters: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run of one of our flows."""

    id: str
    name: str
    flow: str
    state: str
    """Prefect's type of it in lower case: `scheduled`, `running`, `completed`, `failed`, `crashed`, `cancelled` …"""
    state_name: str
    at: datetime | None
    """When it began, or is to begin."""
    seconds: float | None
    url: str
    """Its page in Prefect."""


@dataclass(frozen=True, kw_only=True)
class Prefect:
    """Where it is, and the key to it."""

    url: str
    """Ends in `/api`."""
    auth: str = ""
    """`user:password`; empty for a server that asks for none."""

    @property
    def pages(self) -> str:
        """Where a person looks at it."""
        return self.url.removesuffix("/api")

    def deployments(self) -> dict[str, str]:
        """The flows that may be started by the clock, with their deployment's id, by name."""
        return {flow: str(row["id"]) for flow, row in self._rows().items()}

    def schedules(self) -> list[Planned]:
        """Every schedule of ours, flow by flow."""
        return [
            Planned(
                id=str(each["id"]),
                deployment_id=str(row["id"]),
                flow=flow,
                name=each.get("slug") or str(each["id"]),
                schedule=each["schedule"],
                active=bool(each["active"]),
                parameters=each.get("parameters") or {},
            )
            for flow, row in self._rows().items()
            for each in sorted(row["schedules"], key=lambda each: str(each.get("slug")))
        ]

    def runs(self, limit: int = 20) -> list[Run]:
        """The latest runs that have fallen due, the latest first."""
        flows = {str(row["id"]): flow for flow, row in self._rows().items()}
        if not flows:
            return []
        wanted = {
            "deployments": {"id": {"any_": list(flows)}},
            "flow_runs": {"state": {"type": {"not_any_": ["SCHEDULED"]}}},
            "sort": "EXPECTED_START_TIME_DESC",
            "limit": limit,
        }
        return [
            self._run(row, flows[str(row["deployment_id"])]) for row in self._ask("POST", "/flow_runs/filter", wanted)
        ]

    def add(self, deployment_id: str, name: str, schedule: Mapping[str, Any]) -> None:
        """Start the deployment by the clock from now on."""
        made = {"schedule": dict(schedule), "active": True, "slug": name, "parameters": {}}
        self._ask("POST", f"/deployments/{deployment_id}/schedules", [made])

    def switch(self, planned: Planned, *, active: bool) -> None:
        """Pause or resume a schedule."""
        self._ask("PATCH", f"/deployments/{planned.deployment_id}/schedules/{planned.id}", {"active": active})

    def remove(self, planned: Planned) -> None:
        """Forget a schedule and the runs that it has planned."""
        self._ask("DELETE", f"/deployments/{planned.deployment_id}/schedules/{planned.id}")

    def start(self, deployment_id: str, parameters: Mapping[str, Any]) -> str:
        """Start one run now; returns its name."""
        wanted = {"parameters": dict(parameters), "tags": ["dashboard"], "state": {"type": "SCHEDULED"}}
        return str(self._ask("POST", f"/deployments/{deployment_id}/create_flow_run", wanted)["name"])

    def _rows(self) -> dict[str, Any]:
        wanted = {"deployments": {"name": {"any_": [DEPLOYMENT]}}, "limit": MOST}
        rows: Sequence[Any] = self._ask("POST", "/deployments/filter", wanted)
        if not rows:
            return {}
        ids = [str(row["flow_id"]) for row in rows]
        flows = self._ask("POST", "/flows/filter", {"flows": {"id": {"any_": ids}}, "limit": MOST})
        names = {str(flow["id"]): str(flow["name"]) for flow in flows}
        return dict(sorted((names[str(row["flow_id"])], row) for row in rows if str(row["flow_id"]) in names))

    def _run(self, row: Mapping[str, Any], flow: str) -> Run:
        begun = row.get("start_time") or row.get("expected_start_time")
        return Run(
            id=str(row["id"]),
            name=str(row["name"]),
            flow=flow,
            state=str(row.get("state_type") or "unknown").lower(),
            state_name=str(row.get("state_name") or "unknown"),
            at=datetime.fromisoformat(begun) if begun else None,
            seconds=row.get("total_run_time"),
            url=f"{self.pages}/runs/flow-run/{row['id']}",
        )

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        auth = httpx.BasicAuth(*self.auth.split(":", 1)) if ":" in self.auth else None
        try:
            answer = httpx.request(method, self.url + path, json=body, auth=auth, timeout=TIMEOUT_S, trust_env=False)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            why = f"Prefect at {self.pages} does not answer ({type(error).__name__})."
            raise PrefectGone(f"{why} Start `omniloop up`, or look whether that server runs.") from error
        if answer.status_code in (401, 403):
            raise PrefectGone(f"Prefect at {self.pages} refuses the key. Mend PREFECT_API_AUTH_STRING and start again.")
        if answer.status_code >= 500:
            raise PrefectGone(f"Prefect at {self.pages} has a fault (status {answer.status_code}). Its log tells why.")
        if answer.is_error:
            raise PrefectRefused(f"Prefect refuses that (status {answer.status_code}): {answer.text[:300]}")
        return answer.json() if answer.content else None


def found(wiring: Wiring) -> Prefect:
    """The Prefect of the user's own, else the one that `omniloop up` has announced in the home. `PrefectGone` if there
    is neither.
    """
    if wiring.prefect_url:
        return Prefect(url=wiring.prefect_url, auth=wiring.prefect_auth)
    try:
        told = json.loads((wiring.home / "prefect" / "server.json").read_text(encoding="utf-8"))
        return Prefect(url=str(told["url"]), auth=str(told["auth"] or ""))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PrefectGone(
            "No Prefect runs here: `omniloop up` starts one, and schedules fire while it runs."
        ) from error
