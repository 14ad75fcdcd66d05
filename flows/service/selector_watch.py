"""Brings the selectors of the versions in memory along, also one that is fitted while its version serves."""

import logging

from sqlalchemy.orm import Session

from db.records.artefacts import MSN
from db.repository import artefacts
from flows.steps.selectors import selector_of
from flows.workspace import Workspace
from omni_model.msn.choice import Selector
from omni_model.serve.engine import Engine

logger = logging.getLogger(__name__)


class SelectorWatch:
    """Compares the newest selector of each version by its id with the one that the engine has."""

    def __init__(self, ws: Workspace, engine: Engine) -> None:
        self._ws, self._engine = ws, engine
        self._known: dict[int, int | None] = {}

    def newest(self, session: Session, *versions: int | None) -> dict[int, int | None]:
        """The id of each version's selector in the database; None for a version without one."""
        found = {}
        for version in versions:
            if version is not None:
                artefact = artefacts.newest(session, version, MSN)
                found[version] = None if artefact is None else artefact.id
        return found

    def follow(self, newest: dict[int, int | None]) -> None:
        """Give the engine what is new."""
        for version, id_ in newest.items():
            if self._known.get(version) != id_:
                self._engine.set_selector(version, self.load(version))
                logger.info("v%d chooses modalities by selector %s", version, id_)
        self._known = dict(newest)

    def load(self, version: int) -> Selector | None:
        """The selector of a version; None, and the reason in the log, for one that cannot be read: the fixed rules then
        choose, and the version serves all the same.
        """
        try:
            return selector_of(self._ws, version)
        except Exception:
            logger.exception("the selector of v%d cannot be used", version)
            return None
