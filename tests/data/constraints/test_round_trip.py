"""Rows that meet constraints come back as they were: `rebuilt(learnt(table)) == table`."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthmill.config import DataConfig
from synthmill.data.rebuilding import Plan, check_rows, make_plan
from synthmill.errors import ConstraintsError

WHOLE = st.integers(-(2**63), 2**63 - 1)
DAYS = st.dates(date(1700, 1, 1), date(9999, 12, 31))
TIMES = st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1))
CENTS = st.decimals(-(10**12), 10**12, places=2, allow_nan=False)
TENTHS = st.integers(-(10**9), 10**9).map(lambda number: number / 10)


def plan_of(table: pa.Table, *own: dict[str, Any]) -> Plan:
    configs = DataConfig(source="x", constraints=own).constraints
    plan = make_plan(configs, table.schema, {})
    check_rows(plan.constraints, table)
    plan.fit(table, None)
    return plan


def returns(table: pa.Table, *own: dict[str, Any]) -> None:
    """The table is rebuilt cell by cell, by a plan that went through JSON as well."""
    plan = plan_of(table, *own)
    learnt, _ = plan.learnt(table)
    again = make_plan(DataConfig(source="x", constraints=own).constraints, table.schema, {})
    again.restore(plan.state())
    for one in (plan, again):
        back = one.rebuilt(learnt, bounded=False)
        for name in table.column_names:
            assert back[name].to_pylist() == table[name].to_pylist(), name


@st.composite
def ascending(draw: Any, values: Any, columns: int, kinds: list[Any]) -> list[list[Any]]:
    """Columns whose rows ascend, some cells missing."""
    rows = draw(st.lists(st.lists(values, min_size=columns, max_size=columns).map(sorted), min_size=1))
    gone = [draw(st.lists(st.booleans(), min_size=columns, max_size=columns)) for _ in rows]
    return [
        [None if away[at] else row[at] for row, away in zip(rows, gone, strict=True)] for at in range(columns)
    ]


def chain(cells: list[list[Any]], kinds: list[pa.DataType]) -> pa.Table:
    return pa.table({name: pa.array(own, kind) for name, own, kind in zip("abc", cells, kinds, strict=True)})


CHAIN = {"type": "inequality", "columns": ["a", "b", "c"]}


@settings(deadline=None, max_examples=60)
@given(ascending(WHOLE, 3, []))
def test_whole_numbers_of_64_bits(cells: list[list[Any]]) -> None:
    returns(chain(cells, [pa.int64()] * 3), CHAIN)


@settings(deadline=None, max_examples=60)
@given(ascending(DAYS, 3, []))
def test_dates(cells: list[list[Any]]) -> None:
    returns(chain(cells, [pa.date32()] * 3), CHAIN)


@settings(deadline=None, max_examples=60)
@given(ascending(TIMES, 3, []))
def test_times_of_several_units_and_dates(cells: list[list[Any]]) -> None:
    low = [None if cell is None else cell.date() for cell in cells[0]]
    returns(chain([low, *cells[1:]], [pa.date32(), pa.timestamp("us"), pa.timestamp("ns")]), CHAIN)


@settings(deadline=None, max_examples=60)
@given(ascending(CENTS, 3, []))
def test_decimals_of_several_scales(cells: list[list[Any]]) -> None:
    low = [None if cell is None else cell.quantize(Decimal(1), "ROUND_FLOOR") for cell in cells[0]]
    kinds = [pa.decimal128(18, 0), pa.decimal128(18, 2), pa.decimal128(18, 4)]
    returns(chain([low, *cells[1:]], kinds), CHAIN)


@settings(deadline=None, max_examples=60)
@given(ascending(TENTHS, 3, []))
def test_floats_with_a_last_digit(cells: list[list[Any]]) -> None:
    returns(chain(cells, [pa.float64()] * 3), CHAIN)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(*[st.none() | TENTHS] * 3), min_size=1))
def test_sums_of_floats(rows: list[tuple[Any, Any, Any]]) -> None:
    totals = [None if None in row else round(row[0] + row[1] - row[2], 1) for row in rows]
    table = chain([list(cells) for cells in zip(*rows, strict=True)], [pa.float64()] * 3)
    table = table.append_column("total", pa.array(totals, pa.float64()))
    returns(table, {"type": "sum", "total": "total", "plus": ["a", "b"], "minus": ["c"]})


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.none() | CENTS, st.none() | CENTS, st.booleans()), min_size=1))
def test_sums_of_decimals_with_odd_missing_cells(rows: list[tuple[Any, Any, bool]]) -> None:
    totals = [
        Decimal("1.00") if None in (a, b) and away else None if away or None in (a, b) else a + b
        for a, b, away in rows
    ]
    kind = pa.decimal128(18, 2)
    names = {"a": [a for a, _, _ in rows], "b": [b for _, b, _ in rows], "total": totals}
    table = pa.table({name: pa.array(cells, kind) for name, cells in names.items()})
    returns(table, {"type": "sum", "total": "total", "plus": ["a", "b"]})


LEVELS = st.tuples(
    st.none() | st.text(max_size=5),
    st.none() | WHOLE,
    st.none() | st.floats(allow_nan=False),
    st.none() | TIMES,
    st.none() | st.booleans(),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(LEVELS, min_size=1))
def test_combinations_of_any_types(rows: list[tuple[Any, ...]]) -> None:
    kinds = [pa.string(), pa.int64(), pa.float64(), pa.timestamp("us"), pa.bool_()]
    columns = {f"c {at}": pa.array([row[at] for row in rows], kind) for at, kind in enumerate(kinds)}
    returns(pa.table(columns), {"type": "fixed_combinations", "columns": list(columns)})


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.none() | st.integers(-(10**12), 10**12), min_size=1), st.sampled_from([0.05, 0.25, 3, 2.5])
)
def test_increments(many: list[int | None], step: float) -> None:
    cells = [None if one is None else float(Decimal(str(step)) * one) for one in many]
    returns(
        pa.table({"a": pa.array(cells, pa.float64())}),
        {"type": "fixed_increments", "column": "a", "step": step},
    )


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(WHOLE, st.timedeltas(timedelta(0), timedelta(999))), min_size=1))
def test_several_constraints_build_on_each_other(rows: list[tuple[int, timedelta]]) -> None:
    whole = [row[0] // 4 for row in rows]
    gap = [row[1].days for row in rows]
    table = pa.table({"low": whole, "gap": gap, "high": [a + b for a, b in zip(whole, gap, strict=True)]})
    table = table.append_column("top", table["high"])
    returns(
        table,
        {"type": "sum", "total": "high", "plus": ["low", "gap"]},
        {"type": "inequality", "columns": ["high", "top"]},
    )


def test_rows_that_break_a_constraint_are_named() -> None:
    table = pa.table({"a": [1, 2, 9, 4, 8, 7], "b": [2, 2, 3, 3, 3, 9]})
    named = r"data.constraints.0 \(a <= b\): 3 of 6 rows break it \(rows 3, 4, 5\)"
    with pytest.raises(ConstraintsError, match=named):
        plan_of(table, {"type": "inequality", "columns": ["a", "b"]})
