"""Tables that other programs wrote, beside the training table."""

import datetime as dt

import pyarrow as pa
import pytest

from synthmill.errors import DataError
from synthmill.evaluation.align import align_side, common_schema, seen_kinds


def aligned(train: list, other: pa.Array | list) -> tuple[pa.Schema, list, dict[str, int]]:
    ours, theirs = pa.table({"x": train}), pa.table({"x": other})
    schema = common_schema(ours, {"synthetic": theirs})
    found = align_side(theirs, schema, "synthetic")
    return schema.field("x").type, found.table["x"].to_pylist(), found.unreadable


DAY = dt.date(2021, 3, 4)


@pytest.mark.parametrize(
    ("train", "other", "values"),
    [
        ([1, 2], [3.0, None], [3, None]),
        ([1, 2], [3.0, float("nan")], [3, None]),
        ([1, 2], [3.5, 4.0], [3.5, 4.0]),
        ([1, 2], [True, False], [1, 0]),
        ([1, 2], ["3", " 4 ", ""], [3, 4, None]),
        ([1.5, 2.5], [3, 4], [3.0, 4.0]),
        ([1.5, 2.5], ["3.25", "1e2"], [3.25, 100.0]),
        ([True, False], ["yes", "No"], [True, False]),
        ([True, False], [1.0, 0.0], [True, False]),
        (["01", "2"], [1, 2], ["1", "2"]),
        (["1", "2"], [1.0, None], ["1", None]),
        (["a", "b"], pa.array(["b", "a"]).dictionary_encode(), ["b", "a"]),
        ([DAY], ["2021-03-04", "04 Mar 2021"], [DAY, DAY]),
        ([DAY], [dt.datetime(2021, 3, 4)], [DAY]),
        ([DAY], [dt.datetime(2021, 3, 4, 5)], [dt.datetime(2021, 3, 4, 5)]),
        ([None, None], [1, 2], [1, 2]),
        ([1, 2], [None, None], [None, None]),
        ([1, 2], [2**40, 1], [2**40, 1]),
    ],
)
def test_values_are_read_as_the_training_column_is(train, other, values) -> None:
    assert aligned(train, other)[1:] == (values, {})


def test_cells_that_do_not_read_are_counted() -> None:
    assert aligned([1, 2], ["3", "4", "n/a", "5"])[1:] == ([3, 4, None, 5], {"x": 1})
    assert aligned([1, 2], ["3", "4.5", "6"])[2] == {"x": 1}
    assert aligned([DAY], ["2021-03-04", "soon", "2021-03-05"])[2] == {"x": 1}


def test_columns_of_another_type_are_refused_all_at_once() -> None:
    train = pa.table({"a": [1], "b": [DAY], "c": ["x"]})
    other = pa.table({"a": ["red"], "b": [5], "c": ["y"]})
    with pytest.raises(DataError) as fault:
        align_side(other, common_schema(train, {"synthetic": other}), "synthetic")
    assert str(fault.value) == (
        "synthetic: columns of another type than in train: a (text such as 'red', where train has int64);"
        " b (int64, where train has date32[day])"
    )


def test_missing_columns_are_named_with_what_is_nearly_there() -> None:
    other = pa.table({"Age": [1], "z": [2]})
    with pytest.raises(DataError, match=r"^holdout: lacks 2 of .*: age \(it has 'Age'\), pay$"):
        align_side(other, pa.schema([("age", pa.int64()), ("pay", pa.int64())]), "holdout")


def test_kinds_are_those_that_training_would_see() -> None:
    train = pa.table(
        {
            "id": [f"P{n:05d}" for n in range(200)],
            "n": [n % 7 for n in range(200)],
            "essay": [f"{'lorem ipsum dolor '[n % 17 :]} {n * 7919 % 1000} {n}!" for n in range(200)],
            "f": [n / 3 for n in range(200)],
        }
    )
    kinds = seen_kinds(train, {})
    assert (kinds["id"], kinds["n"]) == ("identifier", "integer")
    assert kinds["essay"] in ("text", "identifier")
    assert "f" not in kinds
