import numpy as np
import pyarrow as pa
import pytest

from evidence import KINDS, look, people, replaced
from synthmill.evaluation.evidence.table import prepare, read_synthetic
from synthmill.evaluation.tables import Tables
from synthmill.metrics.base import map_serially
from synthmill.metrics.common.schema_valid import SchemaValid
from synthmill.metrics.lib.table_evidence import Settings, TableEvidence


def test_real_rows_are_valid():
    result = SchemaValid().compute(look(people(500, 5), holdout=people(500, 6)))
    assert (result.value, result.reference) == (1.0, 1.0)


def test_each_impossible_cell_counts_its_row_once():
    fresh = people(500, 5)
    city = ["Atlantis", *fresh["city"].to_pylist()[1:]]
    age = [None, None, *fresh["age"].to_pylist()[2:]]
    spoiled = replaced(replaced(fresh, "city", city), "age", age)
    result = SchemaValid().compute(look(spoiled))
    assert result.value == 1 - 2 / 500
    assert result.per_column == {"age": 1 - 2 / 500, "city": 1 - 1 / 500}


def test_fractions_in_whole_numbers_and_infinities():
    train = pa.table({"n": np.arange(100.0), "x": np.arange(100.0)})
    fake = pa.table({"n": [1.0, 2.5, 3.0, 4.0], "x": [1.0, 2.0, np.inf, 4.0]})
    result = SchemaValid().compute(
        look(fake, train=train, target=None, kinds={"n": "integer", "x": "numeric"})
    )
    assert result.value == 0.5


def test_infinity_is_a_value_where_real_rows_have_it():
    train = pa.table({"x": [*np.arange(99.0), np.inf]})
    fake = pa.table({"x": [1.0, np.inf, np.inf, 4.0]})
    result = SchemaValid().compute(look(fake, train=train, target=None, kinds={"x": "numeric"}))
    assert result.value == 1


def test_an_open_vocabulary_admits_new_levels():
    train = pa.table({"c": ["a"] * 20 + ["b"] * 2})
    result = SchemaValid().compute(look(pa.table({"c": ["new", "a"]}), train=train, target=None, kinds={}))
    assert result.value == 1


def test_missing_identifiers_are_impossible_where_real_rows_have_them():
    fresh = people(200, 5)
    result = SchemaValid().compute(
        look(replaced(fresh, "code", [None, *fresh["code"].to_pylist()[1:]]), kinds=KINDS)
    )
    assert result.value == 1 - 1 / 200


def test_a_rare_missing_value_that_fell_to_the_synthetic_side_is_not_held_against_it():
    train = pa.table({"x": np.arange(2000.0)})
    few = pa.table({"x": [None] * 3 + [1.0] * 1997})
    many = pa.table({"x": [None] * 60 + [1.0] * 1940})
    results = [
        SchemaValid().compute(look(fake, train=train, holdout=train, target=None, kinds={}))
        for fake in (few, many)
    ]
    assert [r.value for r in results] == [1 - 3 / 2000, 1 - 60 / 2000]
    assert [r.aspects["beyond_chance"].value for r in results] == [1.0, 1 - 60 / 2000]


def test_an_impossible_cell_is_never_chance():
    train = pa.table({"n": np.arange(1000.0)})
    fake = pa.table({"n": [0.5, *np.arange(999.0)]})
    result = SchemaValid().compute(look(fake, train=train, target=None, kinds={"n": "integer"}))
    assert result.aspects["beyond_chance"].value == 1 - 1 / 1000


@pytest.mark.parametrize(
    ("declared", "valid"),
    [("ab", 0.5), ("abz", 1.0), ("az", 1.0)],
    ids=["broken", "kept", "not true of real rows"],
)
def test_declared_levels_are_certain_where_real_rows_keep_them(declared, valid):
    train = pa.table({"c": ["a", "b"] * 10})
    tables = Tables(train, None, None, train, {}, levels={"c": tuple(declared)})
    real = prepare(tables, target=None)
    fake = pa.table({"c": ["z", "a"]})
    totals, sample, _ = read_synthetic(fake, real, Settings(), map_serially)
    result = SchemaValid().compute(TableEvidence(real, totals, sample, Settings()))
    assert result.aspects["beyond_chance"].value == valid
