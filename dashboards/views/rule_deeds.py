"""What admins do about rules: check a draft, put it in force, go back to the program's own."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from dashboards import drafts
from dashboards.pages import Action, Form
from dashboards.problems import Problem
from dashboards.site import Deed, Done
from dashboards.views.rules import in_force
from db.errors import IllegalMove
from db.repository import audit
from monitoring.alerting import rule_file


class DraftForm(Form):
    """A text to check."""

    text: str = Field(max_length=rule_file.MOST_BYTES)
    last: Literal["6h", "24h", "7d", "30d"] = "24h"
    then: Literal["check", "replay"] = "check"

    @field_validator("text")
    @classmethod
    def _clean(cls, text: str) -> str:
        return rule_file.cleaned(text)


class SaveForm(Form):
    """A draft to put in force."""

    draft: str = Field(max_length=64)
    seen: str = Field(max_length=64)
    """Digest of the text that was in force when the page was shown."""
    why: str = Field(min_length=1, max_length=300)


class ResetForm(Form):
    """Back to the program's own."""

    seen: str = Field(max_length=64)
    why: str = Field(min_length=1, max_length=300)


def draft(deed: Deed, form: DraftForm) -> Done:
    """Keep the text and show what is to be said of it; nothing is in force by that."""
    digest = drafts.keep(deed.site, form.text)
    more = "&replay=true" if form.then == "replay" else ""
    return Done(message="", to=f"/rules/edit?draft={digest}&last={form.last}{more}")


def save(deed: Deed, form: SaveForm) -> Done:
    """Put a draft without faults in force."""
    text = drafts.read(deed.site, form.draft)
    found, faults = drafts.checked(deed.site, text)
    if found is None:
        raise Problem(422, "The rules have faults: " + " ".join(fault.text for fault in faults))
    _change(deed, form.seen, "saved", form.why, text=text, num_rules=len(found.rules))
    return Done(message=f"{len(found.rules)} rules are in force from the next turn of the watch on.", to="/rules")


def reset(deed: Deed, form: ResetForm) -> Done:
    """Put the program's own rules in force."""
    _change(deed, form.seen, "reset", form.why, text=None, num_rules=0)
    return Done(
        message="The rules that come with the program are in force from the next turn of the watch on.", to="/rules"
    )


def _change(deed: Deed, seen: str, action: str, why: str, *, text: str | None, num_rules: int) -> None:
    """Write the line and change the file, both while nobody else can; the text before is kept as a blob."""
    site = deed.site
    with site.database.write() as session:
        before = in_force(site)
        if before.is_named:
            raise IllegalMove(f"The rules are in {before.where}. Change that file.")
        if before.digest != seen:
            raise IllegalMove("The rules were changed since this page was shown. Look at them again and decide anew.")
        earlier = site.blobs.put(before.text.encode())
        after = "" if text is None else site.blobs.put(text.encode())
        numbers: dict[str, Any] = {"before": earlier, "after": after, "num_rules": num_rules}
        audit.add(
            session,
            who=deed.person.name,
            action=action,
            subject="rules",
            subject_id=rule_file.NAME,
            why=why,
            numbers=numbers,
            now=deed.now,
        )
        if text is None:
            rule_file.reset(site.wiring.home)
        else:
            rule_file.save(site.wiring.home, text)


PARTS = (
    Action(path="/rules/draft", role="admin", form=DraftForm, do=draft),
    Action(path="/rules/save", role="admin", form=SaveForm, do=save),
    Action(path="/rules/reset", role="admin", form=ResetForm, do=reset),
)
