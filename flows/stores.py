"""The doctor's look at what is kept where: home, database, blobs, MLflow's store, Prefect's server."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import fsspec
import httpx
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from db.engine import Database
from db.errors import DatabaseError, SchemaMismatch
from flows.health import Check
from flows.home import HomeError, prepare
from flows.prefect_server import announced, users_own
from flows.settings import Settings

LITTLE_SPACE_GB = 2.0
NO_SPACE_GB = 0.2
TIMEOUT_S = 5


def look(settings: Settings) -> Iterator[Check]:
    """Each store in turn."""
    yield home(settings.home)
    yield space(settings.home)
    yield database(settings.database_url)
    yield blobs(settings.blob_url)
    yield mlflow_store(settings.mlflow_uri)
    yield prefect_server(settings.home)


def home(path: Path) -> Check:
    """Can the home be written? One that is not there yet is not created for this."""
    if path.exists():
        try:
            prepare(path)
        except HomeError as error:
            fact, _, mend = str(error).partition(". ")
            return Check(name="home", status="fail", detail=fact, mend=mend)
        return Check(name="home", status="ok", detail=str(path))
    parent = _nearest(path)
    if parent.is_dir() and os.access(parent, os.W_OK):
        return Check(name="home", status="ok", detail=f"{path}, which the first command creates")
    mend = f"Make {parent} writable, or point OMNI_HOME to another folder."
    return Check(name="home", status="fail", detail=f"{path} cannot be created in {parent}", mend=mend)


def space(path: Path) -> Check:
    """Is there room on the home's disk?"""
    free_gb = shutil.disk_usage(_nearest(path)).free / 1e9
    shown = f"{free_gb:.1f} GB free in the home"
    if free_gb >= LITTLE_SPACE_GB:
        return Check(name="space", status="ok", detail=shown)
    mend = "Free some space, or point OMNI_HOME to a larger disk."
    return Check(name="space", status="fail" if free_gb < NO_SPACE_GB else "warn", detail=shown, mend=mend)


def database(url: str) -> Check:
    """Is the database reachable, with the tables of this version? A missing SQLite file is not created for this."""
    name, shown = "database", _without_password(url)
    if (path := _sqlite_file(url)) and not path.exists():
        return Check(name=name, status="ok", detail=f"{shown}, which the first command creates")
    try:
        opened = Database(url)
    except (DatabaseError, ValueError) as error:
        return Check(name=name, status="fail", detail=_first_line(error), mend="Mend OMNI_DATABASE_URL.")
    try:
        opened.check()
    except SchemaMismatch as error:
        if "newer" in str(error):
            return Check(name=name, status="fail", detail=_first_line(error), mend="Install the newer Omniloop here.")
        return Check(
            name=name, status="warn", detail=_first_line(error), mend="Any other command brings it up to date."
        )
    except DatabaseError as error:
        return Check(name=name, status="fail", detail=_first_line(error), mend="Start it, or mend OMNI_DATABASE_URL.")
    finally:
        opened.close()
    return Check(name=name, status="ok", detail=f"{shown}, tables up to date")


def blobs(url: str) -> Check:
    """Can the blob store be written? A local folder that is not there yet is not created for this."""
    try:
        filesystem, root = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        mend = "Install the file system's package, or mend OMNI_BLOB_URL."
        return Check(name="blobs", status="fail", detail=f"{url}: {error}", mend=mend)
    if _is_local(filesystem) and not Path(root).exists():
        return Check(name="blobs", status="ok", detail=f"{url}, which the first command creates")
    probe = f"{root.rstrip('/')}/.probe-{os.getpid()}"
    try:
        filesystem.pipe_file(probe, b"omniloop")
        filesystem.rm_file(probe)
    except Exception as error:  # noqa: BLE001  each file system of fsspec has exceptions of its own
        mend = "Mend its permissions or credentials, or OMNI_BLOB_URL."
        return Check(name="blobs", status="fail", detail=f"{url}: {_first_line(error)}", mend=mend)
    return Check(name="blobs", status="ok", detail=url)


def mlflow_store(uri: str) -> Check:
    """Does MLflow's store answer? A missing SQLite file is not created for this."""
    name, shown = "mlflow", _without_password(uri)
    mend = "Start it, or mend OMNI_MLFLOW_URI. Rounds go on without it only as far as the step that registers."
    if (path := _sqlite_file(uri)) and not path.exists():
        return Check(name=name, status="ok", detail=f"{shown}, which the first round creates")
    try:
        if uri.startswith(("http://", "https://")):
            httpx.get(f"{uri.rstrip('/')}/health", timeout=TIMEOUT_S).raise_for_status()
        elif "://" in uri and not uri.startswith("file:"):
            engine = create_engine(uri)
            try:
                with engine.connect() as connection:
                    connection.execute(text("SELECT 1"))
            finally:
                engine.dispose()
    except (httpx.HTTPError, SQLAlchemyError, ImportError) as error:
        return Check(name=name, status="fail", detail=f"{shown}: {_first_line(error)}", mend=mend)
    return Check(name=name, status="ok", detail=shown)


def prefect_server(home: Path) -> Check:
    """Which Prefect server commands would use."""
    own = users_own()
    if own:
        if own.healthy(timeout_s=TIMEOUT_S):
            return Check(name="prefect", status="ok", detail=f"your own server at {own.url}")
        mend = "Start it, mend PREFECT_API_URL and PREFECT_API_AUTH_STRING, or unset both."
        return Check(name="prefect", status="fail", detail=f"{own.url} does not answer or refuses the key", mend=mend)
    kept = announced(home) if home.exists() else None
    if kept:
        return Check(name="prefect", status="ok", detail=f"the server of `omniloop up` at {kept.pages}")
    shown = "no server runs; commands start one for a moment, schedules fire while `omniloop up` runs"
    return Check(name="prefect", status="ok", detail=shown)


def _nearest(path: Path) -> Path:
    """The nearest folder above ``path`` (or itself) that exists."""
    return next((each for each in (path, *path.absolute().parents) if each.exists()), Path("/"))


def _sqlite_file(url: str) -> Path | None:
    """The file behind an SQLite URL, if it is one."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        return None
    is_file = parsed.get_backend_name() == "sqlite" and parsed.database not in (None, "", ":memory:")
    return Path(str(parsed.database)) if is_file else None


def _is_local(filesystem: fsspec.AbstractFileSystem) -> bool:
    protocol = filesystem.protocol
    return "file" in ((protocol,) if isinstance(protocol, str) else protocol)


def _without_password(url: str) -> str:
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return url


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
