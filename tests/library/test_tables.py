"""Several tables from Python: what parents tell of children is learnt, keys hold, models are saved."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import synthmill
from families import check_keys
from retail import FIVE, TINY, Tables, five_tables, named, two_levels
from synthmill.catalog.admin import delete, verify
from synthmill.catalog.store import Store
from synthmill.errors import DataError, RecipeError, UserError
from synthmill.library.tables import read_database

LEARNT = {**TINY, "model.config.epochs": 80, "training.max_steps": 250}


@pytest.fixture(scope="module")
def shop() -> synthmill.TablesModel:
    return synthmill.fit_tables(two_levels(400), name="shop", overrides=LEARNT, progress=False)


@pytest.fixture(scope="module")
def five() -> synthmill.TablesModel:
    return synthmill.fit_tables(five_tables(200), schema=FIVE, overrides=LEARNT, progress=False)


def by_plan(tables: Tables) -> dict[str, float]:
    """Orders a gold and a basic customer, and the share of shop orders among each."""
    of = named(tables, "orders", "customer_id", "customers", "customer_id")
    gold = np.array(tables["customers"]["plan"].to_pylist()) == "gold"
    count = np.bincount(of, minlength=len(gold))
    shop = np.array(tables["orders"]["channel"].to_pylist()) == "shop"
    return {
        "gold": count[gold].mean(),
        "basic": count[~gold].mean(),
        "shop gold": shop[gold[of]].mean(),
        "shop basic": shop[~gold[of]].mean(),
    }


def test_numbers_of_children_and_what_parents_tell_are_learnt(shop: synthmill.TablesModel) -> None:
    real, made = by_plan(two_levels(400)), by_plan(shop.sample(4.0, seed=1))
    assert real["gold"] - real["basic"] > 3
    assert abs(made["gold"] - real["gold"]) < 0.8
    assert abs(made["basic"] - real["basic"]) < 0.4
    assert made["shop gold"] - made["shop basic"] > 0.5


def test_keys_of_two_tables_hold_and_are_nobodys(shop: synthmill.TablesModel) -> None:
    schema = {
        "tables": {
            "customers": {"key": ["customer_id"], "foreign_keys": []},
            "orders": {
                "key": ["order_id"],
                "foreign_keys": [{"columns": ["customer_id"], "table": "customers"}],
            },
        }
    }
    check_keys(shop.sample(seed=2), schema, two_levels(400))


def test_five_tables_hang_together(five: synthmill.TablesModel) -> None:
    real, made = five_tables(200), five.sample(3.0, seed=1)
    of = named(made, "orders", "customer", "customers", "id")
    product = named(made, "lines", "sku", "products", "sku")
    order = named(made, "lines", "order_no", "orders", "order_no")
    named(made, "customers", "region", "regions", "region")
    assert min(product.min(), order.min()) >= 0
    # Some orders have no customer, as in the source.
    assert 0.01 < (of < 0).mean() < 0.12
    # Lines count from 1 in each order.
    lines = made["lines"]["line"].to_numpy()
    for row in range(0, len(order), 97):
        own = np.sort(lines[order == order[row]])
        assert own.tolist() == list(range(1, len(own) + 1))
    # A small product is ordered more often, and more at a time.
    small = np.array(made["products"]["kind"].to_pylist()) == "small"
    count = np.bincount(product, minlength=len(small))
    quantity = made["lines"]["quantity"].to_numpy()
    assert count[small].mean() > 1.4 * count[~small].mean()
    assert quantity[small[product]].mean() > quantity[~small[product]].mean() + 2
    assert made["lines"].schema.field("sku").type == real["lines"].schema.field("sku").type


def test_what_is_loaded_samples_the_same_rows(five: synthmill.TablesModel, tmp_path: Path) -> None:
    version = five.save(str(tmp_path), name="five")
    loaded = synthmill.load_tables("five", store=str(tmp_path))
    made, again = five.sample(seed=3), loaded.sample(seed=3)
    assert {name: table.to_pydict() for name, table in made.items()} == {
        name: table.to_pydict() for name, table in again.items()
    }
    assert verify(version.uri) == []
    paths = {entry.path for entry in version.manifest.files}
    assert {path.rpartition(".")[2] for path in paths} == {"json", "safetensors", "jsonl", "md"}
    assert "lines/weights.safetensors" in paths
    card = loaded.artifact.card
    assert "| lines.sku | products | one of its rows is chosen |" in card
    told = json.loads(again["lines"].schema.metadata[b"synthmill.sample"])
    assert told["model"] == "five@1"
    with pytest.raises(UserError, match="is a model of several tables"):
        synthmill.load("five", store=str(tmp_path))
    assert delete(Store(str(tmp_path)), "models/five@1")


def test_rows_can_be_asked_for_and_sampled_in_part(five: synthmill.TablesModel) -> None:
    made = five.sample(rows={"regions": 5, "products": 9}, seed=0)
    assert (made["regions"].num_rows, made["products"].num_rows) == (5, 9)
    assert five.sample(0.1, seed=0)["products"].num_rows == 6
    with pytest.raises(RecipeError, match="regions, products all hang on no other table"):
        five.sample(rows=10)


def test_no_training_row_is_in_an_artifact() -> None:
    tables = two_levels(300)
    # One customer has a name and a sum that nobody else has, and very many orders.
    plans = tables["customers"]["plan"].to_pylist()
    plans[7] = "secretplan"
    ages = tables["customers"]["age"].to_pylist()
    ages[7] = 977
    tables["customers"] = pa.table(
        {"customer_id": tables["customers"]["customer_id"], "plan": plans, "age": ages}
    )
    own = pa.table(
        {
            "order_id": [f"O-{90000 + n}" for n in range(30)],
            "customer_id": [8] * 30,
            "amount": [54321.25] * 30,
            "channel": ["secretchannel"] * 30,
        }
    )
    tables["orders"] = pa.concat_tables([tables["orders"], own])
    found = []
    for seed in range(3):
        model = synthmill.fit_tables(tables, overrides={**TINY, "split.seed": seed}, progress=False)
        parts = [model.artifact.config, *(one.codec for one in model.artifact.tables.values())]
        text = json.dumps(parts)
        found.append([word for word in ("secretplan", "977", "secretchannel", "54321.25") if word in text])
    assert found == [[], [], []]


def test_orders_of_a_family_are_on_one_side() -> None:
    base = read_database(two_levels(300), {"split.holdout": 0.3})
    (relation,) = base.relations
    assert (base.sides["orders"] == base.sides["customers"][relation.index]).all()
    assert np.bincount(base.sides["customers"]).tolist() == [180, 30, 90]


def test_odd_names_types_and_tables_come_out_as_they_went_in() -> None:
    rng = np.random.default_rng(0)
    parents = pa.table(
        {
            "na me`": pa.array([2**60 + n for n in range(60)]),
            "emoji \U0001f600": pa.array(rng.choice(["a", "b"], 60).tolist()).dictionary_encode(),
            "since": pa.array(rng.integers(0, 900, 60), pa.int32()).cast(pa.date32()),
            "ok": rng.random(60) < 0.5,
            "price": pa.array([f"{n % 7}.50" for n in range(60)]).cast(pa.decimal128(8, 2)),
        }
    )
    at = rng.integers(0, 60, 150)
    children = pa.table(
        {
            "par ent": pa.array((2**60 + at).astype(float), mask=rng.random(150) < 0.0),
            "same": ["x"] * 150,
            "code": pa.array([f"00{n:03d}" for n in rng.permutation(150).tolist()]),
        }
    )
    # Floats have no room for such keys; as integers they do.
    children = children.set_column(0, "par ent", pa.array(2**60 + at))
    schema = {
        "tables": {
            "p \U0001f600": {"key": "na me`", "foreign_keys": []},
            "c": {"key": "code", "foreign_keys": [{"columns": ["par ent"], "table": "p \U0001f600"}]},
        }
    }
    model = synthmill.fit_tables(
        {"c": children, "p \U0001f600": parents}, schema=schema, overrides=TINY, progress=False
    )
    made = model.sample(seed=0)
    named(made, "c", "par ent", "p \U0001f600", "na me`")
    assert made["p \U0001f600"].schema.remove_metadata().names == parents.column_names
    assert [f.type for f in made["p \U0001f600"].schema] == [f.type for f in parents.schema]
    assert all(len(code) == 5 for code in made["c"]["code"].to_pylist())
    assert set(made["c"]["same"].to_pylist()) == {"x"}


def test_a_table_of_few_rows_says_what_to_do() -> None:
    tables = two_levels(100)
    tables["kinds"] = pa.table({"kind_id": [1, 2, 3], "label": ["a", "b", "c"]})
    with pytest.raises(DataError, match=r"tables.kinds: 3 training rows are too few .*; leave the table out"):
        synthmill.fit_tables(tables, overrides=TINY)


def test_models_that_complete_no_rows_and_unknown_frames_are_refused() -> None:
    with pytest.raises(RecipeError, match="'ctgan' can't complete rows"):
        synthmill.fit_tables(two_levels(60), overrides={"model.name": "ctgan"})
    with pytest.raises(RecipeError, match="has a table 'shops', of which there is no frame"):
        synthmill.fit_tables(two_levels(60), schema={"tables": {"shops": {}}})


def staff() -> Tables:
    """40 departments, each with one or more at the top; managers are paid more than who is below them, and
    missing managers are floats' NaN, as data frames have them."""
    rng = np.random.default_rng(0)
    department = np.sort(rng.integers(0, 40, 400))
    above, level = np.full(400, np.nan), np.zeros(400, int)
    for row in range(400):
        before = [other for other in range(row) if department[other] == department[row]]
        if before and rng.random() < 0.9:
            manager = before[0] if rng.random() < 0.7 else int(rng.choice(before))
            above[row], level[row] = manager + 1, level[manager] + 1
    pay = np.round(9000 / (level + 1) + rng.normal(0, 200, 400), 2)
    return {
        "departments": pa.table({"id": range(1, 41), "city": rng.choice(["x", "y"], 40).tolist()}),
        "employees": pa.table(
            {"id": range(1, 401), "department_id": department + 1, "manager_id": above, "pay": pay}
        ),
    }


def test_managers_are_of_the_same_department_and_paid_more() -> None:
    model = synthmill.fit_tables(staff(), overrides=LEARNT, progress=False)
    assert model.families.table("employees").relations[1].within_owner
    made = model.sample(2.0, seed=0)["employees"].to_pandas()
    own = made[made.manager_id.notna()]
    managers = made.set_index("id").loc[own.manager_id.astype(int)]
    assert (managers.department_id.to_numpy() == own.department_id.to_numpy()).all()
    assert (managers.pay.to_numpy() > own.pay.to_numpy()).mean() > 0.75
    real = staff()["employees"].to_pandas()
    assert abs(made.manager_id.isna().mean() - real.manager_id.isna().mean()) < 0.12


CONSTRAINED = {
    "tables": {
        "customers": {
            "key": "customer_id",
            "foreign_keys": [],
            "data": {"constraints": [{"type": "inequality", "columns": ["since", "age"], "strict": True}]},
        },
        "orders": {
            "key": "order_id",
            "foreign_keys": ["customer_id -> customers"],
            "data": {
                "constraints": [
                    {"type": "sum", "plus": ["amount", "tax"], "total": "total"},
                    {"type": "formula", "expression": "packed + sent < 14"},
                ]
            },
        },
    }
}


def with_constraints() -> Tables:
    """Customers since before their age; orders whose total is a sum and whose parcels are few."""
    tables, rng = two_levels(200), np.random.default_rng(0)
    age = tables["customers"]["age"].to_numpy()
    customers = tables["customers"].append_column("since", pa.array(age - rng.integers(1, 15, len(age))))
    orders = tables["orders"]
    amount, rows = orders["amount"].to_numpy(), orders.num_rows
    tax = np.round(amount * 0.2, 2)
    extra = {"tax": tax, "total": np.round(amount + tax, 2)}
    extra |= {name: rng.integers(1, 9, rows) for name in ("packed", "sent")}
    for name, values in extra.items():
        orders = orders.append_column(name, pa.array(values))
    return {
        "customers": customers,
        "orders": orders.filter(pa.array(extra["packed"] + extra["sent"] < 14)),
    }


def test_constraints_of_each_table_are_met_by_all_rows(tmp_path: Path) -> None:
    tables = with_constraints()
    model = synthmill.fit_tables(tables, schema=CONSTRAINED, name="ruled", overrides=TINY, progress=False)
    made = model.sample(4.0, seed=1)
    customers, orders = made["customers"].to_pydict(), made["orders"].to_pydict()
    named(made, "orders", "customer_id", "customers", "customer_id")
    assert all(since < age for since, age in zip(customers["since"], customers["age"], strict=True))
    parts = zip(orders["amount"], orders["tax"], orders["total"], strict=True)
    assert all(abs(amount + tax - total) < 1e-6 for amount, tax, total in parts)
    assert all(one + other < 14 for one, other in zip(orders["packed"], orders["sent"], strict=True))
    # Together with a condition, and in a model that was saved.
    model.save(str(tmp_path))
    loaded = synthmill.load_tables("ruled", store=str(tmp_path))
    gold = loaded.sample(where=["customers.plan=gold", "customers.age>=50"], seed=2)["customers"].to_pydict()
    assert set(gold["plan"]) == {"gold"}
    assert min(gold["age"]) >= 50
    assert all(since < age for since, age in zip(gold["since"], gold["age"], strict=True))
    assert loaded.sample(4.0, seed=1)["orders"].equals(made["orders"])


@pytest.mark.parametrize(
    ("constraint", "message"),
    [
        (
            {"type": "inequality", "columns": ["amount", "customers.age"]},
            "'customers.age' is another table's",
        ),
        ({"type": "inequality", "columns": ["customer_id", "amount"]}, "'customer_id' is of a key"),
        ({"type": "inequality", "columns": ["amont", "total"]}, "no column named 'amont'; did you mean"),
        ({"type": "inequality", "columns": ["packed", "sent"]}, "rows break it"),
        ({"type": "nonsense"}, "data.constraints.0.type: 'nonsense' is none"),
    ],
)
def test_constraints_that_can_not_hold_are_one_line_before_training(
    constraint: dict[str, object], message: str
) -> None:
    stated = {**CONSTRAINED["tables"]["orders"], "data": {"constraints": [constraint]}}
    schema = {"tables": {**CONSTRAINED["tables"], "orders": stated}}
    with pytest.raises(UserError, match=r"^tables\.orders: data") as refused:
        synthmill.fit_tables(with_constraints(), schema=schema, overrides=TINY, progress=False)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_unique_columns_are_refused_as_families_know_nothing_of_each_other() -> None:
    tables = two_levels(200)
    slot = pa.array([f"s{n % 40}" for n in range(200)])
    bay = pa.array([n // 40 for n in range(200)])
    tables["customers"] = tables["customers"].append_column("slot", slot).append_column("bay", bay)
    unique = {"type": "unique", "columns": ["slot", "bay"]}
    schema = {"tables": {"customers": {"key": "customer_id", "data": {"constraints": [unique]}}}}
    with pytest.raises(DataError, match="families of rows are made apart from one another"):
        synthmill.fit_tables(tables, schema=schema, overrides=TINY, progress=False)
