"""All pages, actions and files, by the part of the menu that they belong to."""

from __future__ import annotations

from dashboards.pages import Action, File, Page
from dashboards.views import audit

PARTS: tuple[Page | Action | File, ...] = (*audit.PARTS,)
