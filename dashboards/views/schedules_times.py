"""When a schedule fires: its reading in words, its next times, and what Prefect is told of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import floor
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cron_descriptor import (
    FormatException,
    MissingFieldException,
    Options,
    WrongArgumentException,
    get_description,
)
from cronsim import CronSim, CronSimError

NUM_NEXT = 5
ZONES = (
    "UTC",
    "Europe/London",
    "Europe/Paris",
    "Europe/Berlin",
    "Europe/Zurich",
    "Europe/Madrid",
    "Europe/Warsaw",
    "Europe/Kyiv",
    "Africa/Lagos",
    "Africa/Johannesburg",
    "Asia/Dubai",
    "Asia/Kolkata",
    "Asia/Singapore",
    "Asia/Shanghai",
    "Asia/Tokyo",
    "Asia/Seoul",
    "Australia/Sydney",
    "Pacific/Auckland",
    "America/New_York",
    "America/Chicago",
    "America/Denver",
    "America/Los_Angeles",
    "America/Sao_Paulo",
)
"""Time zones that are offered; any other name may be typed."""
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
WORDS = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week"}


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A schedule in words, and when it fires next."""

    words: str
    next_runs: list[datetime]
    """In the schedule's time zone, the soonest first."""


def zone_of(name: str) -> ZoneInfo:
    """The time zone; `ValueError` for a name that there is not."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"There is no time zone {name!r}. Use a name such as UTC or Europe/Paris.") from error


def seconds_of(every: str) -> int:
    """An interval as people write it, in seconds.

    >>> seconds_of("90m"), seconds_of("1d")
    (5400, 86400)
    """
    found = re.fullmatch(r"\s*(\d{1,6})\s*([smhdw])\s*", every)
    if not found or not int(found[1]):
        raise ValueError(f"An interval is a number above 0 and a unit of s, m, h, d or w, got {every!r}. Write 6h.")
    return int(found[1]) * UNITS[found[2]]


def told_to_prefect(cron: str, every: str, time_zone: str, now: datetime) -> dict[str, Any]:
    """The schedule in Prefect's words. `ValueError` unless it is a cron line or an interval, and means something."""
    if bool(cron) == bool(every):
        raise ValueError("A schedule has either a cron line or an interval. Give one of them.")
    zone_of(time_zone)
    if every:
        return {"interval": float(seconds_of(every)), "anchor_date": now.isoformat(), "timezone": time_zone}
    cron_times(cron, zone_of(time_zone), now, 1)
    return {"cron": cron, "timezone": time_zone, "day_or": True}


def cron_times(cron: str, zone: ZoneInfo, now: datetime, num: int) -> list[datetime]:
    """The next times of a cron line. `ValueError` if it means nothing, or never comes."""
    if len(cron.split()) != 5:
        raise ValueError(
            f"A cron line has five fields, minute hour day month weekday, got {cron!r}. Write 0 3 * * * for each night."
        )
    try:
        times = CronSim(cron, now.astimezone(zone))
        return [next(times) for _ in range(num)]
    except CronSimError as error:
        raise ValueError(f"{cron!r} is no cron line: {str(error) or 'a field is out of range'}. Mend it.") from error
    except StopIteration as error:
        raise ValueError(f"{cron!r} never comes. Name a day that there is.") from error


def interval_times(every_s: float, anchor: datetime, zone: ZoneInfo, now: datetime, num: int) -> list[datetime]:
    """The next times of an interval that is counted from `anchor`.

    >>> start = datetime(2026, 3, 1, tzinfo=UTC)
    >>> [each.hour for each in interval_times(3600, start, ZoneInfo("UTC"), start + timedelta(minutes=90), 2)]
    [2, 3]
    """
    passed = floor((now - anchor).total_seconds() / every_s) + 1
    return [(anchor + timedelta(seconds=every_s * (passed + place))).astimezone(zone) for place in range(num)]


def in_words(cron: str) -> str:
    """A cron line as people say it.

    >>> in_words("30 2 * * 1-5")
    'At 02:30, Monday through Friday'
    """
    options = Options()
    options.use_24hour_time_format = True
    options.verbose = True
    try:
        return str(get_description(cron, options))
    except (FormatException, MissingFieldException, WrongArgumentException, ValueError) as error:
        raise ValueError(f"{cron!r} cannot be read: {error}") from error


def every_in_words(seconds: float) -> str:
    """An interval as people say it.

    >>> every_in_words(3600), every_in_words(5400), every_in_words(86_400 * 3)
    ('Every hour', 'Every 90 minutes', 'Every 3 days')
    """
    for unit in ("w", "d", "h", "m"):
        if seconds % UNITS[unit] == 0:
            num = int(seconds / UNITS[unit])
            return f"Every {WORDS[unit]}" if num == 1 else f"Every {num} {WORDS[unit]}s"
    return f"Every {seconds:g} seconds"


def reading(schedule: Mapping[str, Any], now: datetime, num: int = NUM_NEXT) -> Reading:
    """A schedule as Prefect has it, in words. One that others have made and that we cannot read is told as it is."""
    zone_name = str(schedule.get("timezone") or "UTC")
    try:
        zone = zone_of(zone_name)
        if schedule.get("cron"):
            cron = str(schedule["cron"])
            return Reading(words=in_words(cron), next_runs=cron_times(cron, zone, now, num))
        if schedule.get("interval"):
            every_s, anchor = float(schedule["interval"]), datetime.fromisoformat(str(schedule["anchor_date"]))
            anchor = anchor if anchor.tzinfo else anchor.replace(tzinfo=UTC)
            return Reading(words=every_in_words(every_s), next_runs=interval_times(every_s, anchor, zone, now, num))
    except (ValueError, KeyError):
        return Reading(words=as_written(schedule), next_runs=[])
    return Reading(words=as_written(schedule), next_runs=[])


def as_written(schedule: Mapping[str, Any]) -> str:
    """What was written, without a reading."""
    kind = next((name for name in ("cron", "interval", "rrule") if schedule.get(name)), "")
    return f"{kind} {schedule[kind]}" if kind else "unknown"
