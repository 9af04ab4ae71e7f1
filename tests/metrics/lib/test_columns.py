import datetime as dt

import numpy as np
import pyarrow as pa

from synthmill.metrics.lib.columns import (
    MISSING,
    codes_in,
    columns_of,
    floats,
    row_hashes,
    texts,
    value_hashes,
)


def test_roles_follow_the_kind_and_then_the_type():
    schema = pa.schema(
        [
            ("a", pa.int64()),
            ("b", pa.int64()),
            ("c", pa.string()),
            ("d", pa.timestamp("us")),
            ("e", pa.bool_()),
            ("f", pa.string()),
        ]
    )
    roles = [c.role for c in columns_of(schema, {"b": "categorical", "f": "identifier"})]
    assert roles == ["numeric", "category", "category", "numeric", "category", "identifier"]


def test_numbers_keep_missing_and_dates_their_order():
    column = pa.chunked_array([[1, None], [3]])
    np.testing.assert_array_equal(floats(column), [1, np.nan, 3])
    days = floats(pa.array([dt.date(1970, 1, 3), None, dt.date(1969, 12, 31)], pa.date32()))
    np.testing.assert_array_equal(days, [2, np.nan, -1])
    moments = floats(pa.array([dt.datetime(1970, 1, 1, 0, 0, 1)], pa.timestamp("ms")))
    assert moments[0] == 1000


def test_categories_are_the_same_from_any_encoding_and_chunking():
    plain = pa.chunked_array([["x", None], ["y", "x"]])
    for column in (
        plain,
        plain.combine_chunks(),
        plain.combine_chunks().dictionary_encode(),
        pa.chunked_array([c.dictionary_encode() for c in plain.chunks]),
    ):
        codes, values = texts(column)
        assert [None if c == MISSING else values[c] for c in codes] == ["x", None, "y", "x"]
    np.testing.assert_array_equal(codes_in(plain, {"y": 0}, unseen=7), [7, MISSING, 0, 7])


def test_an_empty_column_has_no_codes():
    codes, values = texts(pa.chunked_array([], type=pa.string()))
    assert len(codes) == 0
    assert values == []


def test_equal_cells_hash_alike_whatever_the_chunks_and_missing_is_a_value():
    schema = pa.schema([("n", pa.float64()), ("c", pa.string())])
    number, category = columns_of(schema, {})
    numbers = value_hashes(number, pa.array([0.0, -0.0, None, None, 1.5]))
    assert numbers[0] == numbers[1]
    assert numbers[2] == numbers[3]
    assert len(set(numbers.tolist())) == 3
    first = value_hashes(category, pa.array(["b", "a", None]))
    second = value_hashes(category, pa.chunked_array([["a"], [None, "b"]]))
    assert first.tolist() == [second[2], second[0], second[1]]


def test_row_hashes_ignore_identifiers_and_see_column_order():
    table = pa.table({"a": ["x", "y", "x"], "b": ["y", "x", "y"], "id": ["1", "2", "3"]})
    columns = columns_of(table.schema, {"id": "identifier"})
    hashes = row_hashes(columns, table)
    assert hashes[0] == hashes[2]
    assert hashes[0] != hashes[1]
