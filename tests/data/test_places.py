"""Columns of few different cells: what a place stands for is what the codec makes of the cell, to the bit."""

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthmill.config import DataConfig
from synthmill.data.numeric import NumericCodec
from synthmill.data.profile import profile_table
from synthmill.data.resolution import COARSE, FINE
from synthmill.data.schema import NO_RULES

RNG = np.random.default_rng(0)
ROWS = 4000


def missing(values: object) -> pa.Array:
    return pa.array(values, mask=RNG.random(ROWS) < 0.1)


COLUMNS = {
    "whole": pa.array(RNG.integers(-500, 1500, ROWS)),
    "missing": missing(RNG.integers(0, 1000, ROWS)),
    "many zeros": pa.array(np.where(RNG.random(ROWS) < 0.5, 0, RNG.integers(1, 900, ROWS))),
    "beyond 2**53": pa.array(2**60 + RNG.integers(0, 2000, ROWS) * 10),
    "dates": pa.array(RNG.integers(0, 3000, ROWS).astype("M8[D]")),
    "days in seconds": pa.array((RNG.integers(0, 900, ROWS) * 86400).astype("M8[s]")),
    "no date": pa.array(
        np.where(RNG.random(ROWS) < 0.03, 2932896, RNG.integers(0, 9000, ROWS)).astype("M8[D]")
    ),
    "cents": pa.array(np.round(RNG.random(ROWS) * 90, 2)),
    "float32": pa.array(np.round(RNG.random(ROWS), 3).astype(np.float32)),
    "infinite": missing(np.where(RNG.random(ROWS) < 0.02, np.inf, np.round(RNG.normal(size=ROWS), 2))),
    "decimals": pa.array(
        [Decimal(int(x)).scaleb(-2) for x in RNG.integers(0, 900, ROWS)], pa.decimal128(9, 2)
    ),
}


def codec_of(array: pa.Array, fine: bool = False) -> NumericCodec:
    resolution = FINE if fine else COARSE
    [profile] = profile_table(pa.table({"x": array}), NO_RULES, DataConfig(source="x"), resolution).columns
    return NumericCodec.fit(profile, array, None, resolution)


@pytest.mark.parametrize("fine", [False, True])
@pytest.mark.parametrize("name", COLUMNS)
def test_a_place_is_encoded_as_its_cell_is(name: str, fine: bool) -> None:
    codec, array = codec_of(COLUMNS[name], fine), COLUMNS[name]
    [codes], positions = codec.encode(array)
    places, found = codec.places(), codec.place(array)
    assert positions is not None
    assert found is not None
    assert len(places.codes) == codec.num_places <= 1 << 16
    assert (places.codes[found] == codes).all()
    assert places.values[found].tobytes() == positions.astype(np.float32).tobytes()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.integers(-5, 1000)), min_size=1))
def test_numbers_beyond_the_ends_count_as_the_codec_counts_them(cells: list[int | None]) -> None:
    """An end that is a point does not stand for what lies beyond it: then there is no place."""
    array = pa.array(cells, pa.int64())
    for name in ("missing", "many zeros", "whole"):
        codec = CODECS[name]
        [codes], positions = codec.encode(array)
        found, places = codec.place(array), codec.places()
        assert positions is not None
        if found is None:
            assert name == "many zeros"
            assert min(cell for cell in cells if cell is not None) < 0
        else:
            assert (places.codes[found] == codes).all()
            assert places.values[found].tobytes() == positions.astype(np.float32).tobytes()


CODECS = {name: codec_of(COLUMNS[name]) for name in ("missing", "many zeros", "whole")}


@pytest.mark.parametrize(
    "array",
    [
        pa.array(RNG.normal(size=ROWS)),
        pa.array(RNG.integers(0, 10**9, ROWS)),
        pa.array(np.round(RNG.random(ROWS) * 1e6, 2)),
        pa.array(RNG.integers(-(2**63), 2**63 - 1, ROWS)),
    ],
)
def test_columns_of_many_cells_have_no_places(array: pa.Array) -> None:
    codec = codec_of(array)
    assert not codec.num_places
    assert codec.place(array) is None


def test_a_number_between_two_steps_has_no_place() -> None:
    codec = codec_of(COLUMNS["cents"])
    assert codec.place(pa.array([0.1, 0.1 + 0.2])) is None
    assert codec.place(pa.array([0.1, 0.3])) is not None
    days = codec_of(COLUMNS["days in seconds"])
    assert days.place(pa.array([86400, 86401], pa.timestamp("s"))) is None


@pytest.mark.parametrize(
    "array",
    [
        pa.array(RNG.integers(18, 40, ROWS)),
        missing(RNG.integers(0, 5, ROWS) * 0.5),
        missing(RNG.random(ROWS) < 0.3),
        pa.array(RNG.integers(0, 6, ROWS), pa.uint8()),
    ],
)
def test_levels_are_looked_up_as_they_are_computed(array: pa.Array) -> None:
    codec = codec_of(array)
    assert codec.curve is None
    [codes], _ = codec.encode(array)
    found = codec.levelled(array)
    assert found is not None
    assert (found == codes).all()
