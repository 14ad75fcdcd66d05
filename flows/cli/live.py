"""Answering and feedback: the live service, and the same without one, from a manifest and back."""

import json
import logging
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.common import console, errors, person, workspace


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (predict, feedback, serve):
        app.command()(command)


def predict(
    manifest: Annotated[Path, typer.Argument(help="What to answer; see docs/data.md.")],
    out: Annotated[Path | None, typer.Option(help="JSONL to write; default: the terminal.")] = None,
) -> None:
    """Let the version in service answer a manifest; each answer is logged with an id that feedback can refer to."""
    from db.repository import predictions
    from flows.steps.answering import answer
    from flows.steps.ingesting import ingest, sample_ids

    with workspace() as ws:
        report = ingest(ws, manifest, with_answers=False)
        ids = answer(ws, sample_ids(manifest))
        with ws.database.read() as session:
            rows = [predictions.get(session, prediction_id) for prediction_id in ids.values()]
    lines = [
        json.dumps({"prediction": row.id, "sample": row.sample_id, "answer": row.answer, "confidence": row.confidence})
        for row in rows
        if row is not None
    ]
    for reason in report.faults:
        errors.print(f"  {reason}", highlight=False, markup=False)
    if out is None:
        typer.echo("\n".join(lines))
    else:
        out.write_text("\n".join(lines) + "\n")
        console.print(f"{len(lines)} answers written to {out} ({report}).", highlight=False)


def feedback(
    file: Annotated[Path, typer.Argument(help='JSONL with {"prediction": …, "answer": …} a line.')],
    who: Annotated[str, typer.Option(help="Who says so.")] = "",
) -> None:
    """Store the right answers to predictions; probation is judged by them."""
    from flows.steps.answering import give_feedback
    from flows.steps.labelling import read_answers

    answers = read_answers(file, key="prediction")
    with workspace() as ws:
        num_new = give_feedback(ws, answers, origin=f"human:{who or person()}")
    console.print(f"{num_new} new of {len(answers)}.", highlight=False)


def serve() -> None:
    """Answer over HTTP with the version in service, until Ctrl-C or SIGTERM; `omniloop up` does it too."""
    from flows.service.json_log import log_as_json
    from flows.service.running import serve as keep_serving
    from flows.settings import Settings

    log_as_json(Settings.load().log_level)  # before anything is opened, which may log
    with workspace() as ws:
        keep_serving(ws, say)


def say(line: str) -> None:
    """Tell a person at a terminal in words; whoever collects the output gets JSON lines alone."""
    if console.is_terminal:
        console.print(line, highlight=False)
    else:
        logging.getLogger("omniloop").warning(line)
