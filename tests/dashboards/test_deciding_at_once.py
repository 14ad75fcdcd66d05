"""Two operators at the same moment: one wins, the other is told, on both kinds of database."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from db.repository import audit, users, versions
from tests.dashboards import lived, places
from tests.dashboards.places import Place
from tests.db.servers import PostgresFactory

JSON = {"Accept": "application/json"}
ROUNDS = 3


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresFactory]:
    """One PostgreSQL server for the tests here."""
    factory = PostgresFactory()
    yield factory
    factory.stop()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A site with a version on probation and another that awaits approval, over each kind of database."""
    changes = {}
    if request.param == "postgresql":
        changes["database_url"] = request.getfixturevalue("server").migrated()
    place = places.made(tmp_path / "home", **changes)
    ids = lived.add_samples(place)
    lived.decided(place, lived.one_round(place, ids, base=None), "accepted", "first")
    lived.decided(place, lived.one_round(place, ids, base=1), "probation", "accept")
    with place.database.write() as session:
        users.add_user(session, "other", "approver", who="tests", now=place.clock())
    yield place
    place.database.close()


def press_at_once(place: Place, presses: list[tuple[str, str]]) -> list[tuple[int, str]]:
    """Each person presses a button, (path, what their page showed), at the same moment; returns (status, words)."""
    told: dict[int, tuple[int, str]] = {}
    ready = threading.Barrier(len(presses))

    def press(place_in_row: int, client: TestClient, path: str, seen: str) -> None:
        ready.wait(10)
        answer = client.post(path, data={"why": "at once", "seen": seen}, headers=JSON)
        told[place_in_row] = (answer.status_code, answer.json()["message"])

    with place.as_("approver") as first, place.as_("admin") as second:
        threads = [
            threading.Thread(target=press, args=(number, client, path, seen))
            for number, (client, (path, seen)) in enumerate(zip((first, second), presses, strict=True))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    return [told[number] for number in range(len(presses))]


def state(place: Place, version: int) -> str:
    """Where a version is."""
    with place.database.read() as session:
        return versions.get_release(session, version).state


def moves(place: Place, version: int) -> list[str | None]:
    """Where the trail says that a version went."""
    with place.database.read() as session:
        return [entry.to_state for entry in audit.history(session, version=version, subject="release")]


def test_of_an_approval_and_a_rollback_of_one_release_exactly_one_wins(shared: Place) -> None:
    for _ in range(ROUNDS):
        with shared.database.read() as session:
            serving, release = versions.in_service(session)
        assert release is not None
        version = release.version
        seen = f"probation:{serving.generation}"
        told = press_at_once(shared, [(f"/versions/{version}/accept", seen), (f"/versions/{version}/rollback", seen)])
        assert sorted(status for status, _ in told) == [200, 409], told
        loser = next(words for status, words in told if status == 409)
        assert "out of date" in loser
        became = "accepted" if told[0][0] == 200 else "rolled_back"
        assert state(shared, version) == became
        assert moves(shared, version) == ["candidate", "probation", became]
        with shared.database.read() as session:
            accepted = versions.last_accepted(session)
        assert accepted is not None
        ids = [f"s-{number:03d}" for number in range(lived.NUM_SAMPLES)]
        lived.decided(shared, lived.one_round(shared, ids, base=accepted.version), "probation", "accept")


def test_of_two_approvals_of_one_release_exactly_one_wins(shared: Place) -> None:
    with shared.database.read() as session:
        serving, _ = versions.in_service(session)
    seen = f"probation:{serving.generation}"
    told = press_at_once(shared, [("/versions/2/accept", seen)] * 2)
    assert sorted(status for status, _ in told) == [200, 409], told
    assert moves(shared, 2) == ["candidate", "probation", "accepted"]


def test_of_a_rollback_and_an_approval_of_another_release_exactly_one_wins(shared: Place) -> None:
    ids = [f"s-{number:03d}" for number in range(lived.NUM_SAMPLES)]
    lived.decided(shared, lived.one_round(shared, ids, base=1), "awaiting_approval", "inconclusive")
    with shared.database.read() as session:
        serving, _ = versions.in_service(session)
    told = press_at_once(
        shared,
        [
            ("/versions/2/rollback", f"probation:{serving.generation}"),
            ("/versions/3/approve", f"awaiting_approval:{serving.generation}"),
        ],
    )
    assert told[0][0] == 200, "the approval cannot go first while another version is on probation"
    assert told[1][0] == 409
    assert (state(shared, 2), state(shared, 3)) == ("rolled_back", "awaiting_approval")


def test_the_pages_open_over_each_kind_of_database(shared: Place) -> None:
    with shared.as_("viewer") as client:
        for path in ("/", "/versions", "/versions?state=probation", "/versions/2", "/compare?old=1&new=2"):
            assert client.get(path).status_code == 200, path
        assert client.get("/index.json").json()["serving"]["version"] == 2
        assert client.get("/versions/2.json").json()["line"][1]["version"] == 1
