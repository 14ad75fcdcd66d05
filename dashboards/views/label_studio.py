"""Label Studio: what waits goes out in its format, what was annotated there comes in."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal

from pydantic import BaseModel
from starlette.responses import Response

from dashboards.pages import Action, File, Form, Nothing, Page
from dashboards.samples import media_url, type_of
from dashboards.site import Deed, Done, Site, Visit
from dashboards.views.people import address
from db import label_studio
from db.records import StoredSample
from db.repository import disagreements, label_import, labelling, tasks

MOST_TASKS = 5_000
MOST_BYTES = 200 * 2**20
"""Bytes of embedded media in one export at most."""


class ConfigAsked(BaseModel):
    """Which task; may be left out if there is only one."""

    task: str = ""


class ExportAsked(ConfigAsked):
    """What to export."""

    what: Literal["waiting", "labelled"] = "waiting"
    media: Literal["embedded", "links"] = "embedded"
    suggestions: bool = False
    """With what models suggest; it leads the annotators, so it is left out unless asked for."""


class ImportForm(Form):
    """An export of Label Studio, as a file."""

    file: bytes | str


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """What can be exported."""

    tasks: list[str]
    waiting: dict[str, int]
    """How many samples of each task wait."""


def exchange(visit: Visit, asked: Nothing) -> Exchange:
    """The tasks, and how many of their samples wait."""
    waiting: dict[str, int] = {}
    for row in labelling.progress_by_task(visit.session, now=visit.now, limit=1_000):
        waiting[row.task] = waiting.get(row.task, 0) + row.num_queued - row.num_done
    return Exchange(tasks=[task.name for task in tasks.list_tasks(visit.session)], waiting=waiting)


def export(visit: Visit, asked: ExportAsked) -> Response:
    """The tasks as JSON, to be imported in Label Studio."""
    name = label_import.first_task(visit.session, asked.task)
    if asked.what == "waiting":
        _, found = label_import.waiting(visit.session, name)
    else:
        _, found = label_import.labelled(visit.session, name, limit=MOST_TASKS)
    shown = found[:MOST_TASKS]
    is_asked = asked.what == "labelled"
    made: list[dict[str, Any]] = []
    num_bytes = 0
    for sample, label in shown:
        media = linked(visit.site, sample) if asked.media == "links" else embedded(visit.site, sample)
        num_bytes += sum(len(value) for value in media.values())
        if num_bytes > MOST_BYTES:
            raise ValueError(f"The media are more than {MOST_BYTES:,} bytes. Export links, or fewer samples at once.")
        claims = disagreements.claims(visit.session, sample.id) if asked.suggestions else []
        made.append(label_studio.task_of(sample, media, label=label if is_asked else None, suggestions=claims))
    headers = {"Content-Disposition": f'attachment; filename="label-studio-{asked.what}.json"'}
    return Response(json.dumps(made, ensure_ascii=False), media_type="application/json", headers=headers)


def config(visit: Visit, asked: ConfigAsked) -> Response:
    """The labelling config of a task."""
    task = tasks.get_task(visit.session, label_import.first_task(visit.session, asked.task))
    _, found = label_import.waiting(visit.session, task.name)
    known = sorted({modality for sample, _ in found for modality in sample.inputs}) or list(label_studio.TAGS)
    headers = {"Content-Disposition": 'attachment; filename="label-studio.xml"'}
    return Response(label_studio.config(task, known), media_type="application/xml", headers=headers)


def import_(deed: Deed, form: ImportForm) -> Done:
    """Store the annotations of a file: all, or none with the reason of each row."""
    content = form.file.encode() if isinstance(form.file, str) else form.file
    rows = label_studio.read(content)
    name = blake2b(content, digest_size=6).hexdigest()
    with deed.site.database.write() as session:
        done = label_import.store(session, rows, who=deed.person.name, name=name, now=deed.now)
    return Done(message=f"Imported: {done}.", to="/labels")


def embedded(site: Site, sample: StoredSample) -> dict[str, str]:
    """The media inside the task."""
    return label_studio.embedded(sample, site.blobs.get, type_of)


def linked(site: Site, sample: StoredSample) -> dict[str, str]:
    """The media by address; whoever fetches them must be signed in here, or send a key."""
    text = {"text": embedded(site, sample)["text"]} if "text" in sample.inputs else {}
    others = [modality for modality in sorted(sample.inputs) if modality != "text"]
    return text | {modality: address(site) + media_url(sample.id, modality) for modality in others}


PARTS = (
    Page(path="/labels/label-studio", title="Label Studio", template="label_studio.html", build=exchange),
    File(path="/labels/label-studio/tasks", fetch=export, asks=ExportAsked, role="labeller"),
    File(path="/labels/label-studio/config", fetch=config, asks=ConfigAsked, role="labeller"),
    Action(path="/labels/label-studio/import", role="operator", form=ImportForm, do=import_),
)
