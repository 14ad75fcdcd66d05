"""People, links and sessions: a link is used once, a session ends when it should, and only digests are remembered."""

from datetime import timedelta
from threading import Barrier, Thread

import pytest

from db.engine import Database
from db.errors import IllegalMove, NotFound
from db.repository import audit, changes, users
from tests.db.builders import NOW, later

HOUR = timedelta(hours=1)


def test_a_link_is_used_once_even_by_two_at_the_same_moment(database: Database) -> None:
    with database.write() as session:
        users.add_user(session, "ann", "viewer", who="root", now=NOW)
        users.add_link(session, "ann", "digest", expires_at=NOW + HOUR, now=NOW)
    barrier, let_in = Barrier(4), []

    def enter() -> None:
        barrier.wait()
        with database.write() as session:
            let_in.append(users.use_link(session, "digest", now=later(1)))

    threads = [Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(user is not None for user in let_in) == 1


def test_a_link_opens_nothing_after_its_time_or_for_somebody_shut_out(database: Database) -> None:
    with database.write() as session:
        users.add_user(session, "ann", "viewer", who="root", now=NOW)
        users.add_link(session, "ann", "digest", expires_at=NOW + HOUR, now=NOW)
        assert users.link_user(session, "digest", now=NOW) is not None
        assert users.link_user(session, "digest", now=NOW + HOUR) is None
        assert users.link_user(session, "another", now=NOW) is None
        users.disable_user(session, "ann", who="root", why="left", now=NOW)
        users.enable_user(session, "ann", who="root", now=NOW)
        assert users.use_link(session, "digest", now=NOW) is None  # shutting out used it up


def test_a_session_ends_by_idleness_by_time_and_with_a_new_password(database: Database) -> None:
    with database.write() as session:
        users.add_user(session, "ann", "viewer", who="root", now=NOW)
        users.open_session(session, "ann", "one", expires_at=NOW + 3 * HOUR, now=NOW)
        assert users.session_user(session, "one", now=NOW, idle=HOUR) is not None
        assert users.session_user(session, "one", now=NOW + 2 * HOUR, idle=HOUR) is None
        users.touch_session(session, "one", now=NOW + 2 * HOUR)
        assert users.session_user(session, "one", now=NOW + 2 * HOUR, idle=HOUR) is not None
        assert users.session_user(session, "one", now=NOW + 3 * HOUR, idle=2 * HOUR) is None
        users.open_session(session, "ann", "two", expires_at=NOW + 3 * HOUR, now=NOW)
        users.set_password(session, "ann", "$argon2id$…", who="ann", now=NOW)
        assert users.session_user(session, "two", now=NOW, idle=HOUR) is None


def test_what_is_done_to_people_is_in_the_audit_trail(database: Database) -> None:
    with database.write() as session:
        users.add_user(session, "ann", "viewer", who="root", now=NOW)
        users.set_role(session, "ann", "admin", who="root", now=NOW)
        users.disable_user(session, "ann", who="root", why="left", now=NOW)
        trail = audit.history(session, subject="user", subject_id="ann")
        newest = audit.newest(session, subject="user", limit=1)
    assert [entry.action for entry in trail] == ["create", "set_role", "disable"]
    assert [entry.action for entry in newest] == ["disable"]


def test_names_and_roles_that_are_none_are_refused(database: Database) -> None:
    with database.write() as session:
        users.add_user(session, "ann", "viewer", who="root", now=NOW)
        with pytest.raises(IllegalMove, match="already"):
            users.add_user(session, "ann", "viewer", who="root", now=NOW)
        with pytest.raises(ValueError, match="no role 'king'"):
            users.set_role(session, "ann", "king", who="root", now=NOW)
        for name in ("", "a\nb", "key:shop", "x" * 61):
            with pytest.raises(ValueError, match="printable"):
                users.add_user(session, name, "viewer", who="root", now=NOW)
        with pytest.raises(NotFound, match="users list"):
            users.get_user(session, "bob")


def test_a_token_changes_with_its_topic_alone(database: Database) -> None:
    with database.read() as session:
        before = changes.tokens(session)
    with database.write() as session:
        users.add_user(session, "ann", "viewer", who="root", now=NOW)
    with database.read() as session:
        after = changes.tokens(session)
    assert {topic for topic in after if after[topic] != before[topic]} == {"audit", "versions"}
