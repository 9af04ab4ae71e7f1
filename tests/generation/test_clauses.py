"""Clauses: text with and without backticks, objects, and back to text."""

from datetime import date, datetime
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthmill.errors import ConditionError
from synthmill.generation.clauses import OPERATORS, Clause, clauses_of, parse_where, where_texts


@pytest.mark.parametrize(
    ("text", "clause"),
    [
        ("income=>50K", Clause("income", "=", ">50K")),
        (" age >= 30 ", Clause("age", ">=", "30")),
        ("a!=b", Clause("a", "!=", "b")),
        ("`BMI >= 30`=yes", Clause("BMI >= 30", "=", "yes")),
        (" `BMI >= 30` != no", Clause("BMI >= 30", "!=", "no")),
        ("`=formula`=x", Clause("=formula", "=", "x")),
        ("`a``b`<=3", Clause("a`b", "<=", "3")),
        ("` lead`=x", Clause(" lead", "=", "x")),
        ("``````=x", Clause("``", "=", "x")),
        ("`a`=`b`", Clause("a", "=", "`b`")),
        ("it`s=`x", Clause("it`s", "=", "`x")),
        ("a=b=c", Clause("a", "=", "b=c")),
        ("plan in {pro, basic}", Clause("plan", "in", "basic,pro")),
        ("`a in {b}` in {x}", Clause("a in {b}", "in", "x")),
        ('x in {">50K", "a, b"}', Clause("x", "in", '">50K","a, b"'.replace('">50K"', ">50K"))),
        ("x=a in {b}", Clause("x", "=", "a in {b}")),
    ],
)
def test_text(text: str, clause: Clause) -> None:
    assert parse_where(text) == clause
    assert parse_where(str(clause)) == clause


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("income", "compares nothing; write COLUMN=VALUE"),
        ("=3", "has no column"),
        ("age>", "has no value"),
        ("``=3", "has no column"),
        ("`a`=", "has no value"),
        ("`a` 3", "has no operator behind the column"),
        ("`a=3", "the backtick before the column is not closed"),
        ("a in {}", "a set needs values"),
        ("a in {x,,y}", "a set needs values"),
    ],
)
def test_what_is_no_clause(text: str, message: str) -> None:
    with pytest.raises(ConditionError, match=r"^--where: ") as caught:
        parse_where(text)
    assert message in str(caught.value)


def test_only_names_that_need_quotes_get_them() -> None:
    assert str(Clause("income", "=", ">50K")) == "income=>50K"
    assert str(Clause("BMI >= 30", "=", "yes")) == "`BMI >= 30`=yes"
    assert str(Clause("naïve 😀", "<", "3")) == "naïve 😀<3"


@given(
    st.text(min_size=1),
    st.sampled_from(OPERATORS),
    st.text(min_size=1).map(str.strip).filter(bool),
)
def test_every_clause_reads_back(column: str, op: str, value: str) -> None:
    clause = Clause(column, op, value)
    if op in ("<", ">") and value.startswith("="):
        # `a<` with the value `=b` is written as `a<=b` is; no operand of an order begins like that.
        return
    assert parse_where(str(clause)) == clause


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"income": ">50K"}, (Clause("income", "=", ">50K"),)),
        ({"a": 1, "b": True}, (Clause("a", "=", "1"), Clause("b", "=", "true"))),
        ({"column": "BMI >= 30", "op": "!=", "value": "no"}, (Clause("BMI >= 30", "!=", "no"),)),
        ({"column": "age", "op": ">=", "value": 30}, (Clause("age", ">=", "30"),)),
        ({"column": "age", "op": "==", "value": np.int64(3)}, (Clause("age", "=", "3"),)),
        ({"column": "age", "value": 0.1}, (Clause("age", "=", "0.1"),)),
        ({"column": "x"}, (Clause("column", "=", "x"),)),
        ({"day": date(2024, 1, 31)}, (Clause("day", "=", "2024-01-31"),)),
        ({"at": datetime(2024, 1, 31, 12)}, (Clause("at", "=", "2024-01-31T12:00:00"),)),
        ({"pay": Decimal("1.50")}, (Clause("pay", "=", "1.50"),)),
        (Clause("a", "<", "1"), (Clause("a", "<", "1"),)),
        ({"column": "a", "op": "in", "value": [3, 1]}, (Clause("a", "in", "1,3"),)),
        ("a<1", (Clause("a", "<", "1"),)),
    ],
)
def test_objects(condition: object, expected: tuple[Clause, ...]) -> None:
    assert clauses_of(condition) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ({}, "is no condition"),
        (3, "is no condition"),
        (["a=1"], "is no condition"),
        ({"column": "a", "op": "like", "value": "x"}, "'like' is no operator"),
        ({"column": 3, "value": "x"}, "3 is no name of a column"),
        ({"a": None}, "a missing value satisfies no comparison"),
        ({"a": float("nan")}, "a missing value satisfies no comparison"),
        ({"a": [1, 2]}, "is no single value"),
        ({"a": ""}, "has no value"),
    ],
)
def test_objects_that_say_nothing(condition: object, message: str) -> None:
    with pytest.raises(ConditionError, match=r"^--where: ") as caught:
        clauses_of(condition)  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_conditions_of_every_kind_become_texts() -> None:
    assert where_texts("a =1") == ("a =1",), "a text stays as it was written"
    assert where_texts({"BMI >= 30": "yes"}) == ("`BMI >= 30`=yes",)
    assert where_texts(["a=1", {"b": 2, "c": "x"}, Clause("d", "<", "3")]) == ("a=1", "b=2", "c=x", "d<3")
    assert where_texts(()) == ()
