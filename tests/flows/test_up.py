"""``omniloop up`` for real: Prefect's server and the runner, a schedule that fires, a crash, a second one, the end."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import psutil
import pytest

from flows.deployments import client, full_name
from flows.prefect_server import Api, announced, prefect_api
from flows.schedules import add, remove

FLOW = "tests.flows.ticking.tick"
UP = (
    "import sys\n"
    "from flows.home import HomeError\n"
    "from flows.settings import Settings\n"
    "from flows.telemetry import silence\n"
    "from flows.up import up\n"
    "silence()\n"
    "try:\n"
    "    code = up(Settings.load(), lambda line: print(line, flush=True), entrypoints=sys.argv[1:])\n"
    "except HomeError as error:\n"
    "    sys.exit(f'refused: {error}')\n"
    "sys.exit(code)\n"
)

pytestmark = pytest.mark.slow


def wait_for(condition: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def start(home: Path, log: Path) -> subprocess.Popen[bytes]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("OMNI_", "PREFECT_"))}
    with log.open("ab") as output:
        command = [sys.executable, "-W", "ignore", "-c", UP, FLOW]
        return subprocess.Popen(
            command, env={**environ, "OMNI_HOME": str(home), "OMNI_SERVICE__PORT": "0"}, stdout=output, stderr=output
        )


class Kept:
    """A running ``up`` and what it said so far."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.log = home.parent / "up.log"
        self.process = start(home, self.log)

    def said(self) -> str:
        return self.log.read_text()

    def pid_of(self, name: str) -> int:
        lines = [line for line in self.said().splitlines() if line.startswith(f"{name}: started, process")]
        return int(lines[-1].rsplit(" ", 1)[1])

    @property
    def api(self) -> Api:
        found = announced(self.home)
        assert found is not None
        return found


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    kept = Kept(tmp_path_factory.mktemp("up") / "home")
    try:
        wait_for(lambda: kept.process.poll() is not None or "runner: ready" in kept.said(), 150)
        assert kept.process.poll() is None, kept.said()
        yield kept
    finally:
        if kept.process.poll() is None:
            kept.process.terminate()
        kept.process.wait(30)


def test_a_schedule_fires_and_the_flow_runs_in_a_process_of_its_own(kept: Kept, tmp_path: Path) -> None:
    add(kept.api, "soon", every=timedelta(seconds=10), parameters={"folder": str(tmp_path)}, entrypoint=FLOW)
    wait_for(lambda: list(tmp_path.glob("*.ran")), 90)
    remove(kept.api, "soon", entrypoint=FLOW)
    (first, *_) = tmp_path.glob("*.ran")
    assert int(first.stem) not in {kept.process.pid, kept.pid_of("runner"), kept.pid_of("prefect-server")}


def test_the_live_service_runs_and_waits_for_a_first_version(kept: Kept) -> None:
    wait_for(lambda: "service: ready at http://127.0.0.1:" in kept.said(), 60)
    (address,) = re.findall(r"service: ready at (\S+)/v1", kept.said())
    assert httpx.get(f"{address}/health/live", trust_env=False).status_code == 200
    assert httpx.get(f"{address}/v1/versions", trust_env=False).json()["answering"] is None


def test_commands_beside_it_use_its_server(kept: Kept) -> None:
    with prefect_api(kept.home) as api:
        assert api == kept.api


def test_without_the_key_the_server_answers_nobody(kept: Kept) -> None:
    assert kept.api.healthy()
    assert not Api(url=kept.api.url).healthy()
    assert not Api(url=kept.api.url, auth="omniloop:guess").healthy()
    assert (kept.home / "prefect" / "server.json").stat().st_mode & 0o077 == 0


def test_a_second_one_on_the_same_home_is_refused(kept: Kept, tmp_path: Path) -> None:
    log = tmp_path / "second.log"
    assert start(kept.home, log).wait(60) == 1
    assert "refused" in log.read_text()
    assert str(kept.process.pid) in log.read_text()


def test_a_killed_runner_comes_back(kept: Kept) -> None:
    before = kept.pid_of("runner")
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: kept.pid_of("runner") != before, 30)
    wait_for(lambda: kept.said().count("runner: ready") >= 2, 60)


def test_killed_itself_it_starts_again_on_the_same_port_and_ends_what_was_left(kept: Kept) -> None:
    left, url = [kept.pid_of("runner"), kept.pid_of("prefect-server")], kept.api.url
    num_ready = kept.said().count("runner: ready")
    kept.process.kill()
    kept.process.wait(10)
    kept.process = start(kept.home, kept.log)
    wait_for(lambda: kept.said().count("runner: ready") > num_ready, 90)
    assert not [pid for pid in left if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]
    assert kept.api.url == url


def test_sigterm_ends_it_within_seconds_and_leaves_no_process(kept: Kept, tmp_path: Path) -> None:
    with client(kept.api) as connection:
        deployment = connection.read_deployment_by_name(full_name(FLOW))
        parameters = {"folder": str(tmp_path), "seconds": 600}
        connection.create_flow_run_from_deployment(deployment.id, parameters=parameters)
    wait_for(lambda: list(tmp_path.glob("*.ran")), 60)
    family = psutil.Process(kept.process.pid).children(recursive=True)
    assert len(family) >= 3
    started = time.monotonic()
    kept.process.terminate()
    assert kept.process.wait(30) == 0
    assert time.monotonic() - started < 12
    assert not [child for child in family if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    assert announced(kept.home) is None
    assert kept.said().rstrip().endswith("stopped")
