"""The pages as a process of its own: what it is told when it starts, and the link by which its owner comes in.

The pages import nothing of the loop and the loop nothing of them: a file, which only its owner can read, is all that
passes between them. What people decide there is rows in the database, as everywhere.
"""

import hashlib
import json
import os
import secrets
import sys
from dataclasses import fields, is_dataclass
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import make_url

from db.errors import NotFound
from db.records.users import User
from db.repository import users
from flows.prefect_server import users_own
from flows.service.own_key import own_key
from flows.settings import Settings
from flows.workspace import Workspace

OWNER = "owner"
"""Who signs in by the link that is printed at the start."""
HIDDEN = "(set, not shown)"


def wiring(settings: Settings, *, port: int, service_url: str, evidently_url: str = "") -> dict[str, Any]:
    """What `dashboards.wiring.Wiring` asks for."""
    config, api = settings.dashboard, users_own()
    return {
        "home": str(settings.home),
        "database_url": settings.database_url,
        "blob_url": settings.blob_url,
        "host": config.host,
        "port": port,
        "names": list(config.names),
        "is_https": config.is_https,
        "session_hours": config.session_hours,
        "idle_hours": config.idle_hours,
        "approver_differs": config.approver_differs,
        "service_url": service_url,
        "service_key": own_key(settings.home),
        "prefect_url": api.url if api else "",
        "prefect_auth": (api.auth or "") if api else "",
        "mlflow_url": config.mlflow_url or (settings.mlflow_uri if settings.mlflow_uri.startswith("http") else ""),
        "evidently_url": evidently_url,
        "gate": plain(settings.gate),
        "alerting": plain(settings.alerting),
        "receivers": {name: kind_of(settings.notify.addresses.get(name)) for name in settings.notify.names},
        "settings": shown(settings),
        "version": version("omniloop"),
    }


def write_wiring(home: Path, content: dict[str, Any]) -> Path:
    """The file that the pages read, for its owner's eyes alone."""
    place = home / "up" / "dashboard.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_suffix(".tmp")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(content, file)
    partial.replace(place)
    return place


def command(place: Path) -> tuple[str, ...]:
    """The command that serves the pages."""
    return (sys.executable, "-P", "-m", "dashboards", "--wiring", str(place))


def plain(config: Any) -> dict[str, Any]:
    """A config dataclass as JSON, without the fields that hold secrets."""
    return {
        each.name: plain(value) if is_dataclass(value) else _listed(value)
        for each in fields(config)
        if each.repr
        for value in (getattr(config, each.name),)
    }


def shown(settings: Settings) -> dict[str, Any]:
    """Every setting, for people to read: what holds a secret only says whether it is set."""
    found: dict[str, Any] = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if is_dataclass(value):
            hidden = {each.name: HIDDEN if getattr(value, each.name) else "" for each in fields(value) if not each.repr}
            found[name] = plain(value) | hidden
        else:
            found[name] = without_password(str(value)) if "://" in str(value) else _listed(value)
    return found


def without_password(url: str) -> str:
    """The URL with its password and query hidden.

    >>> without_password("postgresql://me:secret@host/loop?sslkey=x"), without_password("file:///blobs")
    ('postgresql://me:***@host/loop', 'file:///blobs')
    """
    parts = urlsplit(url)
    if not parts.password and not parts.query:
        return url
    return make_url(url.partition("?")[0]).render_as_string(hide_password=True)


def kind_of(address: object) -> str:
    """How a receiver is told, from its address, which holds secrets.

    >>> kind_of("mailto://me:secret@mail.example.org"), kind_of(None)
    ('mailto', 'the log')
    """
    return "the log" if address is None else str(address).partition("://")[0]


def _listed(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_listed(each) for each in value]
    if isinstance(value, dict):
        return {str(key): _listed(each) for key, each in value.items()}
    return str(value) if isinstance(value, Path) else value


def address(settings: Settings, port: int) -> str:
    """Where a browser on this machine finds the pages."""
    host = settings.dashboard.host
    host = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def sign_in_link(ws: Workspace, name: str, base: str) -> str:
    """A link that signs a person in once. `db.errors.NotFound` if there is no such person."""
    token, now = secrets.token_urlsafe(32), ws.clock()
    digest = hashlib.sha256(token.encode()).hexdigest()
    until = now + timedelta(hours=ws.settings.dashboard.link_hours)
    with ws.database.write() as session:
        users.add_link(session, name, digest, expires_at=until, now=now)
    return f"{base}/sign-in?link={token}"


def owner(ws: Workspace) -> User:
    """The person who may do everything, made at the first start."""
    with ws.database.write() as session:
        try:
            return users.get_user(session, OWNER)
        except NotFound:
            return users.add_user(session, OWNER, "admin", who="omniloop", now=ws.clock())


def known_address(settings: Settings) -> str:
    """Where people find the pages, for links in notices; empty while they were never started here."""
    if settings.dashboard.is_https and settings.dashboard.names:
        return f"https://{settings.dashboard.names[0]}"
    return usual_address(settings) if (settings.home / "up" / "dashboard.json").exists() else ""


def usual_address(settings: Settings) -> str:
    """Where the pages are: as they were told when they started last, else as the settings say."""
    try:
        port = int(json.loads((settings.home / "up" / "dashboard.json").read_text(encoding="utf-8"))["port"])
    except (OSError, ValueError, KeyError):
        port = settings.dashboard.port
    return address(settings, port)
