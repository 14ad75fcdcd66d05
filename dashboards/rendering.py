"""Templates, and the words and numbers in them. Everything is escaped unless a template says otherwise; none does."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

STATIC = Path(__file__).parent / "static"


@cache
def static_url(name: str) -> str:
    """The address of a file of ours; it changes with the content, so browsers may keep it for ever.

    >>> static_url("app.css").startswith("/static/app.css?v=")
    True
    """
    content = (STATIC / name).read_bytes()
    return f"/static/{name}?v={hashlib.blake2b(content, digest_size=6).hexdigest()}"


def number(value: float | None, digits: int = 3) -> str:
    """A measured value; a dash for what was not measured.

    >>> number(0.92345), number(12345678.0), number(None), number(float("nan")), number(7.0), number(-0.00001)
    ('0.923', '12,345,678', '–', '–', '7', '-1e-05')
    """
    if value is None or not math.isfinite(value):
        return "–"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.{digits}g}"


def percent(value: float | None, digits: int = 1) -> str:
    """A share.

    >>> percent(0.05), percent(None)
    ('5.0 %', '–')
    """
    return "–" if value is None or not math.isfinite(value) else f"{value * 100:.{digits}f} %"


def duration(seconds: float | None) -> str:
    """A length of time in its largest fitting units.

    >>> duration(0.0123), duration(75), duration(7300), duration(200_000), duration(None)
    ('12 ms', '1 min 15 s', '2 h 1 min', '2 d 7 h', '–')
    """
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    whole = round(seconds)
    for size, name, smaller, unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {name}" + (f" {rest} {unit}" if rest else "")
    return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"


def size(num_bytes: float | None) -> str:
    """Bytes, in decimal units.

    >>> size(999), size(4_830_000), size(None)
    ('999 B', '4.83 MB', '–')
    """
    if num_bytes is None:
        return "–"
    for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if num_bytes >= factor:
            return f"{num_bytes / factor:.3g} {unit}"
    return f"{num_bytes:.0f} B"


def moment(at: datetime | None) -> str:
    """A moment in UTC, to the second.

    >>> moment(datetime(2026, 3, 1, 12, tzinfo=UTC)), moment(None)
    ('2026-03-01 12:00:00', '–')
    """
    return "–" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def ago(at: datetime | None, now: datetime) -> str:
    """How long ago, or in how long.

    >>> from datetime import timedelta
    >>> now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    >>> ago(now - timedelta(minutes=5), now), ago(now + timedelta(hours=2), now), ago(None, now)
    ('5 min ago', 'in 2 h', '–')
    """
    if at is None:
        return "–"
    seconds = (now - at).total_seconds()
    return f"{duration(seconds)} ago" if seconds >= 0 else f"in {duration(-seconds)}"


def words(state: str | None) -> str:
    """A state as people say it.

    >>> words("awaiting_approval"), words(None)
    ('awaiting approval', '–')
    """
    return "–" if state is None else state.replace("_", " ")


def sparkline(values: Sequence[float | None], *, width: float = 120, height: float = 28) -> str:
    """The points of a polyline through the values, for an SVG of that size; gaps are left out, too few give nothing.

    >>> sparkline([1, 2, 3], width=20, height=10)
    '0.0,9.0 10.0,5.0 20.0,1.0'
    >>> sparkline([1.0])
    ''
    """
    known = [(place, value) for place, value in enumerate(values) if value is not None and math.isfinite(value)]
    if len(known) < 2:
        return ""
    low, high = min(value for _, value in known), max(value for _, value in known)
    step, scale = width / (len(values) - 1), (height - 2) / (high - low) if high > low else 0.0
    middle = 0.0 if high > low else (height - 2) / 2
    points = ((place * step, height - 1 - (value - low) * scale - middle) for place, value in known)
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def environment(names: Mapping[str, Any] | None = None) -> Environment:
    """Where templates come from, with the filters above; a name that is not there is an error, not an empty string."""
    made = Environment(
        loader=PackageLoader("dashboards"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: Iterable[Any] = (number, percent, duration, size, moment, ago, words, sparkline)
    made.filters.update({each.__name__: each for each in filters})
    made.globals.update({"static": static_url, **(names or {})})
    return made
