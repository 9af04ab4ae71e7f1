"""What recipes and schema files may state, and how a mistake is named."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml

from rules import CONSTRAINTS, orders
from synthmill.config import DataConfig, Recipe, dump, fingerprint, parse_model
from synthmill.data.constraints._expression import Expression, ExpressionError
from synthmill.data.rebuilding import make_plan
from synthmill.data.schema import ColumnRule, parse_rules
from synthmill.data.stated import stated_constraints
from synthmill.errors import ConstraintsError, DataError, RecipeError
from synthmill.training.prepare import resolve

BASE: dict[str, Any] = {"name": "a", "data": {"source": "x.csv"}, "model": {"name": "tvae"}}


def recipe(*own: Any) -> Recipe:
    return parse_model(Recipe, {**BASE, "data": {"source": "x.csv", "constraints": list(own)}})


def plan(table: pa.Table, *own: Any, **rules: ColumnRule) -> Any:
    return make_plan(DataConfig(source="x", constraints=own).constraints, table.schema, rules)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"type": "inequalty", "columns": ["a", "b"]},
            r"data\.constraints\.0\.type: .*did you mean 'inequality'",
        ),
        ({"columns": ["a", "b"]}, r"data\.constraints\.0\.type: is one of inequality, range"),
        ({"type": "inequality", "columns": ["a"]}, r"data\.constraints\.0\.columns: "),
        ({"type": "sum", "total": "a"}, r"data\.constraints\.0\.plus: is required"),
        (
            {"type": "sum", "totl": "a", "plus": ["b"], "total": "a"},
            r"0\.totl: unknown key; did you mean 'total'",
        ),
        ({"type": "fixed_increments", "column": "a", "step": 0}, r"data\.constraints\.0\.step: "),
        ({"type": "range", "column": "a"}, r"data\.constraints\.0: state `columns: "),
    ],
)
def test_a_mistake_in_an_entry_is_named(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe(entry)


def test_recipes_without_constraints_keep_their_fingerprint() -> None:
    plain = parse_model(Recipe, BASE)
    assert "constraints" not in dump(plain)["data"]
    assert fingerprint(plain) != fingerprint(recipe({"type": "unique", "columns": ["a"]}))
    stated = recipe({"type": "range", "column": "a", "minimum": 1})
    assert parse_model(Recipe, dump(stated)) == stated


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ([("inequality", ["low", "high"]), ("inequality", ["high", "low"])], "contradict each other"),
        ([("inequality", ["low", "hihg"])], "no column named 'hihg'; did you mean 'high'"),
        ([("inequality", ["low", "city"])], "'city' is string, which has no order"),
        ([("inequality", ["low", "start"])], "'low' holds numbers and 'start' dates and times"),
        ([("one_hot", ["hot 0", "hot 1"]), ("one_hot", ["hot 1", "hot 2"])], "both rebuild 'hot 1'"),
        ([("one_hot", ["hot 0", "city"])], "'city' is string; it must hold 0 and 1"),
        ([("fixed_combinations", ["city", "city"])], "'city' stands in it twice"),
    ],
)
def test_constraints_that_can_not_be_are_named(own: list[Any], message: str) -> None:
    with pytest.raises(ConstraintsError, match=message):
        plan(orders(20), *({"type": kind, "columns": columns} for kind, columns in own))


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ([{"column": "age", "minimum": 5, "maximum": 3}], "leave no value for 'age'"),
        ([{"column": "age", "minimum": 50}, {"column": "age", "maximum": 30}], "leave no value for 'age'"),
        ([{"column": "low", "minimum": 9}, {"column": "high", "maximum": 7}], "leave no value for"),
        ([{"column": "start", "minimum": 7}], "state its bound as an ISO date"),
        ([{"column": "age", "minimum": "2020-01-01"}], "state its bound as a number"),
        ([{"column": "start", "maximum": "soon"}], "'soon' is no ISO date"),
        ([{"column": "city", "minimum": 1}], "'city' is string, which has no bounds"),
    ],
)
def test_bounds_that_exclude_each_other_are_named(own: list[dict[str, Any]], message: str) -> None:
    order = {"type": "inequality", "columns": ["low", "high"]}
    with pytest.raises(ConstraintsError, match=message):
        plan(orders(20), order, *({"type": "range", **one} for one in own))


def test_all_faults_are_told_at_once() -> None:
    own = [{"type": "unique", "columns": ["nobody"]}, {"type": "sum", "total": "city", "plus": ["a"]}]
    with pytest.raises(ConstraintsError) as found:
        plan(orders(20), *own)
    assert [fault.partition(" ")[0] for fault in found.value.faults] == [
        "data.constraints.0",
        "data.constraints.1",
    ]


def test_a_rebuilt_column_has_no_bounds_in_the_schema_file() -> None:
    own = {"type": "inequality", "columns": ["low", "high"]}
    with pytest.raises(ConstraintsError, match="state them as a range constraint"):
        plan(orders(20), own, high=ColumnRule(maximum=7))
    plan(orders(20), own, low=ColumnRule(maximum=7))


def test_sums_that_go_round_in_a_circle_are_named() -> None:
    table = pa.table({"a": [1.0], "b": [1.0], "c": [0.0]})
    own = [{"type": "sum", "total": "a", "plus": ["b", "c"]}, {"type": "sum", "total": "b", "plus": ["a"]}]
    with pytest.raises(ConstraintsError, match="each rebuilds a column from those of the other"):
        plan(table, *own)


SDV = [
    ("Inequality", {"low_column_name": "a", "high_column_name": "b", "strict_boundaries": True},
     {"type": "inequality", "columns": ["a", "b"], "strict": True}),
    ("ScalarInequality", {"column_name": "a", "relation": ">=", "value": 3},
     {"type": "range", "column": "a", "minimum": 3}),
    ("ScalarInequality", {"column_name": "a", "relation": "<", "value": "2020-01-31"},
     {"type": "range", "column": "a", "maximum": "2020-01-31", "strict": True}),
    ("Range", {"low_column_name": "a", "middle_column_name": "b", "high_column_name": "c"},
     {"type": "range", "columns": ["a", "b", "c"], "strict": True}),
    ("ScalarRange", {"column_name": "a", "low_value": 1, "high_value": 2, "strict_boundaries": False},
     {"type": "range", "column": "a", "minimum": 1, "maximum": 2}),
    ("Positive", {"column_name": "a"}, {"type": "range", "column": "a", "minimum": 0}),
    ("Negative", {"column_name": "a", "strict_boundaries": True},
     {"type": "range", "column": "a", "maximum": 0, "strict": True}),
    ("FixedCombinations", {"column_names": ["a", "b"]},
     {"type": "fixed_combinations", "columns": ["a", "b"]}),
    ("FixedIncrements", {"column_name": "a", "increment_value": 500},
     {"type": "fixed_increments", "column": "a", "step": 500}),
    ("OneHotEncoding", {"column_names": ["a", "b"]}, {"type": "one_hot", "columns": ["a", "b"]}),
    ("Unique", {"column_names": ["a"]}, {"type": "unique", "columns": ["a"]}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "given", "ours"), SDV)
def test_constraints_of_sdv_are_read(name: str, given: dict[str, Any], ours: dict[str, Any]) -> None:
    column = {"a": {"sdtype": "numerical"}}
    listed = [{"constraint_class": name, "table_name": "t", "constraint_parameters": given}]
    forms = [
        {"METADATA_SPEC_VERSION": "SINGLE_TABLE_V1", "columns": column, "constraints": listed},
        {"tables": {"t": {"columns": column, "constraints": listed}}},
        {"columns": {"a": {"kind": "integer"}}, "constraints": [{"constraint_name": name, **given}]},
        {"columns": {"a": {"kind": "integer"}}, "constraints": [ours]},
    ]
    (expected,) = DataConfig(source="x", constraints=[ours]).constraints or ()
    for form in forms:
        assert stated_constraints(json.dumps(form)) == (expected,)
        assert list(parse_rules(json.dumps(form), name="schema.json")) == ["a"]


def test_a_schema_file_adds_its_constraints_once(tmp_path: Path) -> None:
    path = tmp_path / "schema.yaml"
    own = {"type": "unique", "columns": ["key"]}
    path.write_text(yaml.safe_dump({"columns": {}, "constraints": [own, CONSTRAINTS[0]]}))
    stated = parse_model(
        Recipe, {**BASE, "data": {"source": "x.csv", "schema": str(path), "constraints": [own]}}
    )
    found = resolve(stated).data.constraints or ()
    assert [one.type for one in found] == ["unique", "inequality"]
    assert resolve(resolve(stated)).data.constraints == found


def test_unknown_constraints_of_sdv_are_named() -> None:
    text = json.dumps({"columns": {}, "constraints": [{"constraint_class": "Rounded"}]})
    with pytest.raises(DataError, match="'Rounded' is no constraint that is read"):
        stated_constraints(text)
    text = json.dumps({"columns": {}, "constraints": [{"constraint_class": "Positive"}]})
    with pytest.raises(DataError, match="Positive lacks 'column_name'"):
        stated_constraints(text)


def test_images_have_no_constraints() -> None:
    own = [{"type": "unique", "columns": ["a"]}]
    raw = {
        "name": "a",
        "data": {"source": "sklearn://digits", "constraints": own},
        "model": {"name": "dcgan"},
    }
    with pytest.raises(RecipeError, match=r"data\.constraints: dcgan learns images"):
        resolve(parse_model(Recipe, raw))


ROWS = pa.table(
    {
        "a": pa.array([1, 2, None, 4]),
        "b c": pa.array([2.0, 1.0, 1.0, None]),
        "plan": ["pro", "team", None, "pro"],
        "day": pa.array(["2020-01-01", "2020-02-01", None, "2021-01-01"]).cast(pa.date32()),
        "yes": [True, False, True, None],
        "`x`": [2**60, 2**60 + 1, 3, 4],
    }
)


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("a <= `b c`", [True, False, True, True]),
        ("a + `b c` * 2 - 1 == 4 or plan == 'team'", [True, True, True, True]),
        ("plan in ('pro', 'basic')", [True, False, True, True]),
        ("plan not in ('pro',)", [False, True, True, False]),
        ("day >= '2020-02-01'", [False, True, True, True]),
        ("1 < a <= 3", [False, True, True, False]),
        ("days(day - day) < a", [True, True, True, True]),
        ("not yes", [False, True, False, True]),
        ("yes and a < 1", [False, False, True, False]),
        ("a > 1 if yes else a < 3", [False, True, True, True]),
        ("missing(a) or a < 3", [True, True, True, False]),
        ("```x``` > 1152921504606846976", [False, True, False, False]),
        ("abs(min(a, `b c`)) // 1 % 2 == 1", [True, True, True, True]),
        ("1 / (a - 1) > 0", [True, True, True, True]),
        ("a * 4611686018427387904 > 0", [True, True, True, True]),
    ],
)
def test_formulas_as_sql_would_have_them(text: str, held: list[bool]) -> None:
    assert Expression(text).true(ROWS).tolist() == held


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("__import__('os').system('x') == 1", "function"),
        ("a.real > 1", "not allowed"),
        ("[x for x in (1, 2)] == a", "not allowed"),
        ("(lambda: 1)() == a", "function"),
        ("a[0] > 1", "not allowed"),
        ("a >", "can't be read"),
        ("1 < 2", "names no column"),
        ("a ** 9999 > 1", "power above"),
        ("f'{a}' == 'x'", "not allowed"),
        ("+".join(["a"] * 600) + " > 1", "more than 1000 parts"),
    ],
)
def test_nothing_but_formulas_is_taken(text: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        Expression(text).true(ROWS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a + 1", "is no comparison"),
        ("plan > 1", "not a number"),
        ("plan + a > 1", "computes with text"),
        ("a and yes", "number or a text as true"),
        ("day > 'soon'", "no ISO date"),
    ],
)
def test_formulas_of_other_kinds_are_refused_before_training(text: str, message: str) -> None:
    with pytest.raises(ConstraintsError, match=message):
        plan(ROWS, {"type": "formula", "expression": text})


def test_odd_names_are_no_trouble() -> None:
    names = ["a b", "\U0001f600", "x`y", "a <= b", "0"]
    table = pa.table({name: np.arange(30) + at for at, name in enumerate(names)})
    found = plan(table, {"type": "inequality", "columns": names}, {"type": "unique", "columns": ["x`y", "0"]})
    found.fit(table, None)
    learnt, _ = found.learnt(table)
    assert found.rebuilt(learnt, bounded=False).equals(table)
