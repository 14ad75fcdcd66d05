"""Two versions beside each other: their metrics with intervals, and the samples that they answer differently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, Field

from dashboards.asked import RowNumber
from dashboards.evidence import (
    KINDS,
    Change,
    Sheet,
    change_of,
    compared,
    differing,
    joined,
    named,
    read_comparisons,
    sheet_of,
)
from dashboards.pages import Page
from dashboards.samples import ShownSample, shown
from dashboards.site import Visit
from db.errors import NotFound
from db.records import Agreement, Release, Round, Task
from db.repository import mirrors, rounds, samples, tasks, versions
from monitoring.comparison import Comparison
from monitoring.config import EVERYTHING
from monitoring.outcomes import PairedOutcomes

PER_PAGE = 10


class Which(BaseModel):
    """The two, and which differences to show."""

    old: RowNumber
    new: RowNumber
    kind: Literal["all", "lost", "won", "both"] = "all"
    page: int = Field(default=1, ge=1, le=1_000_000)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A sample that the two answered differently."""

    id: str
    sample: ShownSample | None
    """None if it has been deleted since."""
    old_answer: str
    new_answer: str
    label: str
    """The right answer when they were validated."""
    who: str
    """`old` or `new`: who was right; `neither`; empty without a label."""


@dataclass(frozen=True, kw_only=True)
class Beside:
    """Everything on the page."""

    old: Release
    new: Release
    asked: Which
    how: str
    """`together` (one validation), `apart` (two validations, common samples) or `not`."""
    note: str
    """What the numbers rest on, in words."""
    overall: list[Change] = field(default_factory=list)
    slices: list[Change] = field(default_factory=list)
    counts: Mapping[str, int] = field(default_factory=dict)
    """Differences of each kind."""
    num_common: int = 0
    differences: list[Difference] = field(default_factory=list)
    num_pages: int = 0
    live: Agreement
    """Of the live requests that both answered, in trials and probations."""


def beside(visit: Visit, asked: Which) -> Beside:
    """The two versions, on whatever both were held to. `ValueError` for a version and itself."""
    if asked.old == asked.new:
        raise ValueError(f"v{asked.old} is the same as itself. Choose two different versions.")
    session, site = visit.session, visit.site
    found = {release.version: release for release in versions.get_releases(session, [asked.old, asked.new])}
    for version in (asked.old, asked.new):
        if version not in found:
            raise NotFound(f"There is no version {version}. Find the others on the page of versions.")
    known = rounds.with_evidence(session, [asked.old, asked.new])
    old, new, how, note = found[asked.old], found[asked.new], "not", ""
    paired: PairedOutcomes | None = None
    names: tuple[str, ...] = ()
    rows: list[Comparison] = []
    try:
        direct = together(known, asked.old, asked.new)
        all_tasks = tasks.list_tasks(session)
        if direct is not None:
            old, new = found[against_of(direct)], found[made_by(direct)]
            sheet = sheet_of(site, direct, new.version, all_tasks, is_new=True)
            paired, names, how = sheet.outcomes, sheet.names, "together"
            rows = read_comparisons(site, direct.outputs["validated"]["comparisons"])
            note = f"v{new.version} was validated against v{old.version} on the same samples, in round {direct.id}."
        else:
            sheets = [sheet_for(visit, known, version, all_tasks) for version in (asked.old, asked.new)]
            paired, names, how = joined(*sheets), max(sheets, key=lambda each: len(each.names)).names, "apart"
            rows = compared(paired)
            note = (
                "They were validated apart. The numbers are of the samples that both answered; times are left out, "
                "since they were not taken side by side."
            )
    except ValueError as error:
        note = f"They cannot be compared sample by sample: {error}"
    told = Beside(
        old=old, new=new, asked=asked, how=how, note=note, live=mirrors.agreement(session, new.version, old.version)
    )
    return told if paired is None else filled(visit, told, paired, names, rows)


def filled(
    visit: Visit, told: Beside, paired: PairedOutcomes, names: Sequence[str], rows: Sequence[Comparison]
) -> Beside:
    """With the numbers, and one page of the differences."""
    places = {kind: differing(paired, kind) for kind in KINDS}
    chosen = places[told.asked.kind]
    start = (told.asked.page - 1) * PER_PAGE
    rows_here = chosen[start : start + PER_PAGE].tolist()
    ids = [str(paired.ids[row]) for row in rows_here]
    by_id = {each.id: each for each in shown(visit.site, samples.get(visit.session, ids))}
    return Beside(
        old=told.old,
        new=told.new,
        asked=told.asked,
        how=told.how,
        note=told.note,
        live=told.live,
        overall=[change_of(row) for row in rows if row.slice == EVERYTHING and row.num_samples],
        slices=[
            change_of(row) for row in rows if row.slice != EVERYTHING and row.metric == "accuracy" and row.num_samples
        ],
        counts={kind: len(found) for kind, found in places.items()},
        num_common=len(paired),
        differences=[difference(paired, row, names, by_id.get(str(paired.ids[row]))) for row in rows_here],
        num_pages=-(-len(chosen) // PER_PAGE),
    )


def difference(paired: PairedOutcomes, row: int, names: Sequence[str], sample: ShownSample | None) -> Difference:
    """One row in words."""
    old, new, target = (int(column[row]) for column in (paired.old.answer, paired.new.answer, paired.target))
    who = "" if target < 0 else "old" if old == target else "new" if new == target else "neither"
    return Difference(
        id=str(paired.ids[row]),
        sample=sample,
        old_answer=named(names, old),
        new_answer=named(names, new),
        label=named(names, target),
        who=who,
    )


def together(known: Sequence[Round], old: int, new: int) -> Round | None:
    """The round in which one of the two was validated against the other."""
    return next((each for each in known if {made_by(each), against_of(each)} == {old, new}), None)


def sheet_for(visit: Visit, known: Sequence[Round], version: int, all_tasks: Sequence[Task]) -> Sheet:
    """What a version answered when it was validated, or else when another was validated against it. `ValueError`."""
    for is_new, side in ((True, made_by), (False, against_of)):
        for each in known:
            if side(each) == version:
                return sheet_of(visit.site, each, version, all_tasks, is_new=is_new)
    raise ValueError(f"nothing is kept of what v{version} answered at a validation.")


def made_by(round_: Round) -> int:
    """The version that a round made; 0 for none."""
    return int(round_.outputs.get("registered", {}).get("version") or 0)


def against_of(round_: Round) -> int:
    """The version that a round's candidate was held against; 0 for none."""
    return int(round_.outputs.get("validated", {}).get("against") or 0)


PARTS = (Page(path="/compare", title="Compare", template="compare.html", build=beside, asks=Which, entry="/versions"),)
