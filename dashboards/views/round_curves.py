"""How the training of a round goes, or went: the numbers of two charts, by epoch."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from sqlalchemy.orm import Session
from starlette.responses import Response

from dashboards.asked import RowNumber
from dashboards.pages import File
from dashboards.site import Visit
from db.records import Round
from db.repository import round_lists, rounds

CHARTS: Mapping[str, tuple[str, str, Mapping[str, tuple[str, str]]]] = {
    "loss": (
        "Loss by epoch",
        "",
        {"training": ("train_loss", "training_loss"), "validation": ("val_loss", "validation_loss")},
    ),
    "accuracy": ("Validation accuracy by epoch", "fraction", {"validation": ("val_accuracy", "validation_accuracy")}),
}
"""A chart's title, its unit, and its lines: the name in a finished training's history, and that of the measurement."""


class Which(BaseModel):
    """Of which round."""

    round: RowNumber


def told(session: Session, round_: Round, chart: str) -> dict[str, Any]:
    """What the chart is drawn from: the finished training's own history, or what the training has told so far."""
    title, unit, lines = CHARTS[chart]
    fit = round_.outputs.get("tuned", {}).get("fit", {})
    values: dict[str, dict[int, float | None]] = {}
    for line, (name, metric) in lines.items():
        if fit:
            values[line] = {int(row["epoch"]): row.get(name) for row in fit["history"]}
        else:
            rows = round_lists.curve(session, round_.id, metric)
            values[line] = {int(row.detail["epoch"]): row.value for row in rows}
    epochs = sorted({epoch for line in values.values() for epoch in line})
    note = f"The weights of epoch {fit['best_epoch']} were kept" if fit.get("best_epoch") else ""
    return {
        "title": title,
        "unit": unit,
        "x": "epoch",
        "times": epochs,
        "series": [{"name": line, "values": [row.get(epoch) for epoch in epochs]} for line, row in values.items()],
        "band": None,
        "baseline": None,
        "marks": [],
        "note": note,
    }


def as_csv(chart: Mapping[str, Any]) -> str:
    """The same as lines of text, an epoch each.

    >>> as_csv({"times": [1], "series": [{"name": "training", "values": [0.5]}]})
    'epoch,training\\r\\n1,0.5\\r\\n'
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(["epoch", *(line["name"] for line in chart["series"])])
    for place, epoch in enumerate(chart["times"]):
        writer.writerow([epoch, *(line["values"][place] for line in chart["series"])])
    return buffer.getvalue()


def _json(visit: Visit, asked: Which, chart: str) -> Response:
    found = told(visit.session, rounds.get_round(visit.session, asked.round), chart)
    return Response(json.dumps(found), media_type="application/json", headers={"Cache-Control": "no-store"})


def _csv(visit: Visit, asked: Which, chart: str) -> Response:
    found = told(visit.session, rounds.get_round(visit.session, asked.round), chart)
    name = f'attachment; filename="round-{asked.round}-{chart}.csv"'
    return Response(as_csv(found), media_type="text/csv", headers={"Content-Disposition": name})


def loss(visit: Visit, asked: Which) -> Response:
    """The losses as JSON."""
    return _json(visit, asked, "loss")


def loss_csv(visit: Visit, asked: Which) -> Response:
    """The losses as CSV."""
    return _csv(visit, asked, "loss")


def accuracy(visit: Visit, asked: Which) -> Response:
    """The accuracy as JSON."""
    return _json(visit, asked, "accuracy")


def accuracy_csv(visit: Visit, asked: Which) -> Response:
    """The accuracy as CSV."""
    return _csv(visit, asked, "accuracy")


PARTS = (
    File(path="/rounds/{round:int}/loss.json", fetch=loss, asks=Which),
    File(path="/rounds/{round:int}/loss.csv", fetch=loss_csv, asks=Which),
    File(path="/rounds/{round:int}/accuracy.json", fetch=accuracy, asks=Which),
    File(path="/rounds/{round:int}/accuracy.csv", fetch=accuracy_csv, asks=Which),
)
