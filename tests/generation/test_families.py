"""Keys of generated tables hold for any schema and any model; stretches are independent of one another."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from families import assembled, check_keys, draw_tables, untrained
from retail import FIVE, five_tables
from synthmill.errors import UserError
from synthmill.generation.families import Families
from synthmill.generation.family_plan import plan_families


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 10_000), st.integers(2, 5), st.sampled_from([0.3, 1.0, 2.5]))
def test_keys_hold_in_any_schema(seed: int, count: int, scale: float) -> None:
    drawn = draw_tables(seed, count)
    families = untrained(assembled(drawn.tables, drawn.schema), scale=scale, seed=seed, stretch_rows=50)
    check_keys(families.tables(), drawn.schema, drawn.tables)


def test_stretches_come_out_alike_in_any_order_and_alone() -> None:
    base = assembled(five_tables(60), FIVE)
    whole = untrained(base, stretch_rows=100).tables()
    families = untrained(base, stretch_rows=100)
    stretches = families.plan.stretches()
    assert len(stretches) > 4
    sizes = {one.number: families.sizes(one) for one in reversed(stretches)}
    parts: dict[str, list[pa.Table]] = {name: [] for name in whole}
    offsets = dict.fromkeys(whole, 0)
    for one in stretches:
        # Each in a process of its own, as it were.
        fresh = untrained(base, stretch_rows=100)
        for name, table in fresh.finished(one, fresh.parts(one), offsets).items():
            assert table.num_rows == sizes[one.number][name]
            parts[name].append(table)
        offsets = {name: rows + sizes[one.number].get(name, 0) for name, rows in offsets.items()}
    assert all(pa.concat_tables(parts[name]).equals(table) for name, table in whole.items())


def test_another_seed_gives_other_rows_and_the_same_seed_the_same() -> None:
    base = assembled(five_tables(60), FIVE)
    assert untrained(base, seed=1).tables() == untrained(base, seed=1).tables()
    assert not untrained(base, seed=1).tables()["lines"].equals(untrained(base, seed=2).tables()["lines"])


def test_pairs_that_are_the_key_come_once_also_where_they_are_nearly_all_there_are() -> None:
    rng = np.random.default_rng(0)
    taken = rng.random((60, 8)) < 0.8
    student, course = np.nonzero(taken)
    tables = {
        "students": pa.table({"id": np.arange(60), "year": rng.integers(1, 4, 60)}),
        "courses": pa.table({"code": [f"C{n}" for n in range(8)], "hard": rng.random(8) < 0.5}),
        "taken": pa.table({"student": student, "course": [f"C{n}" for n in course.tolist()]}),
    }
    schema = {
        "tables": {
            "students": {"key": ["id"], "foreign_keys": []},
            "courses": {"key": ["code"], "foreign_keys": []},
            "taken": {
                "key": ["student", "course"],
                "foreign_keys": [
                    {"columns": ["student"], "table": "students"},
                    {"columns": ["course"], "table": "courses"},
                ],
            },
        },
        "split": {"holdout": 0.0, "validation": 0.0},
    }
    made = untrained(assembled(tables, schema), scale=1.5).tables()
    check_keys(made, schema, tables)
    assert made["taken"].num_rows > 200


def test_no_rows_and_unknown_tables_are_refused() -> None:
    spec = untrained(assembled(five_tables(60), FIVE)).spec
    for scale in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UserError, match="scale: must be above 0"):
            plan_families(spec, scale=scale, rows={}, seed=0)
    with pytest.raises(
        UserError, match="'orders' is no table whose rows can be asked for; there is: regions, products"
    ):
        plan_families(spec, scale=1, rows={"orders": 5}, seed=0)
    assert plan_families(spec, scale=0.001, rows={}, seed=0).roots == {"regions": 1, "products": 1}


def test_a_key_without_room_says_so() -> None:
    tables = {
        "shops": pa.table({"id": pa.array(range(90), pa.int8()), "size": [n % 3 for n in range(90)]}),
        "tills": pa.table(
            {"shop": pa.array([n % 90 for n in range(300)], pa.int8()), "kind": ["a", "b", "c"] * 100}
        ),
    }
    schema = {
        "tables": {
            "shops": {"key": "id", "foreign_keys": []},
            "tills": {"key": [], "foreign_keys": ["shop -> shops"]},
        }
    }
    base = assembled(tables, schema)
    with pytest.raises(UserError, match="keys 'id' of type int8 can number"):
        untrained(base, scale=3).tables()


def test_tables_to_choose_from_hold_what_choosing_needs_and_give_the_same_rows_to_all() -> None:
    base = assembled(five_tables(60), FIVE)
    families = untrained(base, stretch_rows=100)
    wholes = families.wholes()
    assert set(wholes) == {"products"}
    products = families.spec.table("products")
    lines = families.spec.table("lines").relations[1]
    assert set(wholes["products"].typed.column_names) == {
        *(column.source for column in lines.contexts),
        lines.count,
    }
    assert wholes["products"].keys.column_names == list(products.key)
    # Whoever is given them computes the same rows, and computes no product for a stretch of regions.
    given = Families(families.spec, families.generators, families.plan, wholes)
    (first,) = [one for one in families.plan.stretches() if (one.root, one.index) == ("regions", 0)]
    offsets = dict.fromkeys((table.name for table in families.spec.tables), 0)
    fresh = untrained(base, stretch_rows=100)
    theirs = fresh.finished(first, fresh.parts(first), offsets)
    assert given.finished(first, given.parts(first), offsets) == theirs
