"""Constraints and given rows in published datasets: exact in every row, whoever wrote it."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from rules import CONSTRAINTS, orders
from synthmill import api
from synthmill.catalog.store import Version
from synthmill.config import DataConfig
from synthmill.data.rebuilding import make_plan
from synthmill.errors import UserError
from synthmill.generation.generator import Generator

FREE = (
    {"type": "formula", "expression": "x < 1 or y > 20"},
    {"type": "unique", "columns": ["x", "y", "pack"]},
)
GIVEN_ROWS = 2 * 1024 + 1024 + 10
"""Two shards of which the second is short."""


def fitted(folder: Path, name: str, *more: dict[str, Any]) -> Version:
    """An any-order model of a file, in a store of its own."""
    table = orders(1500)
    table = table.filter(pc.or_(pc.less(table["x"], 1), pc.greater(table["y"], 20)))
    pq.write_table(table, folder / "orders.parquet")
    model = api.fit(
        {
            "name": name,
            "data": {"source": str(folder / "orders.parquet"), "constraints": [*CONSTRAINTS, *more]},
            "model": {"name": "autoregressive", "config": {"embedding_dim": 16, "hidden_dim": 16}},
            "training": {"max_steps": 40, "global_batch_rows": 100},
        },
        progress=False,
    )
    return model.save(str(folder / "store"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("constrained")


@pytest.fixture(scope="module")
def strict(folder: Path, local_ray: None) -> Version:
    return fitted(folder, "strict", *FREE)


@pytest.fixture(scope="module")
def completing(folder: Path, local_ray: None) -> Version:
    return fitted(folder, "completing")


def rows_of(version: Version) -> pa.Table:
    return pq.read_table(version.uri.removeprefix("file://")).replace_schema_metadata(None)


def broken(table: pa.Table, *own: dict[str, Any]) -> dict[str, int]:
    """Rows of a table that break a constraint."""
    plan = make_plan(DataConfig(source="x", constraints=own).constraints, table.schema, {})
    counts = {one.text: int((~one.holds(table)).sum()) for one in plan.constraints}
    return {text: count for text, count in counts.items() if count}


def test_all_constraints_hold_over_shards_at_any_number_of_workers(folder: Path, strict: Version) -> None:
    store = str(folder / "store")
    made = [
        api.augment(strict.ref, dataset="d", rows=5000, shard_rows=2048, seed=3, workers=workers, store=store)
        for workers in (1, 2)
    ]
    assert len({version.manifest.content_digest for version in made}) == 1
    assert rows_of(made[0]).num_rows == 5000
    assert broken(rows_of(made[0]), *CONSTRAINTS, *FREE) == {}
    told = made[0].manifest.details["rejection"]
    assert told["kept"] == 5000
    # Three shards, each of which may have a third of the rows.
    assert told["generated"] > 2 * 5000
    report = json.loads(made[0].folder.read_bytes("_report.json"))
    found = report["metrics"]["tabular.constraint_violations"]
    assert found["value"] == 0
    assert len(found["details"]["holds"]) == len(CONSTRAINTS) + len(FREE)
    assert set(found["details"]["holds"].values()) == {1.0}


def test_conditions_and_classes_keep_the_constraints(folder: Path, strict: Version) -> None:
    store = str(folder / "store")
    where = api.augment(
        strict.ref, dataset="where", rows=600, seed=3, store=store, workers=1, where=["city=b", "pack>=600"]
    )
    rows = rows_of(where)
    assert set(rows["city"].to_pylist()) == {"b"}
    assert min(rows["pack"].to_pylist()) >= 600
    assert broken(rows, *CONSTRAINTS, *FREE) == {}
    even = rows_of(api.augment(strict.ref, dataset="even", rows=600, store=store, workers=1, balance="city"))
    assert {one["counts"] for one in even["city"].value_counts().to_pylist()} == {100}
    assert broken(even, *CONSTRAINTS, *FREE) == {}


@pytest.mark.parametrize("option", ["append", "mix_real"])
def test_unique_rows_are_not_joined_with_others(folder: Path, strict: Version, option: str) -> None:
    options: Any = {option: True}
    with pytest.raises(UserError, match="unique x, y, pack must hold"):
        api.augment(strict.ref, dataset="d", rows=10, store=str(folder / "store"), **options)


def test_given_rows_are_completed_in_order(folder: Path, completing: Version) -> None:
    store, given = (
        str(folder / "store"),
        orders(GIVEN_ROWS, seed=9).select(["start", "city", "land", "x", "net"]),
    )
    pq.write_table(given, folder / "given.parquet")
    made = [
        api.augment(
            completing.ref,
            dataset="given",
            given=folder / "given.parquet",
            shard_rows=2048,
            seed=3,
            workers=workers,
            store=store,
        )
        for workers in (1, 2)
    ]
    assert len({version.manifest.content_digest for version in made}) == 1
    rows = rows_of(made[0])
    assert rows.num_rows == GIVEN_ROWS
    assert rows.column_names == orders(10).column_names
    for name in given.column_names:
        known = zip(given[name].to_pylist(), rows[name].to_pylist(), strict=True)
        assert all(own is None or own == made for own, made in known), name
    assert broken(rows, *CONSTRAINTS) == {}
    manifest = made[0].manifest
    (source,) = (parent for parent in manifest.parents if parent.kind == "source")
    assert source.ref.endswith("given.parquet")
    assert manifest.details["plan"]["given"] == source.digest
    assert "composite" in manifest.labels["digitalSourceType"]
    memory = api.augment(
        completing.ref, dataset="memory", given=given, shard_rows=2048, seed=3, workers=1, store=store
    )
    assert rows_of(memory).equals(rows)


def test_what_given_rows_go_with_is_said_at_once(folder: Path, strict: Version, completing: Version) -> None:
    store, given = str(folder / "store"), orders(20, seed=9).select(["start", "x"])

    def refused(model: Version, match: str, **options: Any) -> None:
        with pytest.raises(UserError, match=match):
            api.augment(model.ref, dataset="no", store=store, **{"given": given, **options})

    refused(completing, "is 10, but memory://table holds 20 rows", rows=10)
    refused(completing, "--where: can't be given with --given", where="x>0")
    refused(completing, "--rows: say how many to publish", given=None)
    refused(completing, "no rows", given=given.slice(0, 0))
    refused(completing, "'nobody', which the model does not know", given=pa.table({"nobody": [1]}))
    refused(strict, "unique x, y, pack must hold; train without")


def test_a_model_that_can_not_complete_says_which_can(folder: Path, local_ray: None) -> None:
    model = api.fit(orders(300), model="marginals", name="plain", progress=False)
    version = model.save(str(folder / "store"))
    with pytest.raises(UserError, match=r"train with model\.name: autoregressive"):
        api.augment(version.ref, dataset="no", given=orders(5).select(["x"]), store=str(folder / "store"))


def test_the_generator_knows_what_it_was_saved_with(strict: Version) -> None:
    codec = Generator.load(strict).codec
    assert [one.text for one in codec.unique] == ["unique x, y, pack"]
    assert [one.text for one in codec.checked] == ["x < 1 or y > 20"]
    assert len(codec.constraints) == len(CONSTRAINTS) + len(FREE)
