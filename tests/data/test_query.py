"""Databases: queries and tables, types, faults, and no password anywhere."""

import re
import sqlite3
import sys
import types
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from synthmill.config import DataConfig, load_recipe
from synthmill.data.query import content_sha256, read_query
from synthmill.data.readers.base import Source, read_source
from synthmill.data.scan import choice
from synthmill.errors import DataError, UserError


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        connection.executescript(
            """
            CREATE TABLE sales (
                id INTEGER, city TEXT, day DATE, at TEXT, paid BOOLEAN, price REAL, code TEXT, odd
            );
            CREATE TABLE "two words" (x INTEGER);
            """
        )
        rows = [
            (
                i,
                "Bern",
                f"2024-01-{i + 1:02}",
                f"2024-01-01 10:00:{i:02}",
                i % 2,
                i / 2,
                f"{i:03}",
                i if i else "n/a",
            )
            for i in range(5)
        ]
        connection.executemany("INSERT INTO sales VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        connection.executemany('INSERT INTO "two words" VALUES (?)', [(1,), (2,)])
        connection.commit()
    monkeypatch.chdir(tmp_path)
    return f"sqlite:///{tmp_path / 'shop.db'}"


def read(uri: str) -> Source:
    return read_source(DataConfig(source=uri))


def refused(uri: str) -> str:
    with pytest.raises(DataError, match=r"^data\.source: ") as caught:
        read(uri)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_table_of_sqlite(base: str) -> None:
    source = read(f"{base}?table=sales")
    kinds = {field.name: str(field.type) for field in source.table.schema}
    assert kinds == {
        "id": "int64", "city": "string", "day": "date32[day]", "at": "timestamp[ms]", "paid": "bool",
        "price": "double", "code": "string", "odd": "int64",
    }  # fmt: skip
    assert source.table["code"].to_pylist()[:2] == ["000", "001"]
    assert source.table["odd"].to_pylist() == [None, 1, 2, 3, 4]
    assert read("sqlite:///shop.db?table=sales").sha256 == source.sha256
    assert read(f"{base}?table=two words").table.num_rows == 2
    assert read(f"{base}?table=two%20words").table.num_rows == 2


def test_a_query_and_its_digest(base: str) -> None:
    source = read(f"{base}?query=SELECT id, price * 2 AS twice FROM sales WHERE id > 1 ORDER BY id")
    assert source.table.to_pydict() == {"id": [2, 3, 4], "twice": [2.0, 3.0, 4.0]}
    assert source.notes == ()
    other = read(f"{base}?query=SELECT id, price * 2 AS twice FROM sales WHERE id > 2 ORDER BY id")
    assert other.sha256 != source.sha256
    assert "the query has no ORDER BY" in read(f"{base}?table=sales").notes[0]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", "shop.db has 2 tables (sales, two words); add ?table=NAME or ?query=SELECT..."),
        ("?table=sale", "shop.db: no such table: sale; did you mean 'sales'?"),
        ("?query=SELECT absent FROM sales", "shop.db: no such column: absent"),
        ("?query=DELETE FROM sales", "shop.db: attempt to write a readonly database"),
        ("?query=SELECT 1; SELECT 2", "shop.db: You can only execute one statement at a time"),
        ("?query=SELECT id, city AS id FROM sales", "shop.db has two columns named 'id'"),
        ("?table=sales&query=SELECT 1", "the URI has both query= and table="),
    ],
)
def test_faults_of_sqlite(base: str, query: str, message: str) -> None:
    assert message in refused(base + query)


def test_other_databases_are_named(tmp_path: Path) -> None:
    assert "no database at" in refused(f"sqlite:///{tmp_path}/none.db?table=x")
    assert "no reader for mysql://; there is sqlite:// and postgresql://" in refused(
        "mysql://host/db?table=x"
    )
    assert "add ?table=NAME or ?query=SELECT" in refused("postgresql://host/db")


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://me:hunter2@host/db?table=x",
        "postgres://me:hunter2@host:5432/db?query=SELECT 1",
        "postgresql://host/db?table=x&password=hunter2",
        "postgresql://:hunter2@host/db",
    ],
)
def test_a_password_is_refused_and_never_repeated(uri: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(f"name: x\ndata: {{source: '{uri}'}}\nmodel: {{name: tvae}}\n")
    with pytest.raises(UserError, match=r"data\.source: holds a password") as caught:
        load_recipe(str(path))
    assert "hunter2" not in str(caught.value)
    with pytest.raises(DataError) as again:
        read_query(uri, DataConfig.model_construct(source=uri), keep_text=frozenset())
    assert "hunter2" not in str(again.value)


class _Error(Exception):
    pass


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A driver that answers every query with two rows, and the statements that it was given."""
    said: list[str] = []

    class Connection:
        def __enter__(self) -> "Connection":
            return self

        def __exit__(self, *_: Any) -> None: ...

        cursor = lambda self: self  # noqa: E731

        def execute(self, text: str) -> None:
            if "broken" in text:
                raise _Error(f"INVALID_ARGUMENT: relation broken does not exist\nat {said[0]}")
            said.append(text)

        def fetch_record_batch(self) -> pa.RecordBatchReader:
            opaque = pa.opaque(pa.string(), "numeric", "PostgreSQL")
            price = pa.ExtensionArray.from_storage(opaque, pa.array(["1.50", "22"]))
            return pa.table({"id": [1, 2], "price": price}).to_reader()

    def connect(uri: str) -> Connection:
        said.append(uri)
        return Connection()

    module = types.ModuleType("adbc_driver_postgresql")
    module.dbapi = types.SimpleNamespace(connect=connect, Error=_Error)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "adbc_driver_postgresql", module)
    return said


def test_postgresql_by_its_driver(driver: list[str]) -> None:
    source = read("postgresql://me@host/db?table=public.sales&sslmode=require")
    assert source.table["id"].to_pylist() == [1, 2]
    assert source.table["price"].to_pylist() == [Decimal("1.50"), Decimal("22.00")]
    assert source.uri == "postgresql://host/db?table=public.sales&sslmode=require"
    assert driver == [
        "postgresql://me@host/db?sslmode=require",
        "SET TRANSACTION READ ONLY",
        'SELECT * FROM "public"."sales"',
    ]
    message = refused("postgresql://me@host/db?query=SELECT * FROM broken")
    assert message == "data.source: PostgreSQL: INVALID_ARGUMENT: relation broken does not exist"


def test_more_rows_than_the_memory_holds_stop_a_query(
    base: str, driver: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "memory_bytes", lambda: 100)
    for uri in (f"{base}?table=sales", "postgresql://me@host/db?table=public.sales"):
        assert re.search(r"gives more than \d+ rows, .* in blocks; convert it to Parquet", refused(uri))
    whole = DataConfig(source="postgresql://me@host/db?table=public.sales", stream="never")
    assert read_source(whole).table.num_rows == 2


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "adbc_driver_postgresql", None)
    assert "pip install 'synthmill[postgresql]'" in refused("postgresql://host/db?table=x")


def test_content_is_the_same_however_it_is_cut() -> None:
    table = pa.table({"a": ["x", None, "yz"], "b": [1.5, 2.0, None]})
    cut = pa.concat_tables([table.slice(0, 1), table.slice(1)])
    assert content_sha256(table) == content_sha256(cut)
    others = [
        pa.table({"a": ["x", "", "yz"], "b": [1.5, 2.0, None]}),
        pa.table({"a": ["xy", None, "z"], "b": [1.5, 2.0, None]}),
        pa.table({"a": ["x", None, "yz"], "b": [1.5, 2.0, 0.0]}),
        pa.table({"c": ["x", None, "yz"], "b": [1.5, 2.0, None]}),
    ]
    assert len({content_sha256(one) for one in [table, *others]}) == 5
