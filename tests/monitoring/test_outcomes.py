import io
from dataclasses import fields, replace
from datetime import datetime

import numpy as np
import pytest

from monitoring.outcomes import Answers, PairedOutcomes, Provenance
from tests.monitoring.made import EQUAL, NOW, outcomes


def rich() -> PairedOutcomes:
    made = outcomes(EQUAL, 50)
    hits = {"audio>image": np.where(np.arange(50) % 3, 1.0, np.nan)}
    return replace(
        made,
        old=replace(made.old, hits=hits),
        new=replace(made.new, hits=hits),
        without={"audio": (made.old, made.new)},
        provenance=Provenance(old_version=7, new_version=9, measured_at=NOW, num_unpaired=3),
    )


def same(left: Answers, right: Answers) -> bool:
    columns = [entry.name for entry in fields(Answers) if entry.name != "hits"]
    return all(np.array_equal(getattr(left, name), getattr(right, name), equal_nan=True) for name in columns) and all(
        np.array_equal(left.hits[name], right.hits[name], equal_nan=True) for name in (*left.hits, *right.hits)
    )


def test_stored_outcomes_come_back_equal() -> None:
    before = rich()
    after = PairedOutcomes.from_bytes(before.to_bytes())
    assert after.provenance == before.provenance
    assert same(after.old, before.old)
    assert same(after.new, before.new)
    assert same(after.without["audio"][1], before.without["audio"][1])
    for name in ("ids", "items", "tasks", "domains", "modalities", "target"):
        assert np.array_equal(getattr(after, name), getattr(before, name))


def test_equal_outcomes_give_equal_bytes() -> None:
    assert rich().to_bytes() == rich().to_bytes()


def test_no_sample_at_all_can_be_stored() -> None:
    assert len(PairedOutcomes.from_bytes(outcomes(EQUAL, 0).to_bytes())) == 0


def test_a_damaged_blob_names_the_mend() -> None:
    data = rich().to_bytes()
    for bad in (b"", b"PK\x03\x04", data[: len(data) // 2], b"{}"):
        with pytest.raises(ValueError, match="validate again"):
            PairedOutcomes.from_bytes(bad)


def test_a_pickled_array_is_refused() -> None:
    buffer = io.BytesIO()
    np.savez(buffer, header=np.array([{"schema_version": 1}], dtype=object))
    with pytest.raises(ValueError, match="cannot be read"):
        PairedOutcomes.from_bytes(buffer.getvalue())


def test_a_later_schema_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as later:
        later.setattr("monitoring.outcomes.SCHEMA_VERSION", 2)
        data = rich().to_bytes()
    with pytest.raises(ValueError, match="schema_version is 2"):
        PairedOutcomes.from_bytes(data)


def test_a_sample_that_comes_twice_is_refused() -> None:
    made = outcomes(EQUAL, 3)
    with pytest.raises(ValueError, match="more than once"):
        replace(made, ids=np.array(["a", "b", "a"]))


def test_columns_of_different_length_are_refused() -> None:
    made = outcomes(EQUAL, 3)
    with pytest.raises(ValueError, match="new/confidence"):
        replace(made, new=replace(made.new, confidence=np.ones(2)))


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        Provenance(old_version=1, new_version=2, measured_at=datetime(2026, 1, 1))
