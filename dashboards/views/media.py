"""The bytes of a sample: a picture to look at, a sound to hear. Only what the sample's own row names is given out."""

from __future__ import annotations

from pydantic import BaseModel
from starlette.responses import Response

from dashboards.pages import File
from dashboards.problems import Problem
from dashboards.samples import OCTETS, type_of
from dashboards.site import Visit
from db.repository import samples

POLICY = "default-src 'none'; img-src 'self'; media-src 'self'; sandbox"
"""Whatever the bytes are, they run nothing, even if somebody opens them on their own."""


class Medium(BaseModel):
    """One modality of one sample."""

    sample: str
    modality: str


def medium(visit: Visit, asked: Medium) -> Response:
    """The bytes as they were ingested. 404 for a sample or a modality that is not there."""
    found = samples.get(visit.session, [asked.sample])
    digest = found[0].inputs.get(asked.modality) if found else None
    if digest is None:
        raise Problem(404, f"There is no {asked.modality[:60]!r} of a sample {asked.sample[:200]!r}. Look at its page.")
    data = visit.site.blobs.get(digest)
    kind = type_of(data, asked.modality)
    headers = {
        "Content-Security-Policy": POLICY,
        "Cache-Control": "private, max-age=3600",
        "Content-Disposition": "attachment" if kind == OCTETS else "inline",
    }
    return Response(data, media_type=kind, headers=headers)


PARTS = (File(path="/media", fetch=medium, asks=Medium),)
