"""Trials: a version on a part of the traffic before its promotion. Start, show, judge, stop."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table

from flows.cli.common import console, person, show_table, workspace

if TYPE_CHECKING:
    from flows.steps.trialling import TrialReport

app = typer.Typer(help="Trials: a version on a part of the traffic, or a copy of it.", no_args_is_help=True)
Who = Annotated[str, typer.Option(help="Your name in the audit trail.")]
Why = Annotated[str, typer.Option(help="Your reason; goes into the audit trail.")]


@app.command("start")
def start(
    version: Annotated[int, typer.Argument(help="The version's number: 3 for v3.")],
    why: Why,
    mode: Annotated[
        Literal["canary", "shadow"], typer.Option(help="canary: it answers a share. shadow: nobody is told.")
    ] = "shadow",
    share: Annotated[
        float, typer.Option(help="Part of the requests that both versions answer, above 0 up to 1.")
    ] = 0.1,
    who: Who = "",
) -> None:
    """Try a candidate, or a version that awaits approval, beside the one in service."""
    from db.repository import trials

    with workspace() as ws, ws.database.write() as session:
        trial = trials.start(session, version, mode=mode, share=share, who=who or person(), why=why, now=ws.clock())
    console.print(
        f"v{trial.version} is on trial against v{trial.base_version}: {trial.mode}, {trial.share:.1%} of the requests.",
        highlight=False,
    )


@app.command("show")
def show(limit: Annotated[int, typer.Option(help="How many trials to list.")] = 20) -> None:
    """The trial that runs, or else the last one, in figures; and the trials before it."""
    from db.repository import trials
    from flows.steps.trialling import report_of

    with workspace() as ws:
        with ws.database.read() as session:
            known = trials.history(session, limit=limit)
        if not known:
            console.print("There was no trial yet. Start one with `omniloop trials start`.")
            return
        tell(report_of(ws, known[0]))
    table = Table("trial", "version", "mode", "from (UTC)", "to (UTC)", "outcome")
    for row in known:
        table.add_row(
            str(row.id),
            f"v{row.version} against v{row.base_version}",
            f"{row.mode} {row.share:.1%}",
            f"{row.started_at:%Y-%m-%d %H:%M:%S}",
            f"{row.ended_at:%Y-%m-%d %H:%M:%S}" if row.ended_at else "–",
            f"{row.outcome or 'running'}, by {row.ended_by or row.started_by}",
        )
    show_table(table)


@app.command("judge")
def judge() -> None:
    """Judge the trial that runs by the feedback there is, once. The pulse of `omniloop up` does it all the time.

    `omniloop serve` alone judges nothing. A verdict ends the trial and moves its version as OMNI_LOOP__PROMOTION says.
    """
    from flows.steps.trialling import judge_trial

    with workspace() as ws:
        report = judge_trial(ws)
    if report is None:
        console.print("No trial runs. Start one with `omniloop trials start`.")
        return
    tell(report)


@app.command("stop")
def stop(why: Why, who: Who = "") -> None:
    """End the trial that runs. Its version stays what it is, and its pairs are kept."""
    from db.repository import trials

    with workspace() as ws, ws.database.write() as session:
        trial = trials.end(session, who=who or person(), outcome="stopped", why=why, now=ws.clock())
    console.print(f"The trial of v{trial.version} is stopped.", highlight=False)


def tell(report: "TrialReport") -> None:
    """Print a trial's figures."""
    trial, state, both = report.trial, report.state, report.agreement
    new, old = f"v{trial.version}", f"v{trial.base_version}"
    console.print(f"{new} against {old}: {trial.outcome or 'running'}.", highlight=False)
    if both.share is None:
        console.print("No request was answered by both yet.", highlight=False)
    else:
        console.print(
            f"Both answered {both.num_both:,} requests and agreed on {both.share:.1%}; "
            f"mean latency {new} {seconds(both.new_latency_s)}, {old} {seconds(both.old_latency_s)}.",
            highlight=False,
        )
    if state.num_pairs:
        console.print(
            f"{state.num_pairs:,} of them have feedback that is judged: {new} was right on {state.new_accuracy:.1%}, "
            f"{old} on {state.old_accuracy:.1%} ({state.num_lost} lost, {state.num_won} won); "
            f"verdict: {state.verdict}.",
            highlight=False,
        )
    if report.num_waiting:
        console.print(
            f"{report.num_waiting:,} have feedback that nobody has judged yet; "
            "`omniloop up` does, or `omniloop trials judge`.",
            highlight=False,
        )
    elif not state.num_pairs:
        console.print("None of them has feedback yet.", highlight=False)


def seconds(value: float | None) -> str:
    """A time as a person reads it.

    >>> seconds(0.0123), seconds(None)
    ('12.3 ms', 'unknown')
    """
    return "unknown" if value is None else f"{value * 1000:.1f} ms"
