"""How versions choose modalities: fit, show, choose."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from flows.cli.common import console, workspace

if TYPE_CHECKING:
    from omni_model.msn.selector import MeasuredSelector
    from omni_model.msn.table import Situation

app = typer.Typer(help="Which modalities are looked at within a budget: fit, show, choose.", no_args_is_help=True)
Version = Annotated[int | None, typer.Argument(help="The version's number; without it, the one in service.")]
NOTHING = "v{} has no selector of its own; the static rules choose. Fit one with `omniloop msn fit {}`."


@app.command("fit")
def fit(version: Version = None) -> None:
    """Measure a version on the labelled validation samples and fit the tree that chooses for it."""
    from flows.steps.selectors import fit_selector, in_service

    with workspace() as ws:
        made = fit_selector(ws, in_service(ws) if version is None else version)
    console.print(
        f"v{made.version} chooses by artefact {made.digest[:12]}: {made.detail['num_rules']} rules from "
        f"{made.detail['num_samples']} samples in {made.detail['num_situations']} situations.",
        highlight=False,
    )


@app.command("show")
def show(version: Version = None) -> None:
    """The rules of a version's tree, and the accuracy and cost of every subset that they were made from."""
    found, number = _selector(version)
    if found is None:
        console.print(NOTHING.format(number, number), highlight=False)
        return
    console.print(f"Rules of v{number}\n{found.rules()}", highlight=False, markup=False)
    for situation in found.table.situations:
        console.print(_table(found, situation))
    for line in chain_lines(found):
        console.print(line, highlight=False, markup=False)


@app.command("choose")
def choose(
    task: Annotated[str, typer.Option(help="Name of the task.")],
    modalities: Annotated[str, typer.Option(help="What a request would bring, such as image,text.")],
    budget: Annotated[float | None, typer.Option(help="Share of the full work, 0-1.")] = None,
    latency_s: Annotated[float | None, typer.Option(help="Seconds of computing.")] = None,
    version: Annotated[int | None, typer.Option(help="The version; without it, the one in service.")] = None,
) -> None:
    """What would be looked at within a budget, and why the rest would not."""
    from omni_model.msn.choice import Budget
    from omni_model.msn.rules import STATIC_RULES
    from omni_model.msn.table import named

    wanted = Budget(share=budget, latency_s=latency_s)
    available = frozenset(name.strip() for name in modalities.split(",") if name.strip())
    found, number = _selector(version)
    choice = (found or STATIC_RULES).choose(task, available, wanted)
    by = f"the tree of v{number}" if found else f"the static rules, v{number} having no tree"
    left_out = f"; left out: {named(available - choice.subset)}, {choice.why}" if choice.why else ""
    console.print(f"{named(choice.subset)} (by {by}){left_out}.", highlight=False)


def _selector(version: int | None) -> "tuple[MeasuredSelector | None, int]":
    from db.repository import versions
    from flows.steps.selectors import in_service, selector_of

    with workspace() as ws:
        number = in_service(ws) if version is None else version
        with ws.database.read() as session:
            versions.get_release(session, number)
        return selector_of(ws, number), number


def chain_lines(found: "MeasuredSelector") -> list[str]:
    """Each chain's order, thresholds, where rows stop, and what it is expected to cost and to lose."""
    from omni_model.msn.table import named

    lines = []
    for chain in found.chains:
        parts = [*((stage.subset, f" until {stage.threshold:.3f} sure") for stage in chain.early), (chain.subset, "")]
        steps = ", then ".join(
            f"{named(subset)}{until} ({stop:.0%} stop)"
            for (subset, until), stop in zip(parts, chain.stops, strict=True)
        )
        lines.append(
            f"{chain.task}, of {named(chain.subset)}: {steps}; expected {chain.work:.0%} of the work, "
            f"{100 * chain.loss:.1f} ± {100 * chain.error:.1f} points lost (n = {chain.num_rows})"
        )
    return ["Chains", *lines] if lines else ["No chain: everything chosen is looked at (OMNI_MSN__MAX_LOSS)."]


def _table(found: "MeasuredSelector", situation: "Situation") -> Table:
    """Every subset of a situation, the cheapest first."""
    from omni_model.msn.table import named

    costs = found.table.costs[situation.task]
    table = Table(
        "looked at",
        "accuracy",
        "± se",
        "work",
        "alone",
        "batched",
        title=f"{situation.task}, {named(situation.available)} available; {situation.num_rows} samples, "
        f"{situation.num_exact} with exactly these",
        title_justify="left",
    )
    for row in sorted(situation.scored, key=lambda row: costs.batched.of(row.subset)):
        table.add_row(
            named(row.subset),
            f"{row.accuracy:.3f}",
            f"{row.error:.3f}",
            f"{costs.share(row.subset, situation.available):.0%}",
            f"{1e3 * costs.alone.of(row.subset):.2f} ms",
            f"{1e3 * costs.batched.of(row.subset):.2f} ms",
        )
    return table
