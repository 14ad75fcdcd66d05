"""What may be done with a version now, what it would do, and why what may not be done may not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dashboards.site import Person
from db.records import Release, Serving, Trial
from db.releases import State, is_allowed
from db.repository.checks import hindrance, same_person
from db.repository.trials import TRIABLE


@dataclass(frozen=True, kw_only=True)
class Offer:
    """One button, or the reason why there is none."""

    id: str
    """The last part of the action's address, too."""
    label: str
    kind: str
    """`primary`, `danger` or nothing."""
    effect: str
    """What will happen, in one or two sentences."""
    why_not: str
    """Why it cannot be done now; empty if it can."""
    seen: str
    """What the page showed; the action is refused if it is not so any more."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A version among the others, as far as its next move depends on them."""

    release: Release
    serving: Serving
    around: Mapping[int, Release]
    trial: Trial | None
    """The trial that runs, of whichever version."""
    is_tainted: bool
    """Its round is in quarantine."""
    asked_by: Sequence[str] = ()
    """Who may not approve it, having asked for its round."""

    @property
    def seen(self) -> str:
        """What a decision about it rests on."""
        return token(self.release, self.serving)

    @property
    def accepted(self) -> list[Release]:
        """Those accepted last, the newest first."""
        found = [row for row in self.around.values() if row.state == "accepted" and row.generation is not None]
        return sorted(found, key=lambda row: -(row.generation or 0))


def token(release: Release, serving: Serving) -> str:
    """The state of a version and the generation of what serves: together they say whether a page is out of date."""
    return f"{release.state}:{serving.generation}"


def offers(standing: Standing, person: Person) -> list[Offer]:
    """What this person may do, in the order in which it is wanted; what the state never allows is left out."""
    found = []
    state = standing.release.state
    if person.may("approver"):
        if state in TRIABLE:
            found += [_approve(standing, person), _reject(standing)]
        if state == "probation":
            found.append(_accept(standing))
        if state in ("probation", "accepted"):
            found.append(_rollback(standing))
    if person.may("operator"):
        is_own = standing.trial is not None and standing.trial.version == standing.release.version
        if is_own:
            found.append(_stop(standing))
        elif state in TRIABLE:
            found += [_trial(standing, "canary"), _trial(standing, "shadow")]
    return found


def _approve(standing: Standing, person: Person) -> Offer:
    version, serving = standing.release.version, standing.serving.version
    if serving is None or not standing.accepted:
        effect = (
            f"v{version} becomes the first version in service, within about a second. Nothing can be rolled back to."
        )
    else:
        effect = (
            f"v{version} will answer all requests within about a second, on probation; v{serving} stays warm and "
            f"answers again if v{version} turns out worse on the same requests."
        )
    parent = standing.around.get(standing.release.parent_version or 0)
    blocked = _blocked(standing, "probation") or hindrance(
        standing.release,
        on_probation=next((row for row in standing.around.values() if row.state == "probation"), None),
        parent=parent,
        newest=standing.accepted[0] if standing.accepted else None,
        is_tainted=standing.is_tainted,
    )
    if not blocked and person.name in standing.asked_by:
        blocked = same_person(standing.release, person.name)
    return _offer(standing, "approve", "Approve", "primary", effect, blocked)


def _reject(standing: Standing) -> Offer:
    version = standing.release.version
    effect = (
        f"v{version} is refused for good and never serves. Its round and the labels that the round asked for are set "
        "aside; nothing learns from them until an admin lifts the quarantine."
    )
    return _offer(standing, "reject", "Reject", "danger", effect, _blocked(standing, "rejected"))


def _accept(standing: Standing) -> Offer:
    version = standing.release.version
    effect = f"The probation of v{version} ends now, by your word instead of the test's. It stays in service."
    return _offer(standing, "accept", "End the probation well", "primary", effect, _blocked(standing, "accepted"))


def _rollback(standing: Standing) -> Offer:
    version = standing.release.version
    target = next((row for row in standing.accepted if row.version != version), None)
    blocked = _blocked(standing, "rolled_back")
    if not blocked and standing.serving.version != version:
        blocked = f"v{version} is not in service; v{standing.serving.version} is."
    if not blocked and target is None:
        blocked = "There is no other accepted version to return to."
    effect = (
        ""
        if target is None
        else (
            f"v{target.version} will answer all requests within about a second. v{version} never serves again; "
            "its round and the labels that the round asked for are set aside."
        )
    )
    return _offer(standing, "rollback", "Roll back", "danger", effect, blocked)


def _trial(standing: Standing, mode: str) -> Offer:
    version, serving, trial = standing.release.version, standing.serving.version, standing.trial
    blocked = ""
    if serving is None:
        blocked = "No version is in service to try it against."
    elif trial is not None:
        blocked = f"v{trial.version} is on trial; one version is at a time."
    told = {
        "canary": f"v{version} will answer the share of requests that you choose, and whoever sends them sees its "
        f"answers; v{serving} answers the rest. Both are asked for those of the share, so that they can be compared.",
        "shadow": f"v{version} is asked a copy of the share of requests that you choose, and nobody is told its "
        f"answers; v{serving} goes on answering everything.",
    }
    return _offer(standing, mode, f"Start a {mode}", "", told[mode], blocked)


def _stop(standing: Standing) -> Offer:
    trial = standing.trial
    assert trial is not None
    effect = (
        f"v{trial.base_version} answers all requests again. v{trial.version} stays what it is, and the pairs are kept."
    )
    return Offer(
        id="stop", label=f"Stop the {trial.mode}", kind="", effect=effect, why_not="", seen=f"trial {trial.id}"
    )


def _blocked(standing: Standing, target: State) -> str:
    release = standing.release
    return "" if is_allowed(release.state, target) else f"v{release.version} is {release.state.replace('_', ' ')}."


def _offer(standing: Standing, id_: str, label: str, kind: str, effect: str, why_not: str) -> Offer:
    return Offer(id=id_, label=label, kind=kind, effect=effect, why_not=why_not, seen=standing.seen)
