"""The doctor's look at what is installed, from the distributions' metadata alone."""

import re
import shutil
import sqlite3
import sys
from collections.abc import Iterable, Iterator
from importlib import metadata
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from packaging.requirements import Requirement

from flows.health import Check

REINSTALL = "Run `make set-up`, or install the locked versions with `pip install -r requirements.lock`."


def look() -> Iterator[Check]:
    """Python, the libraries and their bounds, the device that torch was built for, decoders, time zones."""
    yield python_version(sys.version_info[:3])
    yield libraries(metadata.requires("omniloop") or ())
    yield torch_build(_version("torch"), has_driver=shutil.which("nvidia-smi") is not None)
    yield decoders()
    yield sqlite(sqlite3.sqlite_version_info)
    yield time_zones()


def python_version(version: tuple[int, ...]) -> Check:
    """Python 3.11 to 3.13.

    >>> python_version((3, 10, 1)).status
    'fail'
    """
    shown = ".".join(map(str, version))
    if (3, 11) <= version[:2] <= (3, 13):
        return Check(name="python", status="ok", detail=shown)
    mend = "Make the environment anew with Python 3.11, 3.12 or 3.13: make run PYTHON=python3.12"
    return Check(name="python", status="fail", detail=f"{shown} is not supported", mend=mend)


def libraries(requirements: Iterable[str]) -> Check:
    """Is each requirement there, the extra `loop` included, in a version within its bounds?

    The bounds leave out versions known to break.
    """
    wrong = []
    num = 0
    for wanted in map(Requirement, requirements):
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": "loop"}):
            continue
        num += 1
        version = _version(wanted.name)
        if version is None:
            wrong.append(f"{wanted.name} is missing")
        elif not wanted.specifier.contains(version, prereleases=True):
            wrong.append(f"{wanted.name} is {version}, but must be {wanted.specifier}")
    if wrong:
        return Check(name="libraries", status="fail", detail="; ".join(wrong), mend=REINSTALL)
    key = ", ".join(f"{name} {_version(name)}" for name in ("mlflow", "prefect", "evidently", "sqlalchemy"))
    return Check(name="libraries", status="ok", detail=f"{num} within their bounds, among them {key}")


def torch_build(version: str | None, *, has_driver: bool) -> Check:
    """Which device torch can use, told from its version and the presence of a driver."""
    if version is None:
        return Check(name="torch", status="fail", detail="not installed", mend=REINSTALL)
    if re.search(r"\+cpu", version):
        if has_driver:
            mend = "For the GPU, reinstall it: pip install --force-reinstall torch==2.13.0"
            return Check(name="torch", status="warn", detail=f"{version} cannot use the GPU that is here", mend=mend)
        return Check(name="torch", status="ok", detail=f"{version}, on the CPU")
    where = "a GPU driver is present" if has_driver else "no GPU driver, so it runs on the CPU"
    return Check(name="torch", status="ok", detail=f"{version}, {where}")


def decoders() -> Check:
    """Do the libraries that decode pictures, sound and video load? They bring their codecs; no ffmpeg is needed."""
    try:
        import av
        import PIL
        import soundfile
    except (ImportError, OSError) as error:
        mend = f"{REINSTALL} On a system without ready-made wheels, install libsndfile and ffmpeg's libraries first."
        return Check(name="decoders", status="fail", detail=str(error), mend=mend)
    shown = f"pillow {PIL.__version__}, libsndfile {soundfile.__libsndfile_version__}, pyav {av.__version__}"
    return Check(name="decoders", status="ok", detail=shown)


def sqlite(version: tuple[int, ...]) -> Check:
    """Is SQLite new enough for RETURNING and a sound WAL?

    >>> sqlite((3, 34, 1)).status
    'fail'
    """
    shown = ".".join(map(str, version))
    if version >= (3, 35):
        return Check(name="sqlite", status="ok", detail=shown)
    mend = "Use a Python built with SQLite 3.35 or later, or set OMNI_DATABASE_URL to a PostgreSQL database."
    return Check(name="sqlite", status="fail", detail=f"{shown} is older than 3.35", mend=mend)


def time_zones() -> Check:
    """Are time zones known? Schedules need them."""
    try:
        ZoneInfo("Europe/Paris")
    except ZoneInfoNotFoundError as error:
        return Check(name="time zones", status="fail", detail=str(error), mend="Run `pip install tzdata`.")
    return Check(name="time zones", status="ok", detail="known")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
