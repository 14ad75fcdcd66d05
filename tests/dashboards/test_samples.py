"""What samples look like: their bytes with the right type, nothing of theirs run, nothing else given out."""

import numpy as np
import pytest

from dashboards.samples import ShownSample, shown, type_of
from db.records import NewSample, StoredSample
from db.repository import samples, tasks
from tests.dashboards import lived
from tests.dashboards.places import Place


def stored(place: Place, ids: list[str]) -> list[StoredSample]:
    """Samples as the database holds them."""
    with place.database.read() as session:
        return samples.get(session, ids)


def add(place: Place, id_: str, **inputs: bytes) -> list[ShownSample]:
    """Add one sample with these bytes, and show it."""
    with place.database.write() as session:
        tasks.put_task(session, lived.TASK)
        digests = {name: place.blobs.put(data) for name, data in inputs.items()}
        row = NewSample(id=id_, task="digit", instruction="Which?", inputs=digests, split="train", source="kiosk")
        samples.add_samples(session, [row], now=place.clock())
    return shown(place.app.state.site, stored(place, [id_]))


def test_picture_sound_and_text_come_with_their_types_and_run_nothing(place: Place) -> None:
    ids = lived.add_samples(place, 2)
    (first, second) = shown(place.app.state.site, stored(place, ids))
    assert first.text == "<script>alert('text')</script>"
    assert second.text == "sample 1"
    with place.as_("viewer") as client:
        for modality, kind in (("image", "image/png"), ("audio", "audio/wav"), ("text", "text/plain; charset=utf-8")):
            answer = client.get(first.media[modality])
            assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "sandbox" in answer.headers["content-security-policy"]
            assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert client.get(first.media["image"]).content == lived.picture(0)


def test_a_page_pretending_to_be_a_picture_is_saved_and_never_shown(place: Place) -> None:
    (made,) = add(place, "evil", image=b"<svg onload=alert(1)>", depth=b"\x93NUMPY")
    with place.as_("viewer") as client:
        for modality in ("image", "depth"):
            answer = client.get(made.media[modality])
            assert answer.headers["content-type"] == "application/octet-stream"
            assert answer.headers["content-disposition"] == "attachment"


@pytest.mark.parametrize("modality", ["../../omniloop.db", "video", "", "..%2F..%2Fomniloop.db"])
def test_only_what_the_samples_row_names_is_given_out(place: Place, modality: str) -> None:
    (id_, *_) = lived.add_samples(place, 1)
    with place.as_("viewer") as client:
        assert client.get("/media", params={"sample": id_, "modality": modality}).status_code == 404
        assert client.get("/media", params={"sample": "../" + id_, "modality": "image"}).status_code == 404
        assert client.get("/media").status_code == 422
    with place.as_(None) as client:
        assert client.get("/media", params={"sample": id_, "modality": "image"}).status_code in (303, 401)


def test_a_blob_by_its_digest_is_not_a_medium(place: Place) -> None:
    (id_, *_) = lived.add_samples(place, 1)
    (sample,) = stored(place, [id_])
    with place.as_("admin") as client:
        assert client.get("/media", params={"sample": sample.inputs["image"], "modality": "image"}).status_code == 404


def test_an_id_with_blanks_and_ampersands_finds_its_own_bytes(place: Place) -> None:
    (made,) = add(place, "till 3&modality=text/<b>", text=b"drei", image=lived.picture(3))
    with place.as_("viewer") as client:
        assert client.get(made.media["image"]).content == lived.picture(3)
    assert made.key.isalnum()


def test_a_lost_or_unreadable_text_is_told_in_words(place: Place) -> None:
    (long,) = add(place, "long", text=b"\xff" + b"a" * 5_000)
    assert long.text is not None
    assert len(long.text) < 2_100
    assert long.text.endswith(" …")
    (made,) = add(place, "lost", text=b"gone", image=lived.picture(1))
    place.blobs.delete(stored(place, ["lost"])[0].inputs["text"])
    (again,) = shown(place.app.state.site, stored(place, ["lost"]))
    assert made.text == "gone"
    assert again.text is None
    assert "cannot be shown" in again.problems[0]


def test_types_are_told_by_the_first_bytes() -> None:
    rng = np.random.default_rng(0)
    signs = {b"\xff\xd8\xff\xe0": "image/jpeg", b"GIF89a": "image/gif", b"fLaC": "audio/flac", b"OggS": "audio/ogg"}
    for sign, kind in signs.items():
        assert type_of(sign + rng.bytes(20), "image") == kind
    assert type_of(b"\x00\x00\x00\x20ftypisom", "video") == "video/mp4"
    assert type_of(b"", "image") == "application/octet-stream"
