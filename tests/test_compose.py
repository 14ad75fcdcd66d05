"""The production stack as written down: checked by reading it, and by running its commands without containers."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from sqlalchemy import make_url

from flows.prefect_server import Api, new_api
from flows.settings import PREFIX, Settings, names
from flows.telemetry import OFF
from tests.laws import ROOT

STACK: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = STACK["services"]
OURS = sorted(name for name, service in SERVICES.items() if "build" in service)
PASSWORD = "secret" * 4
SECRET = re.compile(r"\$\{(\w+):\?[^}]+\}")


def environment(name: str) -> dict[str, str]:
    return {key: str(value) for key, value in SERVICES[name]["environment"].items()}


def secrets() -> set[str]:
    return {found for name in SERVICES for value in environment(name).values() for found in SECRET.findall(value)}


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_each_service_has_a_health_check_a_restart_policy_and_a_pinned_image(name: str) -> None:
    service = SERVICES[name]
    assert {"test", "interval", "timeout", "retries", "start_period"} <= set(service["healthcheck"])
    assert service["restart"] == "unless-stopped"
    assert re.search(r":v?\d+\.\d+", service["image"]), f"{service['image']} floats: name an exact version."


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_each_service_starts_after_what_it_needs_is_healthy(name: str) -> None:
    needed = SERVICES[name].get("depends_on", {})
    assert all(how == {"condition": "service_healthy"} for how in needed.values())
    hosts = {found for value in environment(name).values() for found in re.findall(r"[@/](\w+):\d{4}", value)}
    assert hosts & (set(SERVICES) - {name}) <= set(needed)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_ports_are_bound_to_this_machine_alone(name: str) -> None:
    assert all(str(port).startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


def test_no_password_has_a_default_and_each_stands_in_the_example() -> None:
    for name in SERVICES:
        for key, value in environment(name).items():
            if "PASSWORD" in key or "AUTH_STRING" in key or re.search(r"://\w+:.*@", value):
                assert SECRET.search(value), f"{name}: {key} holds a password of its own."
    example = dict(line.split("=", 1) for line in (ROOT / ".env.example").read_text().splitlines() if "=" in line)
    assert example == {name: "" for name in secrets()}


@pytest.mark.parametrize("name", OURS)
def test_each_of_our_settings_exists_and_makes_valid_settings(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {key: SECRET.sub(PASSWORD, value) for key, value in environment(name).items() if key.startswith(PREFIX)}
    assert set(given) <= set(names(Settings))
    for key in [*os.environ]:
        if key.startswith(PREFIX):
            monkeypatch.delenv(key)
    for key, value in given.items():
        monkeypatch.setenv(key, value)
    Settings.load()


@pytest.mark.parametrize("name", OURS)
def test_our_containers_are_silent_and_without_privileges(name: str) -> None:
    assert OFF.items() <= environment(name).items()
    assert SERVICES[name]["cap_drop"] == ["ALL"]
    assert SERVICES[name]["security_opt"] == ["no-new-privileges:true"]


def test_each_volume_is_used_and_each_used_one_is_declared() -> None:
    used = [mount.split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", [])]
    assert sorted(used) == sorted(STACK["volumes"])


def test_each_database_that_an_url_names_is_made() -> None:
    made = set(re.findall(r"CREATE DATABASE (\w+);", STACK["configs"]["databases"]["content"]))
    made.add(environment("postgres")["POSTGRES_DB"])
    urls = [value for name in OURS for value in environment(name).values() if value.startswith("postgresql")]
    assert {make_url(SECRET.sub("x", url)).database for url in urls} == made


def test_the_image_holds_what_the_wheel_holds_runs_as_nobody_special_and_is_silent() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    shipped = (ROOT / ".dockerignore").read_text(encoding="utf-8")
    for room in ("omni_model", "monitoring", "db", "flows", "dashboards"):
        assert f"COPY {room} {room}\n" in text
        assert f"!{room}\n" in shipped
    assert text.index("USER omniloop") < text.index("CMD")
    for key, value in OFF.items():
        assert f"{key}={value}" in text
    assert re.search(r"ARG PYTHON=3\.1[123]\.\d+-", text)


# Without containers: the same commands and environments, the hosts' names replaced by addresses on loopback.


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.3)
    return False


@contextmanager
def started(name: str, replaced: Mapping[str, str], folder: Path) -> Iterator[Path]:
    """The service's command with its environment, after the replacements; gives its log. Stopped at the end."""

    def local(text: str) -> str:
        for old, new in replaced.items():
            text = text.replace(old, new)
        return SECRET.sub(PASSWORD, text)

    home, log = folder / name, folder / f"{name}.log"
    home.mkdir()
    inherited = {key: value for key, value in os.environ.items() if not key.startswith((PREFIX, "PREFECT_", "MLFLOW_"))}
    environ = {
        **inherited,
        **{key: local(value).replace("/data", str(home)) for key, value in environment(name).items()},
    }
    program, *arguments = (local(part) for part in SERVICES[name]["command"])
    command = [str(Path(sys.executable).parent / program), *arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environ, cwd=home, stdout=output, stderr=output, start_new_session=True)
    try:
        yield log
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.timeout(600)
def test_the_commands_of_the_stack_work_together(tmp_path: Path) -> None:
    from tests.db.servers import PostgresFactory

    postgres = PostgresFactory()
    with ExitStack() as stack:
        stack.callback(postgres.stop)
        mlflow_port, prefect_port = (str(httpx.URL(new_api(0).url).port) for _ in range(2))
        replaced = {"0.0.0.0": "127.0.0.1", "mlflow:5000": f"127.0.0.1:{mlflow_port}", "5000": mlflow_port}
        replaced |= {"prefect:4200": f"127.0.0.1:{prefect_port}", "4200": prefect_port}
        for database in ("mlflow", "omniloop"):
            url = make_url(postgres.empty()).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
            replaced = {url_of(database): url, **replaced}
        # Prefect wants the extension pg_trgm, which the image of PostgreSQL has and the server from PyPI has not.
        replaced = {url_of("prefect"): "sqlite+aiosqlite:////data/prefect.db", **replaced}
        logs = {name: stack.enter_context(started(name, replaced, tmp_path)) for name in ("mlflow", "prefect")}
        mlflow = f"http://127.0.0.1:{mlflow_port}"
        prefect = Api(url=f"http://127.0.0.1:{prefect_port}/api", auth=f"omniloop:{PASSWORD}")
        assert wait_for(lambda: answers(f"{mlflow}/health"), 180), logs["mlflow"].read_text()[-3000:]
        assert wait_for(prefect.healthy, 180), logs["prefect"].read_text()[-3000:]
        assert not Api(url=prefect.url, auth="omniloop:guess").healthy()
        logs["loop"] = stack.enter_context(started("loop", replaced, tmp_path))
        assert wait_for(lambda: "runner: ready" in logs["loop"].read_text(), 180), logs["loop"].read_text()[-3000:]
        assert (tmp_path / "loop" / "up" / "runner.alive").exists()


def url_of(database: str) -> str:
    """The URL of a database as the stack writes it."""
    (found,) = {value for name in OURS for value in environment(name).values() if value.endswith(f":5432/{database}")}
    return found


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2, trust_env=False).is_success
    except httpx.HTTPError:
        return False
