"""Any two versions on today's validation samples, without moving either."""

from db.repository import samples, versions
from flows.steps.models import load_release
from flows.steps.stored import load_labelled
from flows.steps.validating import outcomes
from flows.workspace import Workspace
from monitoring.comparison import Comparison, compare


def compare_versions(ws: Workspace, old: int, new: int) -> list[Comparison]:
    """Every metric of ``new`` against ``old``, paired on the labelled validation samples."""
    with ws.database.read() as session:
        releases = [versions.get_release(session, version) for version in (old, new)]
        labelled = samples.labelled(session, split="val")
    if not labelled:
        raise ValueError("No validation sample has a label, so nothing can be compared. Label some first.")
    models = [load_release(ws, release) for release in releases]
    paired, _ = outcomes(ws, models[0], models[1], load_labelled(ws, labelled), old, new)
    return compare(paired, seed=ws.settings.loop.seed)
