"""Rules, baselines and the watch: check a file, replay it over the record, evaluate now, capture a baseline."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from flows.cli.common import console, errors, person, show_table, workspace

app = typer.Typer(help="Rules that raise alerts.", no_args_is_help=True)
File = Annotated[Path | None, typer.Argument(help="File of rules; default: the one in force.")]


def register(main: typer.Typer) -> None:
    """Add the commands to the application."""
    main.add_typer(app, name="rules")
    main.command()(watch)
    main.command()(baseline)


@app.command()
def check(file: File = None) -> None:
    """Tell every fault of a file of rules, or that it has none; exit code 1 for a file that cannot be used."""
    from flows.steps.ruling import read_rules

    with workspace() as ws:
        rules = read_rules(ws, None if file is None else str(file))
    silent = sum(rule.receivers == () for rule in rules.rules)
    console.print(
        f"{len(rules.rules)} rules, {len(rules.inhibitions)} inhibitions; {silent} are shown only and tell nobody.",
        highlight=False,
    )


@app.command("default")
def default() -> None:
    """Print the rules that come with the program, to begin a file of one's own with."""
    from monitoring.alerting.reading import default_text

    typer.echo(default_text(), nl=False)


@app.command("where")
def where() -> None:
    """Say which rules are in force."""
    from flows.steps.ruling import text_in_force

    with workspace() as ws:
        found = text_in_force(ws)
    console.print(f"In force: {found.where} (digest {found.digest[:12]}).", highlight=False, markup=False)


@app.command("save")
def save(
    file: Annotated[Path, typer.Argument(help="File of rules to put in force.")],
    why: Annotated[str, typer.Option(help="The reason, for the audit trail.")],
) -> None:
    """Check a file of rules and put it in force; a running pulse takes it up at its next turn."""
    from flows.steps.ruling import save_rules

    with workspace() as ws:
        place = save_rules(ws, file.read_text(encoding="utf-8"), who=person(), why=why)
    console.print(f"In force: {place}.", highlight=False, markup=False)


@app.command("reset")
def reset(why: Annotated[str, typer.Option(help="The reason, for the audit trail.")]) -> None:
    """Put the rules that come with the program in force again."""
    from flows.steps.ruling import reset_rules

    with workspace() as ws:
        was_changed = reset_rules(ws, who=person(), why=why)
    said = "In force: the rules that come with the program." if was_changed else "They are in force already."
    console.print(said, highlight=False)


@app.command("list")
def list_rules(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Show where every rule stands."""
    from db.repository import rule_states

    with workspace() as ws, ws.database.read() as session:
        states = rule_states.all_states(session).values()
    rows = [
        {
            "rule": state.rule,
            "slice": " ".join(f"{label}={value}" for label, value in state.labels.items()) or "all",
            "state": state.state,
            "since": state.since.isoformat(timespec="seconds"),
            "why": state.memory["last"]["why"],
        }
        for state in sorted(states, key=lambda state: (state.rule, str(state.labels)))
    ]
    if as_json:
        typer.echo(json.dumps(rows))
        return
    _show(rows, "No rule has been evaluated yet. `omniloop watch` does it now; `omniloop up` does it every minute.")


@app.command("backtest")
def backtest(
    file: File = None,
    last: Annotated[str, typer.Option(help="How far to look back, such as 12h or 7d.")] = "7d",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Replay rules over the recorded measurements: how often would each have fired? Nothing is moved or told."""
    from flows.steps.replaying import replay_rules, since_of
    from flows.steps.ruling import read_rules
    from monitoring.alerting.reading import duration

    with workspace() as ws:
        rules = read_rules(ws, None if file is None else str(file))
        found = replay_rules(ws, rules, since=since_of(ws, duration(last)))
    rows: list[dict[str, object]] = [
        {
            "rule": entry.rule.name,
            "slice": entry.slice,
            "evaluations": entry.result.num_evaluations,
            "without data": entry.result.num_no_data,
            "fired": len(entry.result.episodes),
            "last": entry.result.episodes[-1].fired_at.isoformat(timespec="seconds") if entry.result.episodes else "",
            "note": f"replayed on a window of {entry.windows_s[0]:.0f} s" if entry.windows_s else "",
        }
        for entry in found
    ]
    if as_json:
        typer.echo(json.dumps(rows))
        return
    _show(rows, "Nothing was recorded in that time. The pulse of `omniloop up` measures every minute.")
    seen = {entry.rule.name for entry in found}
    if unseen := [rule.name for rule in rules.rules if rule.name not in seen]:
        errors.print(f"No record to replay: {', '.join(unseen)}.", highlight=False, markup=False)


def watch(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Measure and evaluate the rules now, as the pulse does every minute; leaves the notices that are due."""
    from flows.steps.probing import probe
    from flows.steps.ruling import read_rules
    from flows.steps.watching_rules import watch_rules

    with workspace() as ws:
        rules = read_rules(ws)
        probe(ws)
        judged = watch_rules(ws, rules)
    rows: list[dict[str, object]] = [
        {
            "rule": entry.rule.name,
            "slice": " ".join(f"{label}={value}" for label, value in entry.labels.items()) or "all",
            "found": entry.evaluation.status.replace("_", " "),
            "state": entry.state.state.replace("_", " "),
            "why": entry.evaluation.why,
        }
        for entry in judged
    ]
    if as_json:
        typer.echo(json.dumps(rows))
        return
    _show(rows, "There are no rules.")


def baseline(
    why: Annotated[str, typer.Option(help="Why it is captured again; needed to capture one.")] = "",
    who: Annotated[str, typer.Option(help="Who says so.")] = "",
) -> None:
    """Show the baseline in force; with --why, capture a new one of the version in service."""
    from flows.steps.capturing import capture
    from flows.steps.known import baseline_in_force

    with workspace() as ws:
        if why:
            capture(ws, who=who or person(), why=why)
        with ws.database.read() as session:
            known = baseline_in_force(session)
    rows: list[dict[str, object]] = [
        {
            "metric": metric,
            "slice": slice_,
            "value": f"{entry['value']:.4g}",
            "spread": "" if entry.get("spread") is None else f"{entry['spread']:.2g}",
            "samples": entry["num_samples"],
            "of": f"v{entry['version']}",
        }
        for slice_, of_slice in known.metrics.items()
        for metric, entry in of_slice.items()
    ]
    _show(rows, "There is no baseline yet. One is captured when a version is accepted, or with --why.")


def _show(rows: "list[dict[str, object]] | list[dict[str, str]]", nothing: str) -> None:
    if not rows:
        console.print(nothing, highlight=False)
        return
    table = Table(*rows[0], box=None)
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    show_table(table)
