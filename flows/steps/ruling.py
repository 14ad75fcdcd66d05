"""The rules in force: read anew at each turn of the watch, and saved with a line in the audit trail."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from db.repository import audit
from flows.workspace import Workspace
from monitoring.alerting import rule_file
from monitoring.alerting.rule import RuleSet
from monitoring.alerting.rule_file import InForce


def read_rules(ws: Workspace, path: str | None = None) -> RuleSet:
    """The rules of `path`, or those in force. `RulesError` names the file and every fault in it."""
    return text_in_force(ws, path).rules(ws.settings.notify.names)


def text_in_force(ws: Workspace, path: str | None = None) -> InForce:
    """The text of `path`, or that in force: of the settings' file, else of the home's, else the program's own."""
    return rule_file.in_force(ws.home, ws.settings.alerting.rules if path is None else path)


def save_rules(ws: Workspace, text: str, *, who: str, why: str) -> Path:
    """Check a text and put it in force; the text before is kept as a blob. `ValueError` where settings name a file."""
    text = rule_file.cleaned(text)
    rules = InForce(text=text, path=None, is_named=False).rules(ws.settings.notify.names)
    with _changing(ws, "saved", who, why, num_rules=len(rules.rules), text=text):
        return rule_file.save(ws.home, text)


def reset_rules(ws: Workspace, *, who: str, why: str) -> bool:
    """Put the program's own rules in force again; False if they are already."""
    if text_in_force(ws).path is None:
        return False
    with _changing(ws, "reset", who, why, num_rules=0, text=""):
        return rule_file.reset(ws.home)


@contextmanager
def _changing(ws: Workspace, action: str, who: str, why: str, *, num_rules: int, text: str) -> Iterator[None]:
    """The line in the trail and the file in one transaction: a file that cannot be changed leaves no line."""
    with ws.database.write() as session:
        before = text_in_force(ws)
        if before.is_named:
            raise ValueError(f"The rules are in {before.where}. Change that file.")
        after = ws.blobs.put(text.encode()) if text else ""
        numbers = {"before": ws.blobs.put(before.text.encode()), "after": after, "num_rules": num_rules}
        audit.add(
            session,
            who=who,
            action=action,
            subject="rules",
            subject_id=rule_file.NAME,
            why=why,
            numbers=numbers,
            now=ws.clock(),
        )
        yield
