"""The commands of the loop itself: the demo, the round as a whole and step by step, and what keeps it running."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli.common import console, person, prefect_workspace, workspace

Json = Annotated[Path | None, typer.Option("--json", help="Write every figure shown to this file.")]
Trigger = Annotated[
    str, typer.Option(help="What asks for the round: manual, schedule, new_labels, drift, performance.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (
        demo,
        train,
        retrain,
        evolve,
        filter_,
        finetune,
        validate,
        release,
        probation,
        reconcile,
        request,
        doctor,
        up,
    ):
        app.command(name=command.__name__.rstrip("_"))(command)


def demo(json: Json = None) -> None:
    """Run the whole loop on the embedded data set, in a home of its own, and show what became of each version."""
    from flows.demo.run import run_demo
    from flows.settings import Settings

    run_demo(Settings.load(), console, json)


def train() -> None:
    """Train the first version from scratch on everything that is labelled, and put it in service."""
    retrain(trigger="manual")


def retrain(trigger: Trigger = "manual") -> None:
    """Take a round as far as it goes: filter, label, fine-tune, validate, decide. An open round is taken up again."""
    from flows.retrain import retrain as flow

    run(flow, trigger=trigger, who=asker(trigger))


def evolve() -> None:
    """Search for a better architecture in the time that the present one takes; the gate decides about what is found."""
    from flows.evolve import evolve as flow

    run(flow)


def filter_(trigger: Trigger = "manual") -> None:
    """Open a round and select what is worth labelling."""
    from flows.filter import filter_samples

    run(filter_samples, trigger=trigger, who=asker(trigger))


def asker(trigger: str) -> str:
    """The person behind a round that is asked for by hand; nobody is behind what the clock or the watch asks for."""
    return person() if trigger == "manual" else ""


def finetune() -> None:
    """Tune the last accepted version on the round's labels and register the candidate."""
    from flows.finetune import finetune as flow

    run(flow)


def validate() -> None:
    """Compare the round's candidate with the version in service."""
    from flows.validate import validate_candidate

    run(validate_candidate)


def release() -> None:
    """Judge the round's candidate: promote it, reject it, or put it before a person."""
    from flows.release import release_candidate

    run(release_candidate)


def probation() -> None:
    """Score new feedback on the version on probation and the one before; accept or roll back when it is decided."""
    from flows.probation import probation as flow

    result = run(flow)
    if result["version"] is None:
        console.print("No version is on probation.")


def reconcile() -> None:
    """Make MLflow follow the database and deliver what the outbox holds."""
    from flows.steps.reconciling import reconcile as step

    with workspace() as ws:
        done = step(ws)
    shown = ", ".join(f"{alias} → {version or 'none'}" for alias, version in done.aliases.items())
    console.print(f"MLflow's aliases: {shown}. {done.num_delivered} messages delivered.", highlight=False)


def request(
    kind: Annotated[str, typer.Argument(help="drift, performance, new_labels, schedule or manual")] = "manual",
    why: Annotated[str, typer.Option(help="Why a round is wanted.")] = "asked for at the terminal",
    who: Annotated[str, typer.Option(help="Your name in the round's story.")] = "",
) -> None:
    """Ask for a round without waiting for it; requests of one kind that wait together count as one."""
    from flows.steps.requesting import request_round

    with workspace() as ws:
        waiting = request_round(ws, kind, who=who or person(), why=why)
    console.print(f"A round is requested ({kind}, asked {waiting.num_requests} times).", highlight=False)


def doctor() -> None:
    """Say what is installed, configured and reachable, and how to mend what is not."""
    from flows.doctor import checks, exit_code, render

    found = checks()
    render(found, console)
    raise typer.Exit(exit_code(found))


def up(
    evidently: Annotated[bool, typer.Option("--evidently", help="Evidently's own pages over the reports too.")] = False,
) -> None:
    """Keep the live service, Prefect, the schedules and the pulse running until Ctrl-C or SIGTERM."""
    from flows.settings import Settings
    from flows.up import up as keep_up

    raise typer.Exit(keep_up(Settings.load(), lambda line: console.print(line, highlight=False), evidently=evidently))


def run(flow: Callable[..., dict[str, Any]], **parameters: Any) -> dict[str, Any]:
    """Run a flow here, against the running Prefect or one started for the moment, and say how it ended."""
    with prefect_workspace():
        result = flow(**parameters)
    if result.get("num_labels_missing"):
        console.print(
            f"Round {result['round']} waits for {result['num_labels_missing']} labels: `omniloop labels export FILE`, "
            "fill in the answers, `omniloop labels import FILE`, then `omniloop retrain`.",
            highlight=False,
        )
    return result
