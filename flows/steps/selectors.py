"""How a version chooses modalities: measured and fitted once, kept with it, read by whoever serves it."""

from db.repository import artefacts
from flows.workspace import Workspace
from omni_model.msn.selector import MeasuredSelector, selector_from

KIND = "msn"


def selector_of(ws: Workspace, version: int) -> MeasuredSelector | None:
    """The version's own selector, or None if none was fitted yet. Raises `BlobError` if its bytes cannot be read."""
    with ws.database.read() as session:
        found = artefacts.newest(session, version, KIND)
    return None if found is None else selector_from(ws.blobs.get(found.digest))
