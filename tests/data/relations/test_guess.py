"""Keys and foreign keys that nobody states are guessed, and every guess is said."""

import pyarrow as pa

from families import assembled
from retail import FIVE, five_tables, two_levels
from synthmill.data.relations.guess import guess_foreign_keys


def test_two_levels_are_found_by_names_and_values() -> None:
    base = assembled(two_levels(100), {"tables": {}})
    assert base.keys == {"customers": ("customer_id",), "orders": ("order_id",)}
    assert [(one.text, one.parent, one.role) for one in base.relations] == [
        ("orders.customer_id", "customers", "owner")
    ]
    assert len(base.notes) == 3
    assert "'customer_id' is taken for a key of 'customers'" in base.notes[-1]


def test_five_tables_are_found_but_for_the_key_of_two_columns() -> None:
    base = assembled(five_tables(60), {"tables": {}})
    stated = {name: table["key"] for name, table in FIVE["tables"].items() if name != "lines"}
    assert {name: key[0] for name, key in base.keys.items() if key} == stated
    assert {(one.text, one.parent) for one in base.relations} == {
        ("customers.region", "regions"),
        ("orders.customer", "customers"),
        ("lines.order_no", "orders"),
        ("lines.sku", "products"),
    }


def test_a_manager_is_a_row_of_the_same_table_and_numbers_of_another_kind_are_not() -> None:
    staff = pa.table(
        {
            "id": range(1, 41),
            "manager_id": [None, *([1] * 9), *([2] * 30)],
            "floor": [n % 4 + 1 for n in range(40)],
        }
    )
    (relation,) = assembled({"staff": staff}, {"tables": {}}).relations
    assert (relation.text, relation.role) == ("staff.manager_id", "self")


def test_what_is_stated_is_not_guessed() -> None:
    base = assembled(two_levels(100), {"tables": {"orders": {"key": "order_id", "foreign_keys": []}}})
    assert not base.relations
    assert not any(note.startswith("orders") for note in base.notes)


def test_what_is_called_like_a_key_but_is_none_is_said() -> None:
    tables = two_levels(100)
    tables["orders"] = tables["orders"].append_column("till_id", tables["orders"]["customer_id"])
    base = assembled(tables, {"tables": {}})
    assert len(base.relations) == 1
    assert any("'till_id' is called like a key but is taken for none" in note for note in base.notes)


def test_a_few_orphans_do_not_hide_what_a_column_is() -> None:
    """They are then told of, instead of the column being learnt as numbers."""
    tables = {
        "customers": pa.table({"customer_id": list(range(20))}),
        "orders": pa.table({"order_id": list(range(30)), "customer_id": [*range(20), *[3] * 7, 77, 78, 79]}),
    }
    keys = {"customers": ("customer_id",), "orders": ("order_id",)}
    (found,), (note,) = guess_foreign_keys("orders", tables, keys)
    assert (found.columns, found.table) == (("customer_id",), "customers")
    assert "27 of 30 values are in 'customer_id' there" in note
    far = tables["orders"].set_column(1, "customer_id", pa.array([*range(10), *range(100, 120)]))
    assert guess_foreign_keys("orders", {**tables, "orders": far}, keys)[0] == ()
