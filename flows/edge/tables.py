"""The tables of the spool and what is done to them, each inside a transaction of :class:`flows.edge.spool.Spool`."""

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from flows.edge.records import GivenFeedback, OtherFeedback, Spooled, SpoolError, UnknownPrediction

SCHEMA_VERSION = 1
ROW_BYTES = 512
"""What a row is counted beside its content."""
MAX_KNOWN = 100_000
"""Answered requests that feedback may still name."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS known (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, task TEXT NOT NULL, state TEXT NOT NULL,
    answer TEXT);
CREATE TABLE IF NOT EXISTS predictions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, body TEXT NOT NULL, num_bytes INTEGER NOT NULL,
    refused TEXT NOT NULL DEFAULT '');
CREATE INDEX IF NOT EXISTS refused_predictions ON predictions (seq) WHERE refused != '';
CREATE TABLE IF NOT EXISTS inputs (
    prediction TEXT NOT NULL, modality TEXT NOT NULL, data BLOB NOT NULL, PRIMARY KEY (prediction, modality));
CREATE TABLE IF NOT EXISTS feedback (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, prediction TEXT NOT NULL UNIQUE, answer TEXT NOT NULL, who TEXT NOT NULL,
    num_bytes INTEGER NOT NULL, refused TEXT NOT NULL DEFAULT '');
""" + "".join(
    f"CREATE TRIGGER IF NOT EXISTS {table}_{event} AFTER {event} ON {table} BEGIN "
    f"UPDATE facts SET value = value {change}.num_bytes WHERE name = 'bytes'; END;\n"
    for table in ("predictions", "feedback")
    for event, change in (("INSERT", "+ NEW"), ("DELETE", "- OLD"))
)
REFUSED = "SELECT id FROM predictions WHERE refused != '' ORDER BY seq LIMIT 1"
OLDEST = (
    "SELECT p.id FROM predictions p LEFT JOIN feedback f ON f.prediction = p.id "
    "WHERE f.prediction IS NULL ORDER BY p.seq LIMIT 1"
)


def connect(path: Path, *, is_reader: bool = False) -> sqlite3.Connection:
    """A connection that begins and ends no transaction by itself; a commit is on the disk when it returns."""
    db = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
    for pragma in ("query_only = 1",) if is_reader else ("journal_mode = WAL", "synchronous = FULL"):
        db.execute(f"PRAGMA {pragma}")
    return db


def prepare(db: sqlite3.Connection, edge: str) -> None:
    """Make the tables, and give a new spool its id. Raises :class:`SpoolError` for tables of another release."""
    db.executescript(SCHEMA)
    facts = (("schema", SCHEMA_VERSION), ("edge", edge), ("bytes", 0), ("dropped", 0), ("refused", 0), ("synced", 0))
    db.executemany("INSERT OR IGNORE INTO facts VALUES (?, ?)", facts)
    (found,) = db.execute("SELECT value FROM facts WHERE name = 'schema'").fetchone()
    if found != SCHEMA_VERSION:
        raise SpoolError(
            f"The spool has schema {found}, this release reads {SCHEMA_VERSION}. "
            "Let the release that wrote it sync it, then name an empty folder with --spool."
        )


def add(db: sqlite3.Connection, row: Spooled, task: str, max_bytes: int) -> None:
    """An answer that waits."""
    body = json.dumps(row.body, ensure_ascii=False)
    size = ROW_BYTES + len(body.encode()) + sum(map(len, row.content.values()))
    remember(db, row.id, task, "waiting")
    db.execute("INSERT INTO predictions (id, body, num_bytes) VALUES (?, ?, ?)", (row.id, body, size))
    inputs = [(row.id, name, data) for name, data in row.content.items()]
    db.executemany("INSERT INTO inputs VALUES (?, ?, ?)", inputs)
    make_room(db, max_bytes)


def remember(db: sqlite3.Connection, id_: str, task: str, state: str) -> None:
    """Whose feedback is taken; the oldest that nothing waits for are forgotten."""
    db.execute("INSERT OR IGNORE INTO known (id, task, state) VALUES (?, ?, ?)", (id_, task, state))
    db.execute(
        "DELETE FROM known WHERE seq <= (SELECT max(seq) FROM known) - ? "
        "AND id NOT IN (SELECT id FROM predictions) AND id NOT IN (SELECT prediction FROM feedback)",
        (MAX_KNOWN,),
    )


def give_feedback(
    db: sqlite3.Connection, given: GivenFeedback, answers: Mapping[str, Sequence[str]], max_bytes: int
) -> bool:
    """Feedback that waits; False if the same was said before. `answers`: those of each task that is known here."""
    found = db.execute("SELECT task, state, answer FROM known WHERE id = ?", (given.prediction,)).fetchone()
    if found is None:
        raise UnknownPrediction(
            f"There is no prediction {given.prediction!r:.80} to give feedback on. Use the id that came with it."
        )
    task, state, first = found
    if task in answers and given.answer not in answers[task]:
        known = ", ".join(answers[task])
        raise ValueError(f"{given.answer!r:.80} is no answer of task {task}. It has {known:.500}.")
    if first is not None and first != given.answer:
        raise OtherFeedback(
            f"Prediction {given.prediction} has feedback already: {first!r:.80}, and the first one counts. "
            "Correct the sample's label in the cloud instead."
        )
    if first is not None:
        return False
    if state in ("dropped", "refused"):
        why = "dropped from the full spool" if state == "dropped" else "refused by the cloud"
        raise UnknownPrediction(
            f"Prediction {given.prediction} was {why}, so nobody can learn from it. Give feedback on a later one."
        )
    size = ROW_BYTES + len(given.answer.encode()) + len(given.who.encode())
    values = (given.prediction, given.answer, given.who, size)
    db.execute("INSERT INTO feedback (prediction, answer, who, num_bytes) VALUES (?, ?, ?, ?)", values)
    db.execute("UPDATE known SET answer = ? WHERE id = ?", (given.answer, given.prediction))
    if make_room(db, max_bytes):
        raise SpoolError("The spool is full of feedback that waits for the cloud. Connect the edge to it again.")
    return True


def make_room(db: sqlite3.Connection, max_bytes: int) -> int:
    """Drop what was refused, then the oldest answers without feedback; returns the bytes that are too many still."""
    while (excess := fact(db, "bytes") - max_bytes) > 0:
        found = db.execute(REFUSED).fetchone() or db.execute(OLDEST).fetchone()
        if found is None:
            if not db.execute("DELETE FROM feedback WHERE refused != ''").rowcount:
                return excess
            continue
        forget(db, found[0])
        db.execute("DELETE FROM feedback WHERE prediction = ?", found)
        db.execute("UPDATE known SET state = 'dropped' WHERE id = ?", found)
        count(db, "dropped")
    return 0


def settle(db: sqlite3.Connection, predictions: Mapping[str, str], feedback: Mapping[str, str]) -> None:
    """By prediction id, the reason of a refusal, or empty where the cloud has it: then it is forgotten."""
    for id_, reason in predictions.items():
        if not reason:
            if forget(db, id_):
                db.execute("UPDATE known SET state = 'synced' WHERE id = ?", (id_,))
                count(db, "synced")
        elif db.execute("UPDATE predictions SET refused = ? WHERE id = ?", (reason, id_)).rowcount:
            db.execute("UPDATE known SET state = 'refused' WHERE id = ?", (id_,))
            db.execute("UPDATE feedback SET refused = ? WHERE prediction = ?", (f"its prediction: {reason}", id_))
            count(db, "refused")
    for id_, reason in feedback.items():
        if not reason:
            db.execute("DELETE FROM feedback WHERE prediction = ?", (id_,))
        elif db.execute("UPDATE feedback SET refused = ? WHERE prediction = ?", (reason, id_)).rowcount:
            count(db, "refused")


def forget(db: sqlite3.Connection, id_: str) -> bool:
    """Delete an answer and its inputs; False if it was not there."""
    db.execute("DELETE FROM inputs WHERE prediction = ?", (id_,))
    return db.execute("DELETE FROM predictions WHERE id = ?", (id_,)).rowcount == 1


def fact(db: sqlite3.Connection, name: str) -> int:
    """A number that is kept."""
    return int(db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()[0])


def count(db: sqlite3.Connection, name: str) -> None:
    """One more."""
    db.execute("UPDATE facts SET value = value + 1 WHERE name = ?", (name,))


def refusals(folder: Path) -> Iterable[tuple[str, str]]:
    """What the cloud refused for good: prediction id and reason. An edge may run beside it."""
    with closing(connect(folder / "spool.db", is_reader=True)) as db:
        yield from db.execute(
            "SELECT id, refused FROM predictions WHERE refused != '' "
            "UNION ALL SELECT prediction, refused FROM feedback WHERE refused != ''"
        ).fetchall()
