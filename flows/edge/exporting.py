"""Packs a version into a bundle: cut down, taught where layers went, measured against the full one on one set."""

import shutil
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC
from pathlib import Path
from typing import Any

from db.digests import digest_of
from db.records import Release
from db.repository import samples, versions
from flows.edge.bundle import MODEL, MSN, README, Bundle
from flows.errors import NothingInService
from flows.steps.models import load_release
from flows.steps.stored import load_labelled, load_samples
from flows.workspace import Workspace
from omni_model.checkpoint import save
from omni_model.distil import DistilConfig, distil, visible
from omni_model.evaluate import predict
from omni_model.model import OmniModel
from omni_model.msn.measuring import measure
from omni_model.msn.measuring_chains import chained
from omni_model.msn.selector import fit_selector
from omni_model.protocol import LoopModel
from omni_model.sample import Sample
from omni_model.submodel import num_bytes, submodel

DISTIL_EPOCHS = 10
TIMED_ROWS = 64
"""Samples that are answered one by one for the latency."""


def export(
    ws: Workspace,
    out: Path,
    *,
    version: int | None = None,
    modalities: Sequence[str] = (),
    layers: int = 0,
    epochs: int | None = None,
    max_rows: int = 4_000,
) -> Bundle:
    """Write a bundle of a version, by default the one in service, and tell what it is worth.

    `epochs` of learning the full model's answers on at most `max_rows` stored training samples; None: 10 with fewer
    layers, none without. A folder that holds something is refused; one that was cut short holds no bundle.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} holds something already. Name a folder that is empty or not there yet.")
    release = _release(ws, version)
    full = load_release(ws, release)
    is_cut = bool(modalities) or bool(layers)
    light = submodel(full, modalities, layers) if is_cut else load_release(ws, release)
    with ws.database.read() as session:
        train = samples.list_samples(session, split="train")
        labelled = samples.labelled(session, split="val")
    val = load_labelled(ws, labelled)
    taught = None
    has_fewer_layers = isinstance(full, OmniModel) and 0 < layers < full.config.layers
    num_epochs = (DISTIL_EPOCHS if has_fewer_layers else 0) if epochs is None else epochs
    if num_epochs:
        ws.reporter.say(f"edge        v{release.version}: {num_epochs} epochs of learning what the full model says")
        spread = train[:: max(1, -(-len(train) // max_rows))]
        config = DistilConfig(epochs=num_epochs, seed=ws.settings.loop.seed)
        taught = distil(light, full, load_samples(ws, spread), val, config)
    (out / MODEL).mkdir(parents=True)
    try:
        digest = save(light, out / MODEL)
        measured = compare(light, full, val) | ({"taught": asdict(taught)} if taught else {})
        measured["light"]["model_kb"] = num_bytes(light.state_dict()) / 1000
        measured["full"]["model_kb"] = num_bytes(full.state_dict()) / 1000
        bundle = Bundle(
            version=release.version,
            version_digest=release.digest,
            digest=digest,
            msn_digest=write_selector(ws, light, val, out),
            modalities=tuple(light.describe().get("modalities") or sorted({m for row in val for m in row.modalities})),
            layers=light.config.layers if isinstance(light, OmniModel) else None,
            tasks={task.name: task.answers for task in light.tasks},
            measured=measured,
            made_at=ws.clock().astimezone(UTC).isoformat(),
        )
        (out / README).write_text(read_me(bundle), encoding="utf-8")
        bundle.write(out)
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        raise
    return bundle


def compare(light: LoopModel, full: LoopModel, val: Sequence[Sample]) -> dict[str, Any]:
    """Both models on the labelled validation samples, each shown what it takes.

    A sample that the light model can see nothing of counts as its mistake; without samples there are no figures (None).
    """
    seen = visible(light, val)
    right = {row.id: row.answer for row in val}
    figures: dict[str, dict[str, Any]] = {}
    said: dict[str, dict[str, str]] = {}
    for name, model, rows in (("light", light, seen), ("full", full, visible(full, val))):
        found = predict(model, rows)
        said[name] = {id_: found.answers[int(at)] for id_, at in zip(found.ids, found.answer, strict=True)}
        num_right = sum(said[name].get(id_) == answer for id_, answer in right.items())
        accuracy = num_right / len(right) if right else None
        figures[name] = {"accuracy": accuracy, "latency_ms": latency_ms(model, rows[:TIMED_ROWS])}
    same = sum(said["light"].get(id_) == answer for id_, answer in said["full"].items())
    figures["light"]["agreement"] = same / len(said["full"]) if said["full"] else None
    return {"num_labelled": len(val), "num_visible": len(seen), **figures}


def latency_ms(model: LoopModel, rows: Sequence[Sample]) -> float | None:
    """Median time to prepare, encode and fuse one sample alone, in milliseconds; None without samples."""
    times = []
    for row in rows:
        began = time.perf_counter()
        predict(model, [row])
        times.append(1e3 * (time.perf_counter() - began))
    return statistics.median(times[1:] or times) if times else None


def write_selector(ws: Workspace, light: LoopModel, val: Sequence[Sample], out: Path) -> str:
    """Measure the light model's own subsets and write its selector; returns its digest, empty if there is none.

    Measured anew rather than cut out of the full version's: a light model costs and knows something else.
    """
    rows = visible(light, val)
    if len({name for row in rows for name in row.modalities}) < 2 or len(rows) < ws.settings.msn.min_rows:
        return ""
    config = ws.settings.msn
    selector = fit_selector(measure(light, rows, config), max_leaves=config.max_leaves)
    content = chained(light, rows, selector, config).to_json().encode()
    (out / MSN).write_bytes(content)
    return digest_of(content)


def read_me(bundle: Bundle) -> str:
    """What a person finds in the folder."""
    light, full = bundle.measured["light"], bundle.measured["full"]

    def shown(value: float | None, form: str) -> str:
        return "not measured" if value is None else format(value, form)

    return f"""# v{bundle.version} for the edge

Takes {", ".join(bundle.modalities)}. Answers the tasks {", ".join(bundle.tasks)}.

| on {bundle.measured["num_labelled"]} validation samples | this model | the full one |
|---|---|---|
| accuracy | {shown(light["accuracy"], ".3f")} | {shown(full["accuracy"], ".3f")} |
| ms for one alone, where it was exported | {shown(light["latency_ms"], ".2f")} | {shown(full["latency_ms"], ".2f")} |
| model, kB | {light["model_kb"]:.0f} | {full["model_kb"]:.0f} |

```sh
pip install 'omniloop[edge]'
omniloop edge serve . --cloud https://models.example.org --key-env CLOUD_KEY --confidence 0.8
```
"""


def _release(ws: Workspace, version: int | None) -> Release:
    with ws.database.read() as session:
        wanted = version or versions.serving(session).version
        if wanted is None:
            raise NothingInService("No version is in service, so there is none to export. Name a version.")
        return versions.get_release(session, wanted)
