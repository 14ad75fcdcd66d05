"""Settings are shown under the names that change them; people and keys are managed by admins, secrets shown once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
from starlette.testclient import TestClient

from db.keys import digest_of
from db.repository import audit, keys, users
from flows.pages import shown
from flows.settings import Settings
from tests.dashboards import places
from tests.dashboards.places import Place


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A site that is told the real settings, secrets among them."""
    environ = {
        "OMNI_HOME": str(tmp_path),
        "OMNI_LOOP__PROMOTION": "manual",
        "OMNI_SERVICE__API_KEY": "master-key-that-nobody-may-see",
        "OMNI_DATABASE_URL": "postgresql://me:hunter2@db.example/loop",
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    made = places.made(tmp_path / "home", settings=shown(Settings.load()), approver_differs=True)
    yield made
    made.database.close()


def said(client: TestClient, path: str, form: dict[str, str]) -> str:
    """What an action says to the next page."""
    answer = client.post(path, data=form)
    assert answer.status_code == 303, answer.text
    return unquote(answer.cookies["omniloop_said"])


def test_every_setting_stands_under_the_variable_that_changes_it(told: Place) -> None:
    with told.as_("viewer") as client:
        page, twin = client.get("/settings").text, client.get("/settings.json").json()
    named = {each["name"]: each["value"] for section in twin["sections"] for each in section["settings"]}
    assert named["OMNI_LOOP__PROMOTION"] == "manual"
    assert named["OMNI_GATE__MAX_RELATIVE_FALL"] == "0.05"
    assert "OMNI_LOOP__PROMOTION" in page
    assert "Promotion is manual" in page
    assert "Whoever started a round may not approve" in page


def test_no_secret_is_shown_to_anybody(told: Place) -> None:
    with told.as_("admin") as client:
        for path in ("/settings", "/settings.json"):
            text = client.get(path).text
            assert "master-key" not in text
            assert "hunter2" not in text


def test_people_and_keys_are_for_admins_to_see(place: Place) -> None:
    with place.as_("approver") as client:
        twin = client.get("/settings.json").json()
        assert (twin["people"], twin["keys"]) == ([], [])
        assert "shown to admins" in client.get("/settings").text
    with place.as_("admin") as client:
        assert len(client.get("/settings.json").json()["people"]) == 5


def test_a_key_is_shown_once_works_and_is_revoked(place: Place) -> None:
    with place.as_("admin") as client:
        words = said(client, "/settings/keys/create", {"name": "app <b>", "scope": "operate", "budget": ""})
        key = re.search(r"omni_\w+", words)
        assert key is not None
        assert key[0] in client.get("/settings").text
        page = client.get("/settings").text
        assert key[0] not in page
        assert "app &lt;b&gt;" in page
        assert client.get("/audit", headers={"Authorization": f"Bearer {key[0]}"}).status_code == 200
        again = client.post("/settings/keys/create", data={"name": "app <b>", "scope": "operate"})
        assert again.status_code == 409
        form = {"name": "app <b>", "why": "lost", "seen": "in force"}
        assert client.post("/settings/keys/revoke", data=form | {"why": ""}).status_code == 422
        assert client.post("/settings/keys/revoke", data=form).status_code == 303
        assert client.post("/settings/keys/revoke", data=form).status_code == 409
        client.cookies.clear()
        assert client.get("/audit", headers={"Authorization": f"Bearer {key[0]}"}).status_code == 401
    with place.database.read() as session:
        assert keys.get_key(session, "app <b>").digest == digest_of(key[0])
        lines = audit.history(session, subject="key")
    assert [(line.who, line.action) for line in lines] == [("admin", "create"), ("admin", "revoke")]


@pytest.mark.parametrize(
    "form",
    [
        {"name": "", "scope": "operate"},
        {"name": "app"},
        {"name": "app", "scope": "fly"},
        {"name": "app", "scope": "predict", "budget": "2"},
        {"name": "app", "scope": "predict", "admin": "yes"},
    ],
)
def test_a_key_that_makes_no_sense_is_refused(place: Place, form: dict[str, str]) -> None:
    with place.as_("admin") as client:
        assert client.post("/settings/keys/create", data=form).status_code == 422


def test_somebody_is_let_in_by_a_link_that_works_once(place: Place) -> None:
    with place.as_("admin") as client:
        words = said(client, "/settings/people/add", {"name": "Ann", "role": "labeller"})
        assert client.post("/settings/people/add", data={"name": "Ann", "role": "viewer"}).status_code == 409
        assert client.post("/settings/people/add", data={"name": "Bob", "role": "king"}).status_code == 422
    link = words.rpartition("link=")[2].strip('"')
    assert f"{places.BASE}/sign-in?link=" in words
    with place.as_(None) as client:
        assert client.post("/sign-in/link", data={"link": link}).status_code == 303
        assert client.get("/labels/next").status_code == 200
        assert client.post("/settings/people/add", data={"name": "Eve", "role": "admin"}).status_code == 403
    with place.as_(None) as client:
        assert client.post("/sign-in/link", data={"link": link}).status_code == 401


def test_roles_links_and_the_door(place: Place) -> None:
    form = {"name": "viewer", "why": "new task", "seen": "viewer, let in"}
    with place.as_("admin") as client, place.as_("viewer") as theirs:
        assert theirs.get("/labels/next").status_code == 403
        assert client.post("/settings/people/role", data=form | {"role": "labeller"}).status_code == 303
        assert theirs.get("/labels/next").status_code == 200
        assert client.post("/settings/people/role", data=form | {"role": "admin"}).status_code == 409  # stale
        form["seen"] = "labeller, let in"
        assert "link=" in said(client, "/settings/people/link", form)
        assert client.post("/settings/people/door", data=form | {"door": "out"}).status_code == 303
        assert theirs.get("/labels/next").status_code == 303  # to the door
        form["seen"] = "labeller, shut out"
        assert client.post("/settings/people/link", data=form).status_code == 409
        assert client.post("/settings/people/door", data=form | {"door": "in"}).status_code == 303
    with place.database.read() as session:
        lines = audit.history(session, subject="user", subject_id="viewer")
        assert users.get_user(session, "viewer").role == "labeller"
    done = [(line.action, line.why) for line in lines if line.who == "admin"]
    assert done == [(action, "new task") for action in ("set_role", "link", "disable", "enable")]


@pytest.mark.parametrize(("path", "more"), [("role", {"role": "viewer"}), ("door", {"door": "out"})])
def test_the_last_admin_stays(place: Place, path: str, more: dict[str, str]) -> None:
    with place.as_("admin") as client:
        form = {"name": "admin", "why": "tired", "seen": "admin, let in"} | more
        sent = client.post(f"/settings/people/{path}", data=form)
        assert sent.status_code == 409
        assert "only admin" in sent.text


def test_the_page_sends_a_handful_of_queries(place: Place) -> None:
    with place.as_("admin") as client:
        assert place.num_queries(client, "/settings") <= 6
