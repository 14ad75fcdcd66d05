"""Artefacts belong to a version; the newest of a kind counts."""

from __future__ import annotations

import pytest

from db.engine import Database
from db.errors import NotFound
from db.repository import artefacts
from tests.db.builders import NOW, candidate, later


def test_the_same_bytes_again_change_nothing(database: Database) -> None:
    with database.write() as session:
        version = candidate(session, "one").version
        first = artefacts.put(session, version, "msn", "d1", now=NOW, detail={"rules": 3})
        again = artefacts.put(session, version, "msn", "d1", now=later(5), detail={"rules": 4})
        assert again == first
        assert (first.detail, first.created_at) == ({"rules": 3}, NOW)
        assert artefacts.list_artefacts(session, version) == [first]


def test_the_newest_of_a_version_and_a_kind_counts(database: Database) -> None:
    with database.write() as session:
        one, two = candidate(session, "one").version, candidate(session, "two").version
        artefacts.put(session, one, "msn", "d1", now=NOW)
        newer = artefacts.put(session, one, "msn", "d2", now=NOW)
        edge = artefacts.put(session, one, "edge", "d1", now=NOW)
        assert artefacts.newest(session, one, "msn") == newer
        assert artefacts.newest(session, one, "edge") == edge
        assert artefacts.newest(session, two, "msn") is None
        assert [each.digest for each in artefacts.list_artefacts(session, one)] == ["d1", "d2", "d1"]


def test_an_artefact_needs_a_version_and_a_kind(database: Database) -> None:
    with database.write() as session:
        with pytest.raises(NotFound, match="no version 9"):
            artefacts.put(session, 9, "msn", "d1", now=NOW)
        with pytest.raises(ValueError, match="kind is empty"):
            artefacts.put(session, candidate(session, "one").version, "", "d1", now=NOW)
