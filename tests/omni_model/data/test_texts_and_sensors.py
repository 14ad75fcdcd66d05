from __future__ import annotations

import io

import numpy as np
import pytest

from omni_model.data.codecs import CodecLimits
from omni_model.data.codecs.npy import write_npy
from omni_model.data.codecs.sensor import SensorCodec
from omni_model.data.codecs.text import TextCodec
from omni_model.data.errors import DecodeError

TEXT = TextCodec()
SENSOR = SensorCodec()


def test_text_that_is_not_utf8_is_refused_with_its_place() -> None:
    with pytest.raises(DecodeError, match="not UTF-8: byte 0xe9 at position 1"):
        TEXT.decode("zéro".encode("latin-1"))


def test_equal_words_become_equal_texts() -> None:
    assert TEXT.decode("ze\u0301ro".encode()) == TEXT.decode("z\u00e9ro".encode()) == "zéro"


def test_a_byte_order_mark_is_dropped() -> None:
    assert TEXT.decode(b"\xef\xbb\xbfone") == "one"


def test_a_text_above_the_limit_is_refused() -> None:
    codec = TextCodec(limits=CodecLimits(text_characters=3))
    assert codec.decode(b"abc") == "abc"
    with pytest.raises(DecodeError, match="4 characters, more than the 3"):
        codec.decode(b"abcd")


def test_a_text_with_nul_is_refused() -> None:
    with pytest.raises(DecodeError, match="NUL at character 1"):
        TEXT.decode(b"a\0b")


def test_half_a_surrogate_pair_is_not_encoded() -> None:
    with pytest.raises(DecodeError, match="surrogate"):
        TEXT.encode("a\ud800")


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "uint8", ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_any_real_type_become_float32(dtype: str, order: str) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(np.arange(12).reshape(4, 3).astype(dtype), order=order))  # type: ignore[call-overload]
    decoded = SENSOR.decode(buffer.getvalue())
    assert decoded.dtype == np.float32
    assert decoded.tolist() == np.arange(12).reshape(4, 3).tolist()


def test_a_single_channel_may_come_flat() -> None:
    assert SENSOR.decode(write_npy(np.arange(5.0))).shape == (5, 1)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_values_that_are_not_finite_are_refused_with_their_place(value: float) -> None:
    table = np.zeros((4, 3))
    table[2, 1] = value
    with pytest.raises(DecodeError, match="at step 2, channel 1"):
        SENSOR.decode(write_npy(table))


def test_a_nan_in_csv_is_refused_with_its_place() -> None:
    with pytest.raises(DecodeError, match="at step 1, channel 0"):
        SENSOR.decode(b"1,2\nnan,4\n")


def test_pickled_arrays_are_refused_unopened() -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DecodeError, match="holds object, not real numbers"):
        SENSOR.decode(buffer.getvalue())


@pytest.mark.parametrize("dtype", ["complex64", "U4", "M8[s]", "bool"])
def test_arrays_of_other_things_are_refused(dtype: str) -> None:
    with pytest.raises(DecodeError, match="not real numbers"):
        SENSOR.decode(write_npy(np.zeros((2, 2), dtype=dtype)))


def test_a_header_that_declares_more_than_there_is_costs_nothing() -> None:
    content = write_npy(np.zeros((4, 3), dtype=np.float32))
    with pytest.raises(DecodeError, match="more than the 4,000,000 allowed"):
        SENSOR.decode(content.replace(b"(4, 3), }                ", b"(4000000000000, 3), }    "))
    with pytest.raises(DecodeError, match="truncated"):
        SENSOR.decode(content[:-1])


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 2, 2)])
def test_empty_and_deep_arrays_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DecodeError):
        SENSOR.decode(write_npy(np.zeros(shape, dtype=np.float32)))


@pytest.mark.parametrize(
    "text",
    [
        "1,2\n3,4\n",
        "x,y\n1,2\n3,4\n",
        "1;2\n3;4",
        "1\t2\r\n3\t4\r\n",
        "\ufeff1,2\n\n3,4\n\n",
        '"x","y"\n"1","2"\n3, 4\n',
    ],
)
def test_csv_is_read_with_and_without_names_in_common_dialects(text: str) -> None:
    assert SENSOR.decode(text.encode()).tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("1,2\n3\n", "Row 2 of the sensor CSV has 1 columns, the first has 2"),
        ("x,y\n1,2\n3,oops\n", "Row 3, column 2 of the sensor CSV is no number: 'oops'"),
        ("1,2\n3,\n", "Row 2, column 2"),
        ("only,names\n", "0 steps"),
    ],
)
def test_a_broken_csv_is_refused_with_its_place(text: str, place: str) -> None:
    with pytest.raises(DecodeError, match=place):
        SENSOR.decode(text.encode())


def test_recordings_above_the_limits_are_refused() -> None:
    limits = CodecLimits(sensor_steps=3, sensor_channels=2, sensor_values=6)
    codec = SensorCodec(limits=limits)
    assert codec.decode(b"1,2\n3,4\n5,6\n").shape == (3, 2)
    for text in (b"1,2\n3,4\n5,6\n7,8\n", b"1,2,3\n4,5,6\n", b"1\n2\n3\n4\n"):
        with pytest.raises(DecodeError):
            codec.decode(text)
