"""What starts by the clock: schedules on a flow's deployment in Prefect, added, listed, paused, resumed, removed.

Each function takes the API to talk to, from :func:`flows.prefect_server.prefect_api`. The schedules are Prefect's own:
they show on its pages, outlive a restart, and fire while ``omniloop up`` runs.
"""

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from flows.deployments import SERVED, client, ensure, flow_name, full_name
from flows.prefect_server import Api

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import DeploymentSchedule

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class ScheduleError(ValueError):
    """A schedule that cannot be made or found; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """One schedule as Prefect has it."""

    name: str
    when: str
    """In words: ``cron 0 3 * * *`` or ``every 0:30:00``."""
    time_zone: str
    active: bool
    """False while paused."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    next_runs: tuple[datetime, ...] = ()
    """In the schedule's time zone, soonest first; empty while paused."""
    flow: str = ""
    """Name of the flow that it starts."""


def parse_every(text: str) -> timedelta:
    """An interval as people write it: a number and one of s, m, h, d, w.

    >>> parse_every("90m")
    datetime.timedelta(seconds=5400)
    """
    found = re.fullmatch(r"\s*(\d+)\s*([smhdw])\s*", text)
    if not found or not int(found[1]):
        raise ScheduleError(
            f"An interval is a number above 0 and a unit of s, m, h, d or w, got {text!r}. Write 30m or 6h."
        )
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])


def add(
    api: Api,
    name: str,
    *,
    cron: str | None = None,
    every: timedelta | None = None,
    time_zone: str = "UTC",
    parameters: Mapping[str, Any] | None = None,
    entrypoint: str = SERVED[0],
) -> Schedule:
    """Start the flow at ``entrypoint`` by the clock from now on, with ``parameters``; give ``cron`` or ``every``.

    An interval counts from now. Raises :class:`ScheduleError` for a name that is taken, and for a cron line, interval
    or time zone that means nothing.
    """
    if not _NAME.fullmatch(name):
        raise ScheduleError(f"A schedule's name is made of a-z, 0-9 and single dashes, got {name!r}. Write nightly-1.")
    wanted = _schedule(cron, every, time_zone)
    from prefect.client.schemas.actions import DeploymentScheduleCreate

    with client(api) as connection:
        deployment = ensure(connection, entrypoint)
        if any(known.slug == name for known in connection.read_deployment_schedules(deployment.id)):
            raise ScheduleError(f"There is a schedule {name!r} already. Remove it first, or choose another name.")
        made = DeploymentScheduleCreate(schedule=wanted, active=True, parameters=dict(parameters or {}), slug=name)
        created = connection.create_deployment_schedules(deployment.id, [made])
    return _described(created[0], 3, entrypoint)


def present(api: Api, *, entrypoint: str = SERVED[0], num_next: int = 3) -> list[Schedule]:
    """All schedules of the flow, by name, each with its ``num_next`` next runs."""
    with client(api) as connection:
        return [_described(known, num_next, entrypoint) for _, known in sorted(_known(connection, entrypoint).items())]


def present_of_all(api: Api, *, entrypoints: Sequence[str] = SERVED) -> list[Schedule]:
    """The schedules of every flow that is served, flow by flow."""
    return [schedule for entrypoint in entrypoints for schedule in present(api, entrypoint=entrypoint)]


def home_of(api: Api, name: str, *, entrypoints: Sequence[str] = SERVED) -> str:
    """The entry point of the flow that has the schedule; :class:`ScheduleError` if none has."""
    known = present_of_all(api, entrypoints=entrypoints)
    for entrypoint in entrypoints:
        if any((schedule.name, schedule.flow) == (name, flow_name(entrypoint)) for schedule in known):
            return entrypoint
    raise _unknown(name, [schedule.name for schedule in known])


def pause(api: Api, name: str, *, entrypoint: str = SERVED[0]) -> Schedule:
    """Let it fire no more until it is resumed; what it already started goes on. Pausing it again changes nothing."""
    return _switch(api, name, entrypoint, active=False)


def resume(api: Api, name: str, *, entrypoint: str = SERVED[0]) -> Schedule:
    """Let a paused schedule fire again, from its next time on. Resuming it again changes nothing."""
    return _switch(api, name, entrypoint, active=True)


def remove(api: Api, name: str, *, entrypoint: str = SERVED[0]) -> None:
    """Forget the schedule and the runs that it has planned."""
    with client(api) as connection:
        found = _one(connection, name, entrypoint)
        connection.delete_deployment_schedule(found.deployment_id, found.id)


def run_now(api: Api, name: str, *, entrypoint: str = SERVED[0], who: str = "") -> str:
    """Start what the schedule starts, once, beside its times; returns the run's name. ``who`` asks for it."""
    with client(api) as connection:
        found = _one(connection, name, entrypoint)
        asked = {"trigger": "manual", "who": who} if who and entrypoint == SERVED[0] else {}
        run = connection.create_flow_run_from_deployment(found.deployment_id, parameters={**found.parameters, **asked})
        return run.name


def _switch(api: Api, name: str, entrypoint: str, *, active: bool) -> Schedule:
    with client(api) as connection:
        found = _one(connection, name, entrypoint)
        connection.update_deployment_schedule(found.deployment_id, found.id, active=active)
        return _described(_one(connection, name, entrypoint), 3, entrypoint)


def _known(connection: "SyncPrefectClient", entrypoint: str) -> dict[str, "DeploymentSchedule"]:
    from prefect.exceptions import ObjectNotFound

    try:
        deployment = connection.read_deployment_by_name(full_name(entrypoint))
    except ObjectNotFound:
        return {}
    return {known.slug or str(known.id): known for known in connection.read_deployment_schedules(deployment.id)}


def _one(connection: "SyncPrefectClient", name: str, entrypoint: str) -> Any:
    known = _known(connection, entrypoint)
    if name not in known:
        raise _unknown(name, known)
    return known[name]


def _unknown(name: str, known: Iterable[str]) -> ScheduleError:
    names = ", ".join(sorted(known)) or "none yet"
    return ScheduleError(f"There is no schedule {name!r}. Present: {names}. `omniloop schedule list` shows them.")


def _schedule(cron: str | None, every: timedelta | None, time_zone: str) -> Any:
    from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule

    if (cron is None) == (every is None):
        raise ScheduleError("A schedule has either a cron line or an interval. Give one of --cron and --every.")
    try:
        ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ScheduleError(f"There is no time zone {time_zone!r}. Use a name such as UTC or Europe/Paris.") from error
    try:
        if every is not None:
            return IntervalSchedule(interval=every, timezone=time_zone)
        return CronSchedule(cron=str(cron), timezone=time_zone)
    except ValueError as error:
        wrong = cron if every is None else every
        raise ScheduleError(
            f"{wrong!s} is no schedule. A cron line has five fields, minute hour day month weekday, "
            "such as '0 3 * * *'; an interval is longer than 0."
        ) from error


def _described(known: Any, num_next: int, entrypoint: str) -> Schedule:
    schedule = known.schedule
    zone = schedule.timezone or "UTC"
    cron = getattr(schedule, "cron", None)
    return Schedule(
        name=known.slug or str(known.id),
        when=f"cron {cron}" if cron else f"every {schedule.interval}",
        time_zone=zone,
        active=known.active,
        parameters=known.parameters,
        next_runs=tuple(_next_runs(schedule, num_next, zone)) if known.active else (),
        flow=flow_name(entrypoint),
    )


def _next_runs(schedule: Any, num: int, zone: str) -> Sequence[datetime]:
    """The times themselves, by the rules that Prefect's server uses."""
    from prefect.server.schemas import schedules as rules

    kind = rules.CronSchedule if hasattr(schedule, "cron") else rules.IntervalSchedule
    same = kind.model_validate(schedule.model_dump())
    with ThreadPoolExecutor(1) as aside:  # the caller's thread may have an event loop of its own
        dates = aside.submit(asyncio.run, same.get_dates(num, start=datetime.now(UTC))).result()
    return [datetime.fromtimestamp(date.timestamp(), ZoneInfo(zone)) for date in dates]
