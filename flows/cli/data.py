"""Tasks, manifests, samples, and what could not be read."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from flows.cli.common import console, person, show_table, workspace

app = typer.Typer(help="Tasks and samples: add, ingest, list, set aside, delete.", no_args_is_help=True)
DATA_SETS = ("tri-digits", "tux-paint", "easy-vqa")


@app.command("add-task")
def add_task(spec: Annotated[Path, typer.Argument(help="YAML with name, instructions and answers.")]) -> None:
    """Make a task known, or add answers to one."""
    from flows.steps.ingesting import add_task as step
    from omni_model.sample import load_task

    task = load_task(spec)
    with workspace() as ws:
        step(ws, task)
    console.print(f"Task {task.name} has {len(task.answers)} answers.", highlight=False)


@app.command("ingest")
def ingest(
    manifest: Annotated[Path, typer.Argument(help="JSONL or Parquet; see docs/data.md.")],
    without_answers: Annotated[bool, typer.Option(help="Leave the answers out, as for traffic.")] = False,
) -> None:
    """Read a manifest into the home. Bad rows are set aside with their reason; a killed ingest goes on where it was."""
    from flows.steps.ingesting import ingest as step

    with workspace() as ws:
        report = step(ws, manifest, with_answers=not without_answers)
    console.print(str(report), highlight=False)
    for reason in report.faults:
        console.print(f"  {reason}", highlight=False, markup=False)


@app.command("list")
def list_() -> None:
    """Count the samples by split and domain."""
    from db.repository import samples

    with workspace() as ws, ws.database.read() as session:
        counts = samples.count_samples(session)
    table = Table("domain", "train", "val", "test")
    for domain in sorted({domain for _, domain in counts}):
        table.add_row(domain, *(str(counts.get((split, domain), 0)) for split in ("train", "val", "test")))
    show_table(table)


@app.command("faults")
def faults(limit: int = 50) -> None:
    """Show the rows that were set aside, with their reasons."""
    from db.repository import ingests

    with workspace() as ws, ws.database.read() as session:
        rows = ingests.list_faults(session, limit=limit)
    for row in rows:
        console.print(f"line {row.line} ({row.sample_id or 'no id'}): {row.reason}", highlight=False, markup=False)
    if not rows:
        console.print("No row was set aside.")


@app.command("delete")
def delete(
    sample_id: str,
    why: Annotated[str, typer.Option(help="Goes into the audit trail.")],
    who: Annotated[str, typer.Option(help="Your name in the audit trail.")] = "",
) -> None:
    """Delete a sample with its media, labels, log rows and replay membership; lists the versions that learnt it."""
    from flows.steps.forgetting import forget_sample

    with workspace() as ws:
        gone = forget_sample(ws, sample_id, who or person(), why)
    trained = ", ".join(f"v{version}" for version in gone.trained_versions) or "none"
    derived = ", ".join(f"v{version}" for version in gone.derived_versions) or "none"
    console.print(
        f"{sample_id} is deleted, with {gone.num_labels} labels, {gone.num_predictions} answers, {gone.num_mirrors} "
        f"second answers, {len(gone.blobs)} files, and its part in {gone.num_rounds} rounds.\n"
        f"Versions that learnt it: {trained}. Versions that descend from those: {derived}.",
        highlight=False,
    )


@app.command("quarantine")
def quarantine(
    sample_id: str,
    why: Annotated[str, typer.Option(help="Goes into the audit trail.")],
    who: Annotated[str, typer.Option(help="Your name in the audit trail.")] = "",
) -> None:
    """Keep a sample out of selection, training and comparison."""
    from db.repository import stock

    with workspace() as ws, ws.database.write() as session:
        stock.set_aside(session, sample_id, who=who or person(), why=why, now=ws.clock())
    console.print(f"{sample_id} is in quarantine.", highlight=False, markup=False)


@app.command("lift-quarantine")
def lift_quarantine(
    sample_id: str,
    why: Annotated[str, typer.Option(help="Goes into the audit trail.")],
    who: Annotated[str, typer.Option(help="Your name in the audit trail.")] = "",
) -> None:
    """Use a sample again that was set aside."""
    from db.repository import stock

    with workspace() as ws, ws.database.write() as session:
        stock.take_back(session, sample_id, who=who or person(), why=why, now=ws.clock())
    console.print(f"{sample_id} may be used again.", highlight=False, markup=False)


@app.command("build")
def build(
    name: Annotated[str, typer.Argument(help=", ".join(DATA_SETS))],
    out: Annotated[Path, typer.Option(help="Folder for the manifest, the task specs and the media.")],
) -> None:
    """Build one of the known data sets as a manifest."""
    if name not in DATA_SETS:
        raise typer.BadParameter(f"there is no data set {name!r}; choose from {', '.join(DATA_SETS)}")
    from flows.steps.building import build_data_set

    console.print(f"{build_data_set(name, out)}", highlight=False)
