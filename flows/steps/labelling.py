"""Labels: they arrive from people or from a data set's own answers, and let a waiting round go on."""

import json
from collections.abc import Iterable
from pathlib import Path

from db.records import Round
from db.repository import label_queue, labels, rounds, samples, tasks
from flows.failpoints import failpoint
from flows.workspace import Workspace
from omni_model.data.codecs import CODECS


def add_labels(ws: Workspace, answers: Iterable[tuple[str, str]], *, origin: str) -> int:
    """Store (sample id, answer) pairs as labels; returns how many were new.

    ``origin`` says who answered: ``human:NAME``, ``manifest`` or ``dataset``. An answer outside the task's set or an
    unknown sample raises ``ValueError``, and then none of the pairs is stored.
    """
    with ws.database.write() as session:
        num_new = 0
        for sample_id, answer in answers:
            before = labels.active_label(session, sample_id)
            num_new += labels.add_label(session, sample_id, answer, origin, now=ws.clock()) != before
    failpoint("label.committed")
    return num_new


def waiting_for_labels(ws: Workspace, round_: Round) -> list[str]:
    """Ids of the round's samples without a label yet, in the order in which they are offered."""
    with ws.database.read() as session:
        return [entry.sample_id for entry in label_queue.list_entries(session, round_id=round_.id)]


def finish_labelling(ws: Workspace, round_: Round) -> bool:
    """Move the round on when enough of its samples are labelled; says whether it moved."""
    with ws.database.read() as session:
        num_done, num_queued = label_queue.progress(session, round_.id)
    if num_queued and num_done / num_queued < ws.settings.loop.label_share_to_go_on:
        return False
    with ws.database.write() as session:
        rounds.advance(
            session, round_.id, "labelled", {"num_labelled": num_done, "num_asked": num_queued}, now=ws.clock()
        )
    return True


def export_queue(ws: Workspace, out: Path) -> int:
    """Write what waits for a label to a JSONL file, its media into a folder beside it; returns how many samples."""
    media = out.parent / f"{out.stem}-media"
    media.mkdir(parents=True, exist_ok=True)
    with ws.database.read() as session:
        waiting = samples.get(session, [entry.sample_id for entry in label_queue.list_entries(session)])
        answers = {task.name: task.answers for task in tasks.list_tasks(session)}
    with out.open("w", encoding="utf-8") as file:
        for sample in waiting:
            row: dict[str, object] = {"id": sample.id, "task": sample.task, "instruction": sample.instruction}
            for modality, digest in sample.inputs.items():
                path = media / f"{digest[:16]}{CODECS[modality].suffix}"
                path.write_bytes(ws.blobs.get(digest))
                row[modality] = str(path.relative_to(out.parent))
            file.write(json.dumps(row | {"answers": answers[sample.task], "answer": None}, ensure_ascii=False) + "\n")
    return len(waiting)


def read_answers(file: Path, *, key: str) -> list[tuple[str, str]]:
    """(``key``, answer) of each line of a JSONL file that has an answer. ``ValueError`` names the bad line."""
    found: list[tuple[str, str]] = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if row.get("answer") is not None:
                found.append((str(row[key]), str(row["answer"])))
        except (ValueError, KeyError, AttributeError) as error:
            raise ValueError(
                f'{file}, line {number}: expected {{"{key}": …, "answer": …}}, got {line[:80]!r}. Mend the line.'
            ) from error
    return found
