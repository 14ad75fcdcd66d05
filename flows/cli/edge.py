"""The edge: pack a light model into a folder, and serve one where nothing else of the product is installed."""

import logging
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from flows.cli.common import console, show_table, workspace

app = typer.Typer(help="The edge: export a light model, serve it, look into its spool.", no_args_is_help=True)
Folder = Annotated[Path, typer.Argument(help="A bundle, as `omniloop edge export` makes them.")]
SpoolFolder = Annotated[Path | None, typer.Option(help="Folder of what waits for the cloud; default: FOLDER/spool.")]


@app.command("export")
def export(
    out: Annotated[Path, typer.Option(help="Folder to write; it must not hold anything yet.")],
    version: Annotated[int | None, typer.Argument(help="The version; default: the one in service.")] = None,
    modalities: Annotated[str, typer.Option(help="Those to keep, such as text,image; default: all.")] = "",
    layers: Annotated[int, typer.Option(help="Layers across modalities to keep; 0: all.")] = 0,
    epochs: Annotated[
        int | None,
        typer.Option(help="Passes in which it learns the full model's answers; default: 10 with fewer layers, else 0."),
    ] = None,
    rows: Annotated[int, typer.Option(help="Stored training samples that it learns from at most.")] = 4_000,
) -> None:
    """Pack a light model with its rules of modalities into a folder, measured against the full one."""
    from flows.edge.exporting import export as step

    wanted = tuple(name.strip() for name in modalities.split(",") if name.strip())
    with workspace() as ws:
        bundle = step(ws, out, version=version, modalities=wanted, layers=layers, epochs=epochs, max_rows=rows)
    table = Table("validation samples", "light", "full")
    light, full = bundle.measured["light"], bundle.measured["full"]
    for name, key, form in (
        ("accuracy", "accuracy", "{:.3f}"),
        ("answers like the full model's", "agreement", "{:.1%}"),
        ("ms for one alone, median", "latency_ms", "{:.2f}"),
        ("model, kB", "model_kb", "{:.0f}"),
    ):
        figures = (form.format(each[key]) if each.get(key) is not None else "–" for each in (light, full))
        table.add_row(name, *figures)
    show_table(table)
    console.print(
        f"v{bundle.version} with {', '.join(bundle.modalities)} is in {out}, judged on "
        f"{bundle.measured['num_labelled']} labelled samples. Run it with `omniloop edge serve {out}`.",
        highlight=False,
    )


@app.command("serve")
def serve(
    folder: Folder,
    cloud: Annotated[str | None, typer.Option(help="Address of the live service to ask when unsure.")] = None,
    key_env: Annotated[str, typer.Option(help="Name of the variable that holds the cloud's key.")] = "",
    confidence: Annotated[float | None, typer.Option(help="Probability below which the cloud is asked.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen at.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen at; 0 takes a free one.")] = None,
    spool: SpoolFolder = None,
    spool_bytes: Annotated[int | None, typer.Option(help="Bytes that may wait for the cloud.")] = None,
) -> None:
    """Answer from a bundle, alone or below a cloud, until Ctrl-C or SIGTERM. Needs no database, MLflow or Prefect."""
    from dataclasses import replace

    from flows.edge.running import serve as keep_serving
    from flows.settings import Settings

    settings = Settings.load()
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    given: dict[str, Any] = {
        "cloud": cloud,
        "cloud_key": key_from(key_env) if key_env else None,
        "confidence": confidence,
        "host": host,
        "port": port,
        "spool_bytes": spool_bytes,
    }
    config = replace(settings.edge, **{name: value for name, value in given.items() if value is not None})
    keep_serving(folder, config, spool or folder / "spool", lambda line: console.print(line, highlight=False))


@app.command("refusals")
def refusals(folder: Folder, spool: SpoolFolder = None) -> None:
    """Show what the cloud refused for good, with its reasons."""
    from flows.edge.tables import refusals as read

    where = spool or folder / "spool"
    if not (where / "spool.db").exists():
        raise ValueError(f"There is no spool in {where}. Name its folder with --spool.")
    found = list(read(where))
    for prediction, reason in found:
        console.print(f"{prediction}: {reason}", highlight=False, markup=False)
    if not found:
        console.print("Nothing was refused.")


def key_from(name: str) -> str:
    """The key in a variable. Raises `ValueError` if it is not set."""
    key = os.environ.get(name, "").strip()
    if not key:
        raise ValueError(f"{name} is not set, so there is no key for the cloud. Export it, or leave --key-env out.")
    return key
