"""All pages, actions and files, by the part of the menu that they belong to."""

from __future__ import annotations

from dashboards.pages import Action, File, Page
from dashboards.views import audit, labelling, labels, labels_contested, media

PARTS: tuple[Page | Action | File, ...] = (
    *audit.PARTS,
    *media.PARTS,
    *labels.PARTS,
    *labels_contested.PARTS,
    *labelling.PARTS,
)
