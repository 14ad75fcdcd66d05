"""All pages, actions and files, by the part of the menu that they belong to."""

from __future__ import annotations

from dashboards.pages import Action, File, Page
from dashboards.views import (
    audit,
    compare,
    data,
    data_sample,
    deciding,
    keys_page,
    label_studio,
    labelling,
    labels,
    labels_contested,
    media,
    monitoring,
    overview,
    people,
    round,
    round_curves,
    rounds,
    series,
    settings,
    version,
    versions,
)

PARTS: tuple[Page | Action | File, ...] = (
    *audit.PARTS,
    *media.PARTS,
    *overview.PARTS,
    *series.PARTS,
    *monitoring.PARTS,
    *versions.PARTS,
    *version.PARTS,
    *compare.PARTS,
    *deciding.PARTS,
    *labels.PARTS,
    *labels_contested.PARTS,
    *labelling.PARTS,
    *data.PARTS,
    *data_sample.PARTS,
    *settings.PARTS,
    *people.PARTS,
    *keys_page.PARTS,
    *rounds.PARTS,
    *round.PARTS,
    *round_curves.PARTS,
    *label_studio.PARTS,
)
