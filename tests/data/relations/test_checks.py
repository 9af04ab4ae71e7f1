"""What is wrong with tables is said before training: a clear line each, with counts and rows, all at once."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from families import assembled
from retail import FIVE, five_tables, two_levels
from synthmill.data.relations.checks import levels_of
from synthmill.data.relations.graph import Relation
from synthmill.errors import DataError, RecipeError, TablesError

TWO: dict[str, Any] = {
    "tables": {
        "customers": {"key": "customer_id", "foreign_keys": []},
        "orders": {"key": "order_id", "foreign_keys": ["customer_id -> customers"]},
    }
}


def schema(**orders: Any) -> dict[str, Any]:
    return {"tables": {**TWO["tables"], "orders": {**TWO["tables"]["orders"], **orders}}}


def fault(tables: dict[str, pa.Table], stated: dict[str, Any]) -> str:
    with pytest.raises((DataError, RecipeError)) as caught:
        assembled(tables, stated)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_orphans_are_counted_and_shown() -> None:
    tables = two_levels(100)
    missing = set(tables["customers"]["customer_id"].to_pylist()[:5])
    rows = [row for row, key in enumerate(tables["orders"]["customer_id"].to_pylist()) if key in missing]
    tables["customers"] = tables["customers"].slice(5)
    text = fault(tables, TWO)
    assert (
        f"'customer_id' of {len(rows)} rows of {tables['orders'].num_rows} is in no row of 'customers'"
        in text
    )
    assert f"(row {rows[0] + 1})" in text


def test_duplicate_and_missing_keys_are_counted() -> None:
    tables = two_levels(100)
    doubled = pa.concat_tables([tables["customers"], tables["customers"].slice(0, 2)])
    assert "2 rows of 102 repeat 'customer_id' of an earlier row, such as 1 (row 101), 2 (row 102)" in fault(
        {**tables, "customers": doubled}, TWO
    )
    holes = pa.array([None, None, *range(3, 101)], pa.int64())
    broken = tables["customers"].set_column(0, "customer_id", holes)
    assert "'customer_id' is missing in 2 rows of 100 (row 1, 2)" in fault(
        {**tables, "customers": broken}, TWO
    )


def test_types_that_differ_are_named() -> None:
    tables = two_levels(100)
    texts = pa.array([f"{key}x" for key in tables["customers"]["customer_id"].to_pylist()])
    tables["customers"] = tables["customers"].set_column(0, "customer_id", texts)
    assert "'customer_id' holds whole numbers, and 'customer_id' of 'customers' text" in fault(tables, TWO)


def test_unknown_tables_and_columns_come_together() -> None:
    stated = schema(key="order", foreign_keys=["customer -> customers", "channel -> shops"])
    with pytest.raises(TablesError) as caught:
        assembled(two_levels(100), stated)
    assert len(caught.value.faults) == 3
    assert any("no table named 'shops'" in line for line in caught.value.faults)
    assert any("did you mean 'customer_id'?" in line for line in caught.value.faults)


def test_a_cycle_between_tables_names_its_way() -> None:
    tables = two_levels(100)
    first = {
        key: order
        for order, key in zip(
            *(tables["orders"][c].to_pylist() for c in ("order_id", "customer_id")), strict=True
        )
    }
    favourite = pa.array([first.get(key) for key in tables["customers"]["customer_id"].to_pylist()])
    tables["customers"] = tables["customers"].append_column("favourite", favourite)
    stated = schema()
    stated["tables"]["customers"] = {"key": "customer_id", "foreign_keys": ["favourite -> orders"]}
    text = fault(tables, stated)
    assert "customers (favourite) -> orders (customer_id) -> customers is a cycle" in text


def test_composite_keys_must_be_named_whole() -> None:
    tables = five_tables(60)
    tables["returns"] = pa.table(
        {"line": tables["lines"]["line"], "why": ["broken"] * tables["lines"].num_rows}
    )
    stated = {"tables": {**FIVE["tables"], "returns": {"key": [], "foreign_keys": ["line -> lines"]}}}
    assert "has 1 columns, the key of 'lines' has 2 (order_no, line)" in fault(tables, stated)


def test_rows_that_are_above_themselves_are_found() -> None:
    above = pa.array([None, 1, 1, 5, 4, 2] + [1] * 24)
    table = pa.table({"id": range(1, 31), "boss": above, "pay": [float(n % 7) for n in range(30)]})
    text = fault({"staff": table}, {"tables": {"staff": {"key": "id", "foreign_keys": ["boss -> staff"]}}})
    assert "2 rows of 30 never come to a row without 'boss'" in text
    assert "5 (row 4), 4 (row 5)" in text


def test_levels_count_who_is_above_and_who_names_himself_is_at_the_top() -> None:
    index = np.array([0, 0, 1, 2, -1, 4])
    level, stuck = levels_of(Relation("t", ("p",), "t", index))
    assert level.tolist() == [0, 1, 2, 3, 0, 1]
    assert not len(stuck)


def test_a_table_that_can_not_be_read_is_named() -> None:
    tables = {**two_levels(60), "notes": pa.table({"id": [1, 2, 3], "text": pa.nulls(3, pa.string())})}
    text = fault(tables, {"tables": TWO["tables"]})
    assert text.startswith("tables.notes: ")
    assert "'text' holds only missing values" in text


@pytest.mark.parametrize("name", ["_hidden", "a/b", "a=b", ".x", "x" * 101])
def test_names_that_are_no_folders_are_refused(name: str) -> None:
    assert "can't name a folder" in fault({name: two_levels(60)["customers"]}, {"tables": {}})


def test_foreign_keys_that_share_a_column_but_name_rows_of_their_own() -> None:
    rng = np.random.default_rng(0)
    tenant = np.repeat([0, 1], 20)
    tables = {
        "orders": pa.table({"tenant": tenant, "no": list(range(20)) * 2, "sum": rng.random(40)}),
        "goods": pa.table({"tenant": tenant, "sku": list(range(20)) * 2, "price": rng.random(40)}),
        "lines": pa.table(
            {"tenant": np.repeat([0, 1], 50), "no": rng.integers(0, 20, 100), "sku": rng.integers(0, 20, 100)}
        ),
    }
    stated = {
        "tables": {
            "orders": {"key": ["tenant", "no"], "foreign_keys": []},
            "goods": {"key": ["tenant", "sku"], "foreign_keys": []},
            "lines": {"key": [], "foreign_keys": ["tenant, no -> orders", "tenant, sku -> goods"]},
        }
    }
    assert "'tenant' is in both" in fault(tables, stated)
