"""Rules and dashboards ask for numbers that exist, Prometheus accepts them, and Grafana finds them."""

import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from flows.reporter import SILENT
from flows.service.live import LiveService
from flows.settings import Settings
from flows.workspace import open_workspace
from tests.flows.receivers import free_port
from tests.laws import ROOT

GRAFANA, PROMETHEUS = ROOT / "dashboards" / "grafana", ROOT / "dashboards" / "prometheus"
BOARDS = sorted(GRAFANA.glob("*.json"))
RULES: Mapping[str, Any] = yaml.safe_load((PROMETHEUS / "rules.yml").read_text(encoding="utf-8"))
EACH_RULE = [rule for group in RULES["groups"] for rule in group["rules"]]
STACK: Mapping[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
OF_PROMETHEUS = {"up", "ALERTS"}
"""Series that Prometheus makes itself."""
OTHER_LABELS = {"le", "job", "alertname", "alertstate", "severity"}
WORDS = {"by", "or", "and", "without", "on", "m", "h"}
PLACES = os.pathsep.join([os.environ.get("PATH", ""), str(ROOT / ".venv" / "prometheus" / "usr" / "bin")])
PROMTOOL, SERVER = (shutil.which(name, path=PLACES) for name in ("promtool", "prometheus"))
HOW = "fetch it by `make promtool`, or install Debian's package prometheus"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, set[str]]]:
    """The metrics page of a live service, and the names of the labels on it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMNI_HOME", str(tmp_path_factory.mktemp("home")))
        ws = open_workspace(Settings.load(), SILENT)
        service = LiveService(ws)
        collectors = vars(service.metrics).values()
        labels = {label for each in collectors for label in getattr(each, "_labelnames", ())}
        yield service.metrics.text().decode(), labels
        service.close()
        ws.database.close()


def series(text: str) -> set[str]:
    """The names that can be asked for."""
    found = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE):
        found |= {f"{name}_{part}" for part in ("bucket", "sum", "count")} if kind == "histogram" else {name}
    return found | {rule["record"] for rule in EACH_RULE if "record" in rule} | OF_PROMETHEUS


def asked(query: str) -> tuple[set[str], set[str]]:
    """Names of series and of labels in a query."""
    labels = {name for inside in re.findall(r"\{([^}]*)\}", query) for name in re.findall(r"(\w+)\s*[=!]", inside)}
    labels |= {name for inside in re.findall(r"\bby \(([^)]*)\)", query) for name in re.findall(r"\w+", inside)}
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|\bby \([^)]*\)", "", query)
    names = set(re.findall(r"[A-Za-z_:][\w:]*(?!\w*\s*\()", bare))
    calls = set(re.findall(r"([A-Za-z_]\w*)\s*\(", bare))
    return {name for name in names - calls - WORDS if not any(call.startswith(name) for call in calls)}, labels


def queries() -> list[str]:
    found = [str(rule["expr"]) for rule in EACH_RULE]
    for path in BOARDS:
        board = json.loads(path.read_text(encoding="utf-8"))
        found += [target["expr"] for panel in board["panels"] for target in panel["targets"]]
        found += [note["expr"] for note in board["annotations"]["list"]]
    return found


def test_the_names_in_a_query_are_found() -> None:
    query = 'sum by (le, part) (rate(a_bucket{part!="x"}[5m])) / (b:c > 0) or vector(0)'
    assert asked(query) == ({"a_bucket", "b:c"}, {"le", "part"})


def test_every_query_asks_for_numbers_that_the_service_has(page: tuple[str, set[str]]) -> None:
    text, labels = page
    known = series(text)
    assert len(queries()) > 30
    for query in queries():
        names, of = asked(query)
        assert names, query
        assert names <= known, f"{query}: no such series: {names - known}"
        assert of <= labels | OTHER_LABELS, f"{query}: no such label: {of - labels - OTHER_LABELS}"


def test_every_number_of_the_service_has_its_unit_in_its_name_and_a_help(page: tuple[str, set[str]]) -> None:
    text, _ = page
    helped = set(re.findall(r"^# HELP (\S+) \S", text, re.MULTILINE))
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE):
        assert name in helped
        if name.endswith("_created"):
            continue
        assert re.fullmatch(r"omniloop_[a-z0-9_]+", name)
        assert (kind == "counter") == name.endswith("_total")
        assert not re.search(r"_(ms|milliseconds|kb|mb|percent)(_|$)", name), f"{name}: use seconds, bytes and shares"


def test_every_alert_says_how_bad_it_is_what_it_is_and_what_to_do() -> None:
    alerts = [rule for rule in EACH_RULE if "alert" in rule]
    assert len({rule["alert"] for rule in alerts}) == len(alerts) > 5
    for rule in alerts:
        assert rule["labels"]["severity"] in ("info", "warning", "error", "critical")
        assert rule["annotations"].keys() == {"summary", "mend"}


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_a_dashboard_is_whole(path: Path) -> None:
    board = json.loads(path.read_text(encoding="utf-8"))
    source = yaml.safe_load((GRAFANA / "datasource.yml").read_text(encoding="utf-8"))["datasources"][0]
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, f"{panel['title']} lies over another"
        assert place["x"] + place["w"] <= 24
        taken |= cells
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {source["uid"]}
        assert panel["fieldConfig"]["defaults"]["unit"]


def test_dashboards_differ_in_uid_and_title() -> None:
    boards = [json.loads(path.read_text(encoding="utf-8")) for path in BOARDS]
    assert len({board["uid"] for board in boards}) == len({board["title"] for board in boards}) == len(boards) == 2


def test_the_stack_gives_every_file_to_whom_it_is_for() -> None:
    files = {config["file"].removeprefix("./") for config in STACK["configs"].values() if "file" in config}
    wanted = [*BOARDS, *GRAFANA.glob("*.yml"), *PROMETHEUS.glob("*.yml")]
    assert files == {path.relative_to(ROOT).as_posix() for path in wanted}
    targets = {entry["source"]: entry["target"] for name in ("prometheus", "grafana") for entry in configs_of(name)}
    assert len(targets) == len(files)
    folder = yaml.safe_load((GRAFANA / "provider.yml").read_text(encoding="utf-8"))["providers"][0]["options"]["path"]
    boards = [target for target in targets.values() if target.endswith(".json")]
    assert {Path(target).parent.as_posix() for target in boards} == {folder}


def configs_of(name: str) -> list[dict[str, str]]:
    found = STACK["services"][name]["configs"]
    assert isinstance(found, list)
    return found


@pytest.mark.skipif(PROMTOOL is None, reason=f"promtool is not here: {HOW}")
def test_promtool_accepts_the_rules_and_the_metrics_page(page: tuple[str, set[str]], tmp_path: Path) -> None:
    assert PROMTOOL is not None
    checked = subprocess.run([PROMTOOL, "check", "rules", PROMETHEUS / "rules.yml"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    linted = subprocess.run([PROMTOOL, "check", "metrics"], input=page[0], capture_output=True, text=True)
    assert linted.returncode == 0, linted.stdout + linted.stderr
    whole = subprocess.run([PROMTOOL, "check", "config", local_config(tmp_path)], capture_output=True, text=True)
    assert whole.returncode == 0, whole.stdout + whole.stderr


@pytest.mark.slow
@pytest.mark.skipif(SERVER is None, reason=f"Prometheus is not here: {HOW}")
def test_a_real_prometheus_scrapes_the_page_and_evaluates_the_rules(page: tuple[str, set[str]], tmp_path: Path) -> None:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_known = self.headers["Authorization"] == "Bearer k"
            self.send_response(200 if is_known else 401)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(page[0].encode() if is_known else b"")

        def log_message(self, *_: object) -> None:
            """Quiet."""

    assert SERVER is not None
    service = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    config, address = local_config(tmp_path), f"127.0.0.1:{free_port()}"
    config.write_text(config.read_text().replace("loop:8765", f"127.0.0.1:{service.server_port}").replace("15s", "1s"))
    storage = f"--storage.tsdb.path={tmp_path / 'data'}"
    with (tmp_path / "log").open("wb") as log:
        arguments = [f"--config.file={config}", storage, f"--web.listen-address={address}"]
        process = subprocess.Popen([SERVER, *arguments], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while ask(address, "query?query=omniloop_version") == [] or "unknown" in health(address):
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.3)
        assert health(address) == ["ok"] * len(EACH_RULE)
    finally:
        process.terminate()
        process.wait(20)
        service.shutdown()
        service.server_close()


def health(address: str) -> list[str]:
    """What Prometheus says of each rule."""
    return [rule["health"] for group in ask(address, "rules") for rule in group["rules"]]


def ask(address: str, what: str) -> list[Any]:
    """What Prometheus answers; nothing while it does not."""
    try:
        data = httpx.get(f"http://{address}/api/v1/{what}", trust_env=False).json()["data"]
    except (httpx.HTTPError, ValueError, KeyError):
        return []
    found = data.get("result", data.get("groups"))
    assert isinstance(found, list)
    return found


def local_config(folder: Path) -> Path:
    """Prometheus's configuration with paths of this machine, and a key."""
    rules = str(PROMETHEUS / "rules.yml")
    text = (PROMETHEUS / "prometheus.yml").read_text().replace("/etc/prometheus/rules.yml", rules)
    (folder / "key").write_text("k")
    path = folder / "prometheus.yml"
    path.write_text(text.replace("/run/secrets/service_key", str(folder / "key")))
    return path
