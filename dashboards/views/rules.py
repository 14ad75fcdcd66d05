"""Rules: where each stands, who changed them, and for admins an editor that checks and replays before it saves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from pydantic import BaseModel, Field
from starlette.responses import Response

from dashboards import drafts
from dashboards.drafts import Fault, Fired
from dashboards.pages import File, Nothing, Page
from dashboards.problems import Problem
from dashboards.rendering import duration
from dashboards.site import Site, Visit
from db.records import AuditEntry, RuleState
from db.repository import audit, rule_states
from monitoring.alerting import rule_file
from monitoring.alerting.rule import Rule
from monitoring.alerting.rule_file import InForce

SPANS = {"6h": timedelta(hours=6), "24h": timedelta(days=1), "7d": timedelta(days=7), "30d": timedelta(days=30)}


class Edited(BaseModel):
    """Which text to edit, and how far to look back."""

    draft: str = Field(default="", max_length=64)
    """Digest of a draft; empty: the text in force."""
    last: Literal["6h", "24h", "7d", "30d"] = "24h"
    replay: bool = False


class Text(BaseModel):
    """Which text."""

    digest: str = Field(pattern="^[0-9a-f]{64}$")


@dataclass(frozen=True, kw_only=True)
class Ruled:
    """One rule and where it stands."""

    rule: Rule
    limit: str
    """In words."""
    states: list[RuleState]
    worst: str


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The page."""

    rules: list[Ruled]
    fault: str
    where: str
    is_named: bool
    is_default: bool
    digest: str
    history: list[AuditEntry]


@dataclass(frozen=True, kw_only=True)
class Editor:
    """The editor."""

    text: str
    draft: str
    """Digest of the draft; empty while nothing was checked."""
    is_checked: bool
    faults: list[Fault]
    num_rules: int
    fired: list[Fired] | None
    """None: it was not replayed."""
    unseen: list[str]
    """Rules that there is no record for."""
    seen: str
    """Digest of the text in force."""
    where: str
    is_named: bool
    spans: list[str]
    asked: Edited


def overview(visit: Visit, asked: Nothing) -> Rules:
    """Every rule in force."""
    now_ = in_force(visit.site)
    found, faults = drafts.checked(visit.site, now_.text)
    states: dict[str, list[RuleState]] = {}
    for state in rule_states.all_states(visit.session).values():
        states.setdefault(state.rule, []).append(state)
    return Rules(
        rules=[
            Ruled(
                rule=rule,
                limit=limit_of(rule),
                states=states.get(rule.name, []),
                worst=worst(states.get(rule.name, [])),
            )
            for rule in (found.rules if found else ())
        ],
        fault="\n".join(fault.text for fault in faults),
        where=now_.where,
        is_named=now_.is_named,
        is_default=now_.path is None,
        digest=now_.digest,
        history=audit.newest(visit.session, subject="rules", limit=20),
    )


def editor(visit: Visit, asked: Edited) -> Editor:
    """A text of rules with what is wrong with it, or with what it would have done."""
    now_ = in_force(visit.site)
    text = drafts.read(visit.site, asked.draft) if asked.draft else now_.text
    found, faults = drafts.checked(visit.site, text)
    fired = drafts.tried(visit, found, SPANS[asked.last]) if found and asked.draft and asked.replay else None
    seen = {entry.rule for entry in fired or ()}
    return Editor(
        text=text,
        draft=asked.draft,
        is_checked=bool(asked.draft),
        faults=faults,
        num_rules=len(found.rules) if found else 0,
        fired=fired,
        unseen=[rule.name for rule in found.rules if rule.name not in seen] if found and fired is not None else [],
        seen=now_.digest,
        where=now_.where,
        is_named=now_.is_named,
        spans=list(SPANS),
        asked=asked,
    )


def in_force(site: Site) -> InForce:
    """The text in force; a `Problem` for a named file that cannot be read."""
    named = str(site.wiring.alerting.get("rules") or "")
    try:
        return rule_file.in_force(site.wiring.home, named)
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(503, f"The rules cannot be read: {error}. Mend the file or OMNI_ALERTING__RULES.") from error


def earlier(visit: Visit, asked: Text) -> Response:
    """A text that was in force, as the audit trail names it; nothing else of the blob store."""
    lines = audit.newest(visit.session, subject="rules", limit=500)
    if asked.digest not in {line.numbers.get(name) for line in lines for name in ("before", "after")}:
        raise Problem(404, "No change of the rules names that text.")
    headers = {"Content-Disposition": f'attachment; filename="rules-{asked.digest[:12]}.yaml"'}
    text = visit.site.blobs.get(asked.digest)
    return Response(text, media_type="text/plain; charset=utf-8", headers=headers)


def worst(states: list[RuleState]) -> str:
    """The state of a rule over its slices: the one that wants a look first; `no_data` before it was ever evaluated."""
    order = ("firing", "pending", "no_data", "inactive")
    found = {state.state for state in states}
    return next((name for name in order if name in found), "no_data")


def limit_of(rule: Rule) -> str:
    """A bound in words.

    >>> from monitoring.alerting.rule import Bound
    >>> limit_of(Rule(name="x", metric="latency_p95", bound=Bound(kind="relative", side="upper", limit=0.15)))
    'more than 15 % above the baseline, for 2 min'
    """
    side = "above" if rule.bound.side == "upper" else "below"
    held = f", for {duration(rule.for_s)}" if rule.for_s else ""
    if rule.bound.kind == "relative":
        return f"more than {rule.bound.limit * 100:g} % {side} the baseline{held}"
    return f"{side} {rule.bound.limit:g}{held}"


PARTS = (
    Page(path="/rules", title="Rules", template="rules.html", build=overview, topics=("alerts", "audit")),
    Page(
        path="/rules/edit", title="Edit the rules", template="rules_edit.html", build=editor, asks=Edited, role="admin"
    ),
    File(path="/rules/text", fetch=earlier, asks=Text),
)
