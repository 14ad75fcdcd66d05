"""What somebody wants gone goes, bytes and all; what came in again meanwhile stays whole."""

from pathlib import Path

import pytest

from db.blobs import BlobStore
from db.errors import NotFound
from db.records import NewSample
from db.repository import audit, deletion, samples
from flows.steps.forgetting import forget_sample, remove_blobs
from flows.workspace import Workspace
from tests.flows import homes


def test_a_forgotten_sample_leaves_no_bytes_and_names_who_learnt_it(ws: Workspace) -> None:
    learnt = homes.of_split(ws, "train")[0]
    gone = forget_sample(ws, learnt.id, "ann", "asked to")
    assert gone.blobs
    assert not any(ws.blobs.exists(digest) for digest in gone.blobs)
    with ws.database.read() as session:
        assert samples.get(session, [learnt.id]) == []
        assert deletion.named(session, list(learnt.inputs.values())) == set(learnt.inputs.values()) - set(gone.blobs)
        (line,) = audit.history(session, subject="sample")
    assert (line.who, line.why, line.subject_id) == ("ann", "asked to", learnt.id)
    with pytest.raises(NotFound, match="no sample"):
        forget_sample(ws, learnt.id, "ann", "asked to")


def test_bytes_that_come_in_again_while_they_are_removed_are_put_back(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = ws.blobs.put(b"again")
    real = BlobStore.delete

    def delete(self: BlobStore, which: str) -> bool:
        with ws.database.write() as session:  # finds the bytes in the store and names them
            again = NewSample(id="again", task="digit", instruction="?", inputs={"text": digest}, split="train")
            samples.add_samples(session, [again], now=ws.clock())
        return real(self, which)

    monkeypatch.setattr(BlobStore, "delete", delete)
    assert remove_blobs(ws, [digest, "0" * 64]) == 0
    assert ws.blobs.get(digest) == b"again"


def test_bytes_that_nothing_names_are_removed_once(ws: Workspace) -> None:
    digest = ws.blobs.put(b"left over")
    assert (remove_blobs(ws, [digest]), remove_blobs(ws, [digest])) == (1, 0)
    assert not Path(ws.home / "blobs" / digest[:2] / digest[2:]).exists()
