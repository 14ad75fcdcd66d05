"""What ``omniloop up`` keeps running: the table of services, and the home's lock around it."""

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import httpx

from flows.deployments import SERVED
from flows.home import exclusive, prepare
from flows.leftovers import sweep
from flows.pages import address, owner, sign_in_link, wiring, write_wiring
from flows.pages import command as pages_command
from flows.prefect_server import (
    USUAL_PORT,
    Api,
    announce,
    command,
    folder,
    new_api,
    only_server,
    server_environment,
    users_own,
    withdraw,
)
from flows.service.config import NOTHING_SERVED
from flows.service.listening import listen
from flows.settings import Settings
from flows.supervise import Service, Supervisor
from flows.telemetry import OFF
from flows.workspace import open_workspace

SERVER, RUNNER, PULSE, SERVICE, REPORTS = "prefect-server", "runner", "pulse", "service", "evidently"
PAGES = "dashboard"


def up(
    settings: Settings, say: Callable[[str], None], *, entrypoints: Sequence[str] = SERVED, evidently: bool = False
) -> int:
    """Keep the services of this home running in the foreground until SIGTERM or SIGINT; returns the exit code.

    0: stopped by a signal. 1: a service never came up. Raises :class:`flows.home.HomeError` when another process keeps
    this home up already, or the home cannot be written.
    """
    home = prepare(settings.home)
    with ExitStack() as stack:
        stack.enter_context(exclusive(home, "the supervisor"))
        for name in sweep(home / "up"):
            say(f"{name}: ended what an earlier, killed supervisor had left running")
        own = users_own()
        if own is None:
            stack.enter_context(only_server(home, wait_s=60))
            stack.callback(withdraw, home)
        api = own or new_api(_usual_port(home))
        live = live_service(settings)
        port = live.env["OMNI_SERVICE__PORT"]
        services = [*table(home, api, serve_api=own is None, entrypoints=entrypoints, service_port=port), live]
        reports = [report_pages(home)] if evidently else []
        pages = dashboard(settings, live, evidently_url=reports[0].address if reports else "")
        services += [*reports, pages]
        if own is None:
            announce(home, api)
        say(f"keeping {', '.join(service.name for service in services)} up for {home}; Ctrl-C stops it")
        say(f"sign in once, when the dashboard is ready: {owners_link(settings, pages.address)}")
        return Supervisor(services, home / "up", say).run()


def table(
    home: Path, api: Api, *, serve_api: bool, entrypoints: Sequence[str] = SERVED, service_port: str = ""
) -> list[Service]:
    """The services, in the order of starting. ``serve_api`` False: the user has a Prefect server already.

    ``service_port`` is where the live service listens, for the pulse to look at it; empty: as the settings say.
    """
    server = Service(
        name=SERVER,
        argv=command(home, api),
        env=server_environment(home, api),
        ready=api.healthy,
        address=f"{api.pages} (user and password are in {folder(home) / 'server.json'})",
    )
    env = {**OFF, **api.environment(home), "OMNI_HOME": str(home), "PYTHONSAFEPATH": "1"}
    heartbeat, usual = home / "up" / "runner.alive", ("--usual", str(folder(home) / "usual-schedules"))
    runner = Service(
        name=RUNNER,
        argv=(sys.executable, "-P", "-m", "flows.runner", "--heartbeat", str(heartbeat), *usual, *entrypoints),
        env=env,
        heartbeat=heartbeat,
        after=(SERVER,) if serve_api else (),
    )
    beat = home / "up" / "pulse.alive"
    pulse = Service(
        name=PULSE,
        argv=(sys.executable, "-P", "-m", "flows.pulse", "--heartbeat", str(beat)),
        env={**env, "OMNI_SERVICE__PORT": service_port} if service_port else env,
        heartbeat=beat,
    )
    return [server, runner, pulse] if serve_api else [runner, pulse]


def live_service(settings: Settings) -> Service:
    """The live service; a port of 0 is chosen here, so that it stays the same when the service starts again."""
    config = settings.service
    with listen(config) as listener:
        port = listener.getsockname()[1]
    host = f"[{config.host}]" if ":" in config.host else config.host
    address = f"http://{host}:{port}"
    return Service(
        name=SERVICE,
        argv=(sys.executable, "-P", "-m", "flows.service"),
        env={**OFF, "OMNI_HOME": str(settings.home), "OMNI_SERVICE__PORT": str(port), "PYTHONSAFEPATH": "1"},
        ready=lambda: answers(address),
        address=f"{address}/v1",
    )


def dashboard(settings: Settings, live: Service, *, evidently_url: str = "") -> Service:
    """The pages that operators keep open; a port of 0 is chosen here, so that it stays the same."""
    config = settings.dashboard
    with listen(config, what=PAGES) as listener:
        port = listener.getsockname()[1]
    base = address(settings, port)
    told = wiring(settings, port=port, service_url=live.address.removesuffix("/v1"), evidently_url=evidently_url)
    return Service(
        name=PAGES,
        argv=pages_command(write_wiring(settings.home, told)),
        env={**OFF, "PYTHONSAFEPATH": "1"},
        ready=lambda: shows(f"{base}/sign-in"),
        address=base,
    )


def owners_link(settings: Settings, base: str) -> str:
    """The one-time link of whoever started this."""
    ws = open_workspace(settings)
    try:
        return sign_in_link(ws, owner(ws).name, base)
    finally:
        ws.database.close()


def report_pages(home: Path, port: int = 8181) -> Service:
    """Evidently's own pages over the reports; they ask for no password, so only this machine reaches them."""
    address = f"http://127.0.0.1:{port}"
    return Service(
        name=REPORTS,
        argv=(sys.executable, "-P", "-m", "flows.evidently_pages", "--port", str(port)),
        env={**OFF, "OMNI_HOME": str(home), "PYTHONSAFEPATH": "1"},
        ready=lambda: shows(address),
        address=address,
    )


def shows(address: str) -> bool:
    """Whether a page comes."""
    try:
        return httpx.get(address, timeout=3, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def answers(address: str) -> bool:
    """Whether the service answers its canary, or would but for a version, of which there is none before training."""
    try:
        health = httpx.get(f"{address}/health/ready", timeout=3, trust_env=False)
        return health.status_code == 200 or bool(health.json()["reason"] == NOTHING_SERVED)
    except (httpx.HTTPError, ValueError, KeyError):
        return False


def _usual_port(home: Path) -> int:
    """The port of last time, so that a bookmark to Prefect's pages keeps working."""
    note = folder(home) / "port"
    port = int(note.read_text()) if note.exists() else USUAL_PORT
    api = new_api(port)
    chosen = httpx.URL(api.url).port or USUAL_PORT
    note.write_text(str(chosen))
    return chosen
