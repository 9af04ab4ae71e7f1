"""Schemas from files, folders and databases."""

import sqlite3
from pathlib import Path

import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
import yaml

from retail import FIVE, five_tables
from synthmill.data.readers.base import read_source
from synthmill.data.relations.database import assemble, data_config
from synthmill.data.relations.discover import discover, schema_at
from synthmill.data.relations.schema import parse_tables_config
from synthmill.errors import DataError, NotFoundError, RecipeError


def test_a_folder_has_a_table_for_each_file_and_each_folder(tmp_path: Path) -> None:
    tables = five_tables(60)
    pc.write_csv(tables["regions"], tmp_path / "regions.csv")
    (tmp_path / "customers").mkdir()
    pq.write_table(tables["customers"], tmp_path / "customers" / "part-0.parquet")
    (tmp_path / "_notes.csv").write_text("a\n1\n")
    raw, _ = discover(str(tmp_path))
    assert set(raw["tables"]) == {"regions", "customers"}
    (tmp_path / "regions.parquet").write_bytes(b"")
    with pytest.raises(DataError, match="two files, called 'regions'"):
        discover(str(tmp_path))


def test_an_empty_folder_and_a_missing_schema(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no files that are tables"):
        discover(str(tmp_path))
    with pytest.raises(NotFoundError):
        schema_at(str(tmp_path / "none.yaml"))


def test_a_database_states_its_keys(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    tables = five_tables(60)
    with sqlite3.connect(path) as base:
        base.execute("CREATE TABLE customers (id TEXT PRIMARY KEY, region TEXT, segment TEXT)")
        base.execute(
            "CREATE TABLE 'the orders' (order_no INTEGER PRIMARY KEY,"
            " customer TEXT REFERENCES customers (id), express INT)"
        )
        for name, columns in (("customers", 3), ("orders", 3)):
            rows = zip(*(column.to_pylist() for column in tables[name].columns), strict=True)
            target = "'the orders'" if name == "orders" else name
            base.executemany(f"INSERT INTO {target} VALUES ({', '.join('?' * columns)})", list(rows))
    base.close()
    config = schema_at(f"sqlite:///{path}")
    assert config.name == "shop"
    base_ = assemble(config, lambda _, data, rules: read_source(data, rules=rules))
    assert base_.keys == {"customers": ("id",), "the orders": ("order_no",)}
    assert [(one.text, one.parent) for one in base_.relations] == [("the orders.customer", "customers")]
    assert not any("guess" in note or "taken for" in note for note in base_.notes if "the orders:" in note)


def test_a_schema_file_is_read_with_overrides(tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text(yaml.safe_dump({"format": "synthmill.tables/1", **FIVE}))
    config = schema_at(str(path), ("training.seed=3", "tables.lines.training.max_steps=7"))
    assert config.name == "shop"
    assert config.training.seed == 3
    assert config.tables["lines"].training == {"max_steps": 7}
    assert config.tables["lines"].foreign_keys is not None
    assert config.tables["lines"].foreign_keys[1].text == "sku -> products"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "synthmill.tables/9"}, "format: 'synthmill.tables/9' can't be read"),
        ({"tabels": {}}, "tabels: unknown key; did you mean 'tables'?"),
        ({"tables": {}}, "tables: "),
        ({"tables": {"a": {"sorce": "x"}}}, "tables.a.sorce: unknown key; "),
        ({"tables": {"a": {"foreign_keys": ["x"]}}}, "a foreign key is written `column -> table`"),
        ({"tables": {"a": {"data": {"target": "x"}}}}, "no key 'target' here"),
        ({"tables": {"a": {"data": {"lags": 2}}}}, "no key 'lags' here"),
    ],
)
def test_mistakes_name_the_key(tmp_path: Path, change: dict, message: str) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text(yaml.safe_dump({**FIVE, **change}))
    with pytest.raises(RecipeError) as caught:
        schema_at(str(path))
    assert message in str(caught.value)


def test_what_is_neither_a_folder_nor_a_database_that_can_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "shop.duckdb").write_bytes(b"DUCK")
    with pytest.raises(DataError, match=r"schema: .*shop.duckdb is one file; give a folder of them"):
        schema_at(str(tmp_path / "shop.duckdb"))
    with pytest.raises(DataError, match=r"schema: no reader for duckdb://; .* as Parquet files"):
        schema_at(f"duckdb:///{tmp_path}/shop.duckdb")


def test_a_wrong_value_for_a_table_names_its_key() -> None:
    config = parse_tables_config({"tables": {"a": {"data": {"trim": "often"}}}}, (), name="x")
    with pytest.raises(RecipeError, match=r"data\.trim: "):
        data_config("a", config.tables["a"])
