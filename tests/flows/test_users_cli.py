"""People are let in from the terminal: a link is printed once, roles change, passwords are asked for and hashed."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from db.engine import Database
from db.repository import users
from flows.cli import app
from flows.pages import owner, shown, sign_in_link, usual_address, wiring, write_wiring
from flows.settings import Settings
from flows.workspace import open_workspace

RUN = CliRunner()


def database(home: Path) -> Database:
    return Database(f"sqlite:///{home / 'omniloop.db'}")


def test_a_person_is_let_in_by_a_link_that_is_printed_and_not_kept(small: Path) -> None:
    done = RUN.invoke(app, ["users", "add", "ann", "--role", "approver", "--who", "root"])
    assert done.exit_code == 0, done.output
    link = re.search(r"link=(\S+)", done.output)
    assert link is not None
    held = (small / "omniloop.db").read_bytes()
    assert link[1].encode() not in held
    with database(small).read() as session:
        assert users.get_user(session, "ann").role == "approver"


def test_roles_passwords_and_shutting_out_are_told_in_the_list(small: Path) -> None:
    RUN.invoke(app, ["users", "add", "bob"])
    assert RUN.invoke(app, ["users", "role", "bob", "operator"]).exit_code == 0
    done = RUN.invoke(app, ["users", "password", "bob"], input="a rather long one\na rather long one\n")
    assert done.exit_code == 0, done.output
    assert RUN.invoke(app, ["users", "disable", "bob", "--why", "left"]).exit_code == 0
    told = RUN.invoke(app, ["users", "list"]).output
    assert "operator" in told
    with database(small).read() as session:
        bob = users.get_user(session, "bob")
        assert bob.password is not None
        assert bob.password.startswith("$argon2id$")
        assert bob.disabled_at is not None


def test_what_cannot_be_done_is_told_with_the_mend(small: Path) -> None:
    short = RUN.invoke(app, ["users", "password", "nobody"], input="short\nshort\n")
    assert "12 characters or more" in str(short.exception)
    assert "users list" in str(RUN.invoke(app, ["users", "link", "nobody"]).exception)
    assert "viewer, labeller" in str(RUN.invoke(app, ["users", "add", "eve", "--role", "king"]).exception)


def test_the_owner_is_made_once_and_links_lead_to_where_the_pages_are(small: Path) -> None:
    ws = open_workspace(Settings.load())
    assert owner(ws) == owner(ws)
    assert usual_address(ws.settings) == "http://127.0.0.1:8766"
    place = write_wiring(ws.home, wiring(ws.settings, port=4711, service_url="http://127.0.0.1:1"))
    assert place.stat().st_mode & 0o077 == 0
    assert usual_address(ws.settings) == "http://127.0.0.1:4711"
    assert sign_in_link(ws, "owner", usual_address(ws.settings)).startswith("http://127.0.0.1:4711/sign-in?link=")
    ws.database.close()


def test_no_secret_is_among_the_settings_that_people_read(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNI_NOTIFY__RECEIVERS", '{"ops": "mailto://me:hunter2@mail.example.org"}')
    monkeypatch.setenv("OMNI_SERVICE__API_KEY", "a key of many letters")
    monkeypatch.setenv("OMNI_DATABASE_URL", "postgresql://me:hunter2@host/loop?sslpassword=hunter2")
    told = str(shown(Settings.load()))
    assert "hunter2" not in told
    assert "many letters" not in told
    assert "postgresql" in told
