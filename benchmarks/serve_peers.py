"""The other servers: the environment that each needs, how it is started, and the form in which it takes a body.

MLflow is in our lock. The others are not: each gets an environment of its own below the user's cache folder, with the
lock's version of torch and of whatever decodes, built once. One that cannot be built or started has no figures.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serve_home import Bench
from benchmarks.serve_process import ROOT, Recipe, one_thread
from benchmarks.serve_work import MODEL

WORK_NEEDS = ("torch", "numpy", "scipy", "pillow", "soundfile", "safetensors", "pyyaml", "av")
"""What `serve_work` imports, at the versions of our lock."""
BATCH_WAIT_S = 0.005
INSTALL_S = 900


@dataclass(frozen=True, kw_only=True)
class Peer:
    """Another server."""

    name: str
    needs: Sequence[str]
    """Of its environment, beside the work's; none: our own environment."""
    recipe: Callable[[Path, Bench, str], Recipe]
    """From its Python, the run's folder and the kind of checkpoint."""
    wrap: Callable[[str], str]
    """A body in its form."""


class Unavailable(Exception):
    """A server that cannot be measured here."""


def python_of(peer: Peer) -> Path:
    """The Python of its environment, built on first use. Raises :class:`Unavailable` with the reason."""
    return built(peer.name, [*pins(), *peer.needs]) if peer.needs else Path(sys.executable)


def built(name: str, needs: Sequence[str]) -> Path:
    """The Python of an environment with these distributions. Raises :class:`Unavailable` with the reason."""
    digest = hashlib.blake2b("\n".join([sys.version, *needs]).encode(), digest_size=4).hexdigest()
    folder = cache_folder() / f"{name}-{digest}"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        print(f"  building an environment for {name}; this is done once", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *needs]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise Unavailable(f"{name} could not be installed within {INSTALL_S} s.") from error
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            reason = re.sub(r"\(from versions:[^)]*\)", "", (errors or ["pip failed"])[0])
            raise Unavailable(f"{name} could not be installed: {reason[:300]}")
        (folder / "complete").touch()
    return python


def cache_folder() -> Path:
    """Where environments are kept between runs."""
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "omniloop" / "bench-serve"


def pins() -> list[str]:
    """The lock's versions of what the work needs."""
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    return [line for name in WORK_NEEDS for line in re.findall(rf"^({name}==[^\s;]+)", lock, re.MULTILINE)]


def litserve(python: Path, bench: Bench, kind: str) -> Recipe:
    """`LitServer` with a batch time-out of 5 ms."""
    return Recipe(
        name="litserve",
        command=[str(python), str(ROOT / "benchmarks/peers/litserve_server.py"), "{port}"],
        path="/predict",
        environ={MODEL: str(bench.checkpoint(kind))},
    )


def bentoml(python: Path, bench: Bench, kind: str) -> Recipe:
    """`bentoml serve` with a batchable method."""
    home = bench.folder / "bentoml"
    home.mkdir(exist_ok=True)
    target = "benchmarks.peers.bentoml_server:Answering"
    return Recipe(
        name="bentoml",
        command=[str(python), "-m", "bentoml", "serve", target, "--host", "127.0.0.1", "--port", "{port}"],
        path="/predict",
        environ={
            MODEL: str(bench.checkpoint(kind)),
            "BENTOML_HOME": str(home),
            "BENTOML_DO_NOT_TRACK": "True",
        },
    )


def mlserver(python: Path, bench: Bench, kind: str) -> Recipe:
    """`mlserver start` with adaptive batching and one worker."""
    folder = bench.folder / f"mlserver-{kind}"
    folder.mkdir(exist_ok=True)
    model = {
        "name": "answering",
        "implementation": "benchmarks.peers.mlserver_server.Answering",
        "max_batch_size": 32,
        "max_batch_time": BATCH_WAIT_S,
    }
    (folder / "model-settings.json").write_text(json.dumps(model))
    (folder / "settings.json").write_text(json.dumps({"debug": False, "parallel_workers": 1}))
    return Recipe(
        name="mlserver",
        command=[str(python), "-m", "mlserver.cli.main", "start", str(folder)],
        path="/v2/models/answering/infer",
        environ={
            MODEL: str(bench.checkpoint(kind)),
            "MLSERVER_HTTP_PORT": "{port}",
            "MLSERVER_GRPC_PORT": "0",
            "MLSERVER_METRICS_ENDPOINT": "",
            "MLSERVER_HOST": "127.0.0.1",
        },
        folder=folder,
    )


def mlflow(python: Path, bench: Bench, kind: str) -> Recipe:
    """`mlflow models serve` of a model from code, with one worker."""
    saved, checkpoint = bench.folder / f"mlflow-{kind}", bench.checkpoint(kind)
    environ = {MODEL: str(checkpoint), "MLFLOW_TRACKING_URI": f"sqlite:///{bench.folder}/mlflow.db"}
    if not saved.exists():
        script = str(ROOT / "benchmarks/peers/mlflow_server.py")
        subprocess.run(
            [str(python), script, str(saved)], env=one_thread(environ), check=True, capture_output=True, timeout=120
        )
    serve = ["-m", "mlflow", "models", "serve", "-m", str(saved), "--env-manager", "local", "-w", "1"]
    return Recipe(
        name="mlflow",
        command=[str(python), *serve, "-h", "127.0.0.1", "-p", "{port}"],
        path="/invocations",
        environ=environ | {"PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}"},
        folder=bench.folder,
    )


def as_samples(body: str) -> str:
    """BentoML's form.

    >>> as_samples('{"task": "digit"}')
    '{"samples": [{"task": "digit"}]}'
    """
    return f'{{"samples": [{body}]}}'


def as_tensor(body: str) -> str:
    """The Open Inference Protocol's form: one string.

    >>> as_tensor("{}")
    '{"inputs": [{"name": "body", "shape": [1], "datatype": "BYTES", "data": ["{}"]}]}'
    """
    return json.dumps({"inputs": [{"name": "body", "shape": [1], "datatype": "BYTES", "data": [body]}]})


def as_record(body: str) -> str:
    """MLflow's form.

    >>> as_record("{}")
    '{"dataframe_records": [{"body": "{}"}]}'
    """
    return json.dumps({"dataframe_records": [{"body": body}]})


PEERS = (
    Peer(name="litserve", needs=("litserve==0.2.19",), recipe=litserve, wrap=str),
    Peer(name="mlflow", needs=(), recipe=mlflow, wrap=as_record),
    Peer(name="bentoml", needs=("bentoml>=1.4.39,<1.5",), recipe=bentoml, wrap=as_samples),
    Peer(name="mlserver", needs=("mlserver==1.7.1", "uvloop<0.22"), recipe=mlserver, wrap=as_tensor),
)
