"""Decisions over HTTP, as in the CLI: look at versions, approve, reject and roll back them, delete a sample."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query
from fastapi import Path as InPath
from fastapi import Request as HttpRequest
from starlette.responses import Response

from db.records import AuditEntry, Release, Serving
from db.repository import audit, releases, versions
from flows.service.control_forms import (
    AuditOut,
    DeletionOut,
    MoveIn,
    MoveOut,
    TrialOut,
    VersionDetail,
    VersionOut,
    VersionsOut,
)
from flows.service.forms import ErrorOut
from flows.service.keys import ANY, Caller
from flows.service.live import LiveService
from flows.service.reading import parse
from flows.service.routes import REFUSALS, UNREADABLE, gives, read, takes, told
from flows.service.scopes import needs
from flows.steps.approving import approve
from flows.steps.forgetting import forget_sample
from flows.workspace import Workspace

Value = TypeVar("Value")
Number = Annotated[int, InPath(ge=1, le=2**63 - 1, description="The version's number.")]
Move = Callable[[Workspace, int, str, str], Release]
NO_VERSION: dict[int | str, dict[str, Any]] = {404: {"model": ErrorOut, "description": "No such version"}}
NO_SAMPLE: dict[int | str, dict[str, Any]] = {404: {"model": ErrorOut, "description": "No such sample"}}
ILLEGAL: dict[int | str, dict[str, Any]] = {
    409: {"model": ErrorOut, "description": "It cannot go there from its state"}
}
UNFIT: dict[int | str, dict[str, Any]] = {422: {"model": ErrorOut, "description": "What was asked cannot be used"}}


def reject(ws: Workspace, version: int, who: str, why: str) -> Release:
    """Refuse a version for good."""
    with ws.database.write() as session:
        return releases.reject(session, version, who=who, why=why, now=ws.clock())


def rollback(ws: Workspace, version: int, who: str, why: str) -> Release:
    """Take the version in service back."""
    with ws.database.write() as session:
        return releases.rollback(session, version, who=who, why=why, now=ws.clock())


def put_in_service(ws: Workspace, version: int, who: str, why: str) -> Release:
    """Put a version in service, on probation."""
    return approve(ws, version, who=who, why=why)


MOVES: dict[str, tuple[Move, str]] = {
    "approve": (put_in_service, "Put a version that waits for approval in service, on probation."),
    "reject": (reject, "Refuse a version for good; its round's labels are quarantined."),
    "rollback": (rollback, "Take the version in service back; the one accepted before it serves again."),
}


def control(service: LiveService) -> APIRouter:
    """The routes of versions and samples."""
    router = APIRouter(prefix="/v1")

    async def run(step: Callable[..., Value], *args: Any) -> Value:
        return await asyncio.get_running_loop().run_in_executor(service.stores, step, *args)

    @router.get("/versions", responses=gives(VersionsOut) | REFUSALS, openapi_extra=needs(ANY))
    async def list_versions() -> Response:
        """Every version with its state, and which one this process answers with."""
        known, serving = await run(service.versions)
        served, trial = service.engine.served, service.engine.trial
        found = VersionsOut(
            versions=[VersionOut(**version_out(service, row, serving)) for row in known],
            generation=serving.generation,
            answering=served.version if served else None,
            refused=service.watch.refusal,
            trial=None if trial is None else TrialOut(version=trial.version, mode=trial.mode, share=trial.share),
        )
        return told(found)

    @router.get(
        "/versions/{version}", responses=gives(VersionDetail) | REFUSALS | NO_VERSION | UNFIT, openapi_extra=needs(ANY)
    )
    async def show_version(version: Number) -> Response:
        """One version: where it came from, its numbers, and everybody who moved it."""
        row, serving, trail = await run(look, service.ws, version)
        detail = VersionDetail(
            **version_out(service, row, serving),
            round=row.round_id,
            digest=row.digest,
            created_at=row.created_at.isoformat(),
            metrics=dict(row.metrics),
            trail=[
                AuditOut(at=entry.at.isoformat(), who=entry.who, became=entry.to_state or entry.action, why=entry.why)
                for entry in trail
            ],
        )
        return told(detail)

    for name, (step, says) in MOVES.items():
        add_move(router, service, name, step, says)

    @router.delete(
        "/samples/{sample_id:path}",
        responses=gives(DeletionOut) | REFUSALS | NO_SAMPLE | UNFIT,
        openapi_extra=needs("admin"),
    )
    async def delete_sample(
        request: HttpRequest,
        sample_id: Annotated[str, InPath(min_length=1, max_length=512, pattern=r"^[^\x00]+$")],
        why: Annotated[str, Query(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")],
    ) -> Response:
        """Delete a sample with its media, labels, log rows and replay membership; lists the versions that learnt it."""
        gone = await run(forget_sample, service.ws, sample_id, who_asks(request.scope["state"]["caller"], ""), why)
        return told(
            DeletionOut(
                sample=gone.sample_id,
                num_labels=gone.num_labels,
                num_predictions=gone.num_predictions,
                num_mirrors=gone.num_mirrors,
                num_rounds=gone.num_rounds,
                num_blobs=len(gone.blobs),
                trained_versions=list(gone.trained_versions),
                derived_versions=list(gone.derived_versions),
            )
        )

    return router


def add_move(router: APIRouter, service: LiveService, name: str, step: Move, says: str) -> None:
    """The route of one decision."""

    @router.post(
        f"/versions/{{version}}/{name}",
        name=name,
        summary=name.capitalize(),
        description=says,
        responses=gives(MoveOut, "It is moved") | REFUSALS | UNREADABLE | NO_VERSION | ILLEGAL,
        openapi_extra=needs("approve", takes(MoveIn)),
    )
    async def decide(request: HttpRequest, version: Number) -> Response:
        body = await read(service, request, lambda data, kind: parse(MoveIn, data, kind))
        who = who_asks(request.scope["state"]["caller"], body.who)
        loop = asyncio.get_running_loop()
        return told(await loop.run_in_executor(service.stores, moved, service.ws, step, version, who, body.why))


def moved(ws: Workspace, step: Move, version: int, who: str, why: str) -> MoveOut:
    """Move a version and say what serves now."""
    release = step(ws, version, who, why)
    with ws.database.read() as session:
        serving = versions.serving(session)
    return MoveOut(
        version=release.version, state=release.state, in_service=serving.version, generation=serving.generation
    )


def look(ws: Workspace, version: int) -> tuple[Release, Serving, list[AuditEntry]]:
    """All that is known of a version."""
    with ws.database.read() as session:
        release = versions.get_release(session, version)
        return release, versions.serving(session), audit.history(session, version=version)


def version_out(service: LiveService, row: Release, serving: Serving) -> dict[str, Any]:
    """A version and its state, in the database and here."""
    served = service.engine.served
    return {
        "version": row.version,
        "state": row.state,
        "parent": row.parent_version,
        "in_service": row.version == serving.version,
        "answering": served is not None and row.version == served.version,
        "warm": row.version in service.engine.warm_versions,
    }


def who_asks(caller: Caller, said: str) -> str:
    """The name in the audit trail: the key's, if there is one, so that nobody signs for another."""
    return f"key:{caller.name}" if caller.name else said or "service"
