"""Evaluate the rules now, as a Prefect flow of its own; the pulse does the same every minute."""

from typing import Any

from prefect import flow

from flows.steps.ruling import read_rules
from flows.steps.watching_rules import watch_rules
from flows.tracing import traced
from flows.workspace import current


@flow(name="watch", persist_result=False)
def watch() -> dict[str, Any]:
    """Measure, ask recent samples again, hold everything to the rules, and leave the notices that are due."""
    from flows.steps.probing import probe

    with current() as ws, traced(ws.settings.tracing, "watch"):
        rules = read_rules(ws)
        num_probed = probe(ws)
        judged = watch_rules(ws, rules)
        return {
            "num_probed": num_probed,
            "rules": len(rules.rules),
            "states": {state: sum(entry.state.state == state for entry in judged) for state in ("firing", "pending")},
            "no_data": sum(entry.evaluation.status == "no_data" for entry in judged),
            "firing": [
                {"rule": entry.rule.name, "labels": entry.labels, "why": entry.evaluation.why}
                for entry in judged
                if entry.state.state == "firing"
            ],
        }
