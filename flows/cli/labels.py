"""Labels: what waits for one, out to a file, and back in."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.common import console, person, workspace

app = typer.Typer(help="The label queue: status, export, import.", no_args_is_help=True)


@app.command("status")
def status() -> None:
    """Say how many samples wait for a label."""
    from db.repository import label_queue

    with workspace() as ws, ws.database.read() as session:
        waiting = label_queue.list_entries(session)
    console.print(f"{len(waiting)} samples wait for a label.", highlight=False)


@app.command("export")
def export(out: Annotated[Path, typer.Argument(help="JSONL to write, one sample a line; media beside it.")]) -> None:
    """Write the samples that wait, with their media, so that somebody can fill in `answer`."""
    from flows.steps.labelling import export_queue

    with workspace() as ws:
        num = export_queue(ws, out)
    console.print(f"{num} samples written to {out}; fill in `answer` and import the file.", highlight=False)


@app.command("import")
def import_(
    file: Annotated[
        Path, typer.Argument(help='JSONL with {"id": …, "answer": …} a line; lines without answer are skipped.')
    ],
    who: Annotated[str, typer.Option(help="Who labelled.")] = "",
) -> None:
    """Store answers. All of them are taken or, if one is wrong, none."""
    from flows.steps.labelling import add_labels, read_answers

    answers = read_answers(file, key="id")
    with workspace() as ws:
        num_new = add_labels(ws, answers, origin=f"human:{who or person()}")
    console.print(f"{num_new} new labels of {len(answers)} answers.", highlight=False)
