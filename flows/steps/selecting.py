"""The filter: one streaming pass of the last accepted version over the unlabelled pool, and the few samples it picks.

What is picked enters the label queue: the uncertainty arm, the random control arm beside it, and a random draw of
validation samples, so that the gate comes to see domains that nobody has labelled yet. Scores are kept with the round.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from db.records import Round, RoundSample, StoredSample
from db.repository import label_queue, rounds, samples
from db.rounds import ROLES, Role
from flows.failpoints import failpoint
from flows.steps.models import load_version
from flows.steps.stored import load_samples
from flows.workspace import Workspace
from omni_model.acquisition import CandidateBatch, Selection, from_predictions, select
from omni_model.acquisition.registry import find_acquisition
from omni_model.evaluate import predict
from omni_model.features import encode_samples
from omni_model.protocol import LoopModel

PAGE_ROWS = 256
MC_PASSES = 8


def filter_pool(ws: Workspace, round_: Round) -> Round:
    """Select samples for ``round_``, queue them for labelling, and move the round to ``filtered``."""
    if round_.base_version is None:
        raise ValueError("The first version has nothing to be uncertain with. Train it with `omniloop train`.")
    model = load_version(ws, round_.base_version)
    path = ws.round_folder(round_.id) / "scores.parquet"
    with scores_file(path) as keep, ws.reporter.bar("filter", num_candidates(ws)) as tick:
        selection = select(
            candidates(ws, model, tick),
            ws.settings.selection,
            rng=np.random.default_rng((ws.settings.loop.seed, round_.id)),
            on_scored=keep,
        )
    failpoint("filter.scored")
    picked, loop = members(selection), ws.settings.loop
    asked = [row.sample_id for row in picked]
    drawn = draw(ws, round_, split="val", role="validation", num_rows=loop.validation_labels)
    num_beside = loop.unlabelled_rows if ws.settings.elastic.own_share else 0
    beside = draw(ws, round_, split="train", role="unlabelled", num_rows=num_beside, but=set(asked))
    asked += [row.sample_id for row in drawn]
    outputs = summary(selection) | {"num_validation": len(drawn), "scores": ws.blobs.put(path.read_bytes())}
    with ws.database.write() as session:
        rounds.add_round_samples(session, round_.id, [*picked, *drawn, *beside])
        label_queue.enqueue(session, asked, round_id=round_.id, now=ws.clock())
        moved = rounds.advance(session, round_.id, "filtered", outputs, now=ws.clock())
        failpoint("filter.before_commit")
    failpoint("filter.committed")
    ws.reporter.say(
        f"filter      {selection.num_seen} candidates: {outputs['num_selected']} picked by {selection.acquisition}, "
        f"{outputs['num_control']} at random beside them, {len(drawn)} for validation"
    )
    return moved


def members(selection: Selection) -> list[RoundSample]:
    """The rows of both arms as members of the round."""
    return [
        RoundSample(
            sample_id=row.id,
            role="control" if row.arm == "control" else "selected",
            score=row.score,
            rank=row.rank,
            detail={"domain": row.domain},
        )
        for row in selection.rows
    ]


def summary(selection: Selection) -> dict[str, object]:
    """What the round keeps of a selection beside its rows."""
    return {
        "acquisition": selection.acquisition,
        "num_seen": selection.num_seen,
        "num_selected": sum(row.arm == "uncertainty" for row in selection.rows),
        "num_control": sum(row.arm == "control" for row in selection.rows),
        "num_invalid": selection.num_invalid,
        "num_duplicates_skipped": selection.num_duplicates_skipped,
    }


def pages(ws: Workspace, split: str = "train") -> Iterator[list[StoredSample]]:
    """The unlabelled samples of a split, page by page in the order of their ids."""
    after = ""
    while True:
        with ws.database.read() as session:
            page = samples.pool(session, split=split, after=after, limit=PAGE_ROWS)
        if not page:
            return
        yield page
        after = page[-1].id


def num_candidates(ws: Workspace) -> int:
    """Size of the unlabelled pool."""
    with ws.database.read() as session:
        return samples.count_pool(session)


def candidates(ws: Workspace, model: LoopModel, tick: Callable[[int], None]) -> Iterator[CandidateBatch]:
    """The pool as the model sees it, a page at a time, with what the acquisition function needs."""
    needs = find_acquisition(ws.settings.selection.acquisition).needs
    for page in pages(ws):
        features = encode_samples(model, load_samples(ws, page))
        subsets = None
        if needs == "subset_probs":
            present = {name for modalities in features.modalities for name in modalities}
            subsets = {frozenset({name}): predict(model, features.only([name])).probs for name in sorted(present)}
        predictions = predict(model, features, mc_passes=MC_PASSES if needs == "mc_probs" else 0)
        yield from_predictions(predictions, subsets)
        tick(len(page))


def draw(
    ws: Workspace, round_: Round, *, split: str, role: Role, num_rows: int, but: Collection[str] = ()
) -> list[RoundSample]:
    """A uniform draw of at most ``num_rows`` unlabelled samples of a split (reservoir sampling), as members."""
    rng = np.random.default_rng((ws.settings.loop.seed, round_.id, ROLES.index(role)))
    kept: list[tuple[float, str]] = []
    for page in pages(ws, split=split) if num_rows else ():
        kept += zip(rng.random(len(page)).tolist(), (sample.id for sample in page), strict=True)
        kept = sorted(row for row in kept if row[1] not in but)[:num_rows]
    return [RoundSample(sample_id=id_, role=role) for _, id_ in kept]


@contextmanager
def scores_file(path: Path) -> Iterator[Callable[[np.ndarray, np.ndarray], None]]:
    """A Parquet file of (id, score) that grows batch by batch, so that a million scores need no memory."""
    schema = pa.schema([("id", pa.string()), ("score", pa.float32())])
    path.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(path, schema) as writer:

        def keep(ids: np.ndarray, scores: np.ndarray) -> None:
            writer.write_table(pa.table({"id": ids.tolist(), "score": scores.astype(np.float32)}, schema=schema))

        yield keep
