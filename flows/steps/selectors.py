"""How a version chooses modalities: measured and fitted once, kept with it, read by whoever serves it.

Fitting looks at the validation samples with the labels in force, in the version's own model, on this machine.
"""

from dataclasses import replace
from math import ceil
from typing import Any

from db.records import LabelledSample, Release
from db.records.artefacts import MSN, Artefact
from db.repository import artefacts, samples, versions
from flows.errors import NothingInService, NothingToDo
from flows.steps.models import load_release
from flows.steps.stored import load_sample
from flows.workspace import Workspace
from omni_model.msn.choice import Budget
from omni_model.msn.measuring import measure
from omni_model.msn.measuring_chains import chained
from omni_model.msn.selector import MeasuredSelector, selector_from
from omni_model.msn.selector import fit_selector as fit
from omni_model.sample import Sample

SHOWN = (0.25, 0.5, 0.75, 1.0)
"""Budgets whose choices are kept as figures beside the artefact."""


def selector_of(ws: Workspace, version: int) -> MeasuredSelector | None:
    """The version's own selector, or None if none was fitted yet.

    Raises `BlobError` if its bytes cannot be read, `ValueError` if they are none.
    """
    with ws.database.read() as session:
        found = artefacts.newest(session, version, MSN)
    return None if found is None else selector_from(ws.blobs.get(found.digest))


def in_service(ws: Workspace) -> int:
    """The version in service. Raises `NothingInService`."""
    with ws.database.read() as session:
        version = versions.serving(session).version
    if version is None:
        raise NothingInService("No version is in service, so there is none to choose for. Name a version.")
    return version


def fit_selector(ws: Workspace, version: int) -> Artefact:
    """Measure a version on the labelled validation samples, fit its tree, and keep both as an artefact of it.

    Nothing in service changes and no lock is held meanwhile. Raises `NotFound` for an unknown version, `NothingToDo`
    while too few validation samples are labelled.
    """
    with ws.database.read() as session:
        release = versions.get_release(session, version)
        labelled = samples.labelled(session, split="val")
    selector, num_rows = measured(ws, release, spread(labelled, ws.settings.msn.max_rows))
    if selector is None:
        raise NothingToDo(
            f"v{version} has {num_rows} labelled validation samples with a modality; a choice is measured on "
            f"{ws.settings.msn.min_rows} or more of a task. Label more, then run `omniloop msn fit {version}`."
        )
    digest = ws.blobs.put(selector.to_json().encode())
    with ws.database.write() as session:
        made = artefacts.put(session, version, MSN, digest, now=ws.clock(), detail=figures(selector, num_rows))
    ws.reporter.say(f"selector    v{version}: {selector.num_leaves} rules from {num_rows} validation samples")
    return made


def measured(ws: Workspace, release: Release, labelled: list[LabelledSample]) -> tuple[MeasuredSelector | None, int]:
    """A version's selector, and on how many samples it was measured; None if they are too few."""
    config = ws.settings.msn
    if len(labelled) < config.min_rows:
        return None, len(labelled)
    model = load_release(ws, release)
    takes = model.describe().get("modalities")
    rows = [_usable(load_sample(ws, entry.sample, entry.answer), takes) for entry in labelled]
    rows = [row for row in rows if row.inputs]
    digests = {entry.sample.id: entry.sample.inputs for entry in labelled}

    def content_of(sample: Sample) -> dict[str, bytes]:
        return {name: ws.blobs.get(digests[sample.id][name]) for name in sample.inputs}

    table = measure(model, rows, config, content_of=content_of) if rows else None
    if table is None or not table.situations:
        return None, len(rows)
    return chained(model, rows, fit(table, max_leaves=config.max_leaves), config), len(rows)


def spread(labelled: list[LabelledSample], most: int) -> list[LabelledSample]:
    """At most so many, taken at even distances."""
    return labelled[:: max(1, ceil(len(labelled) / most))]


def _usable(sample: Sample, takes: tuple[str, ...] | None) -> Sample:
    """The sample with what the model can look at."""
    if takes is None or sample.modalities <= set(takes):
        return sample
    return replace(sample, inputs={name: value for name, value in sample.inputs.items() if name in takes})


def figures(selector: MeasuredSelector, num_rows: int) -> dict[str, Any]:
    """What a page shows of a selector: for each task's largest measured situation, the choice at some budgets."""
    table, tasks = selector.table, {}
    for task in table.costs:
        measured = [row for row in table.situations if row.task == task]
        if not measured:
            continue
        most = max(measured, key=lambda row: (len(row.available), row.num_rows))
        chosen = {share: selector.choose(task, most.available, Budget(share=share)).subset for share in SHOWN}
        tasks[task] = {
            "available": sorted(most.available),
            "accuracy_of_all": most.accuracy[most.available],
            "choices": [
                {
                    "budget": share,
                    "subset": sorted(subset),
                    "accuracy": most.accuracy[subset],
                    "work": table.costs[task].share(subset, most.available),
                }
                for share, subset in chosen.items()
            ],
        }
    return {
        "num_samples": num_rows,
        "num_situations": len(table.situations),
        "num_rules": selector.num_leaves,
        "agreement": selector.agreement,
        "rules": selector.rules(),
        "tasks": tasks,
    }
