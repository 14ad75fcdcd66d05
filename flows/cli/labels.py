"""Labels: what waits for one, out to a file, and back in."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.common import console, person, workspace

app = typer.Typer(help="The label queue: status, export, import, undo, disagreements.", no_args_is_help=True)

JSONL, LABEL_STUDIO = "jsonl", "label-studio"


@app.command("status")
def status() -> None:
    """Say how many samples wait for a label."""
    from db.repository import label_queue

    with workspace() as ws, ws.database.read() as session:
        waiting = label_queue.list_entries(session)
    console.print(f"{len(waiting)} samples wait for a label.", highlight=False)


@app.command("export")
def export(
    out: Annotated[Path, typer.Argument(help="The file to write; JSONL has its media beside it.")],
    format_: Annotated[str, typer.Option("--format", help="jsonl, or label-studio with the media inside.")] = JSONL,
    task: Annotated[str, typer.Option(help="For label-studio: the task, if there are several.")] = "",
) -> None:
    """Write the samples that wait, with their media, so that somebody can answer them elsewhere."""
    from flows.steps.label_studio import export_tasks
    from flows.steps.labelling import export_queue

    with workspace() as ws:
        if check_format(format_) == LABEL_STUDIO:
            num = export_tasks(ws, out, task=task)
            told = f"the labelling config to {out.with_suffix('.xml')}"
        else:
            num = export_queue(ws, out)
            told = "fill in `answer` and import the file"
    console.print(f"{num} samples written to {out}; {told}.", highlight=False)


@app.command("import")
def import_(
    file: Annotated[
        Path, typer.Argument(help='JSONL with {"id": …, "answer": …} a line, or a JSON export of Label Studio.')
    ],
    who: Annotated[str, typer.Option(help="Who labelled, where the file does not say.")] = "",
    format_: Annotated[str, typer.Option("--format", help="jsonl or label-studio.")] = JSONL,
) -> None:
    """Store answers. All of them are taken or, if one is wrong, none."""
    from flows.steps.label_studio import import_annotations
    from flows.steps.labelling import add_labels, read_answers

    if check_format(format_) == LABEL_STUDIO:
        with workspace() as ws:
            done = import_annotations(ws, file, who=who or person())
        console.print(f"{done}.", highlight=False)
        return
    answers = read_answers(file, key="id")
    with workspace() as ws:
        num_new = add_labels(ws, answers, origin=f"human:{who or person()}")
    console.print(f"{num_new} new labels of {len(answers)} answers.", highlight=False)


@app.command("undo")
def undo(who: Annotated[str, typer.Option(help="Whose last label; default: yours.")] = "") -> None:
    """Take your last label back, as long as its round has not begun to train; the sample waits again."""
    from db.repository import labelling

    with workspace() as ws, ws.database.write() as session:
        label = labelling.undo_last(session, who=who or person(), now=ws.clock())
    console.print(f"{label.answer!r} of {label.sample_id} is taken back.", highlight=False, markup=False)


@app.command("disagreements")
def list_disagreements() -> None:
    """Show what is contested; these samples are not trained on until somebody settles it."""
    from db.repository import disagreements

    with workspace() as ws, ws.database.read() as session:
        found = disagreements.list_disagreements(session)
    for each in found:
        said = f"{each.who} says {each.answer!r} instead of {each.claimed!r} ({each.claimed_by}): {each.why}"
        console.print(f"{each.id}  {each.sample_id}: {said}", highlight=False, markup=False)
    if not found:
        console.print("Nothing is contested.")


@app.command("disagree")
def disagree(
    sample_id: str,
    answer: Annotated[str, typer.Argument(help="What is right instead.")],
    why: Annotated[str, typer.Option(help="Your reason; goes into the audit trail.")],
    who: Annotated[str, typer.Option(help="Your name in the audit trail.")] = "",
) -> None:
    """Say that a sample's label is wrong (without a label: the feedback, or the model's suggestion)."""
    from db.repository import disagreements

    with workspace() as ws, ws.database.write() as session:
        found = disagreements.claims(session, sample_id)
        if not found:
            raise ValueError(f"Nobody has said anything of sample {sample_id!r}. Label it instead.")
        disagreements.disagree(session, sample_id, answer, claim=found[0], who=who or person(), why=why, now=ws.clock())
    console.print(f"{sample_id} is not trained on until it is settled.", highlight=False, markup=False)


@app.command("settle")
def settle(
    number: Annotated[int, typer.Argument(help="The disagreement, as `labels disagreements` lists it.")],
    outcome: Annotated[str, typer.Argument(help="keep or replace.")],
    why: Annotated[str, typer.Option(help="Your reason; goes into the audit trail.")],
    who: Annotated[str, typer.Option(help="Your name in the audit trail.")] = "",
) -> None:
    """Let the contested answer stand, or replace it."""
    from db.repository import disagreements

    with workspace() as ws, ws.database.write() as session:
        done = disagreements.settle(session, number, outcome, who=who or person(), why=why, now=ws.clock())
    answer = done.answer if outcome == "replace" else done.claimed
    console.print(f"{done.sample_id} is {answer!r}.", highlight=False, markup=False)


def check_format(name: str) -> str:
    """The format's name. `ValueError` for one that is none."""
    if name not in (JSONL, LABEL_STUDIO):
        raise ValueError(f"There is no format {name!r}. Choose {JSONL} or {LABEL_STUDIO}.")
    return name
