"""The rules in force: those of the file that the settings name, else those that come with the program."""

from pathlib import Path

from flows.workspace import Workspace
from monitoring.alerting.reading import RulesError, default_text, parse_rules
from monitoring.alerting.rule import RuleSet


def read_rules(ws: Workspace, path: str | None = None) -> RuleSet:
    """The rules of `path`, or of the settings. `RulesError` names the file and every fault in it."""
    path = ws.settings.alerting.rules if path is None else path
    text = Path(path).expanduser().read_text(encoding="utf-8") if path else default_text()
    try:
        return parse_rules(text, receivers=ws.settings.notify.names)
    except RulesError as error:
        where = path or "the rules that come with the program"
        raise RulesError([f"{where}: {fault}" for fault in error.faults]) from error
