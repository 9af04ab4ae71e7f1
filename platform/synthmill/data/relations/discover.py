"""The tables that a folder or a database holds, as the content of a schema: keys and foreign keys as a
database states them, left open where nobody does."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from synthmill.config import DataConfig, StorageConfig, name_of_source
from synthmill.data.content import named_format
from synthmill.data.query import is_database, read_query, shown
from synthmill.data.relations.schema import TablesConfig, load_tables_config, parse_tables_config
from synthmill.errors import DataError
from synthmill.storage.folder import Folder

_PLACE = "schema"
_ENDINGS = (".yaml", ".yml", ".json")
_POSTGRES_TABLES = (
    "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
    " AND table_type = 'BASE TABLE' ORDER BY table_name"
)


def schema_at(source: str, overrides: tuple[str, ...] = ()) -> TablesConfig:
    """The schema in a YAML or JSON file; of a folder of files or a database, that of all tables in it.

    Raises:
        NotFoundError, RecipeError: as `load_tables_config`. DataError: as `discover`.
    """
    if source.lower().endswith(_ENDINGS):
        return load_tables_config(source, overrides)
    raw, name = discover(source)
    return parse_tables_config(raw, overrides, name=name)


def discover(source: str, settings: StorageConfig | None = None) -> tuple[dict[str, Any], str]:
    """A schema of all tables in a folder of files, or in a database, and a name for its model.

    Raises:
        DataError: no tables there, or a kind of database that can't be asked for them.
    """
    scheme, mark, rest = source.partition("://")
    if mark and scheme.lower() == "sqlite":
        return _sqlite(source, rest), name_of_source(rest)
    if mark and scheme.lower() in ("postgresql", "postgres"):
        return _postgres(source), name_of_source(rest)
    if mark and is_database(scheme):
        raise DataError(
            f"no reader for {scheme.lower()}://; there is sqlite:// and postgresql://; export its tables as"
            " Parquet files, and give their folder",
            field=_PLACE,
        )
    return _folder(source, settings or StorageConfig()), name_of_source(source)


def _folder(uri: str, settings: StorageConfig) -> dict[str, Any]:
    """Each file, and each folder with files in it, is a table."""
    folder = Folder(uri, settings)
    if folder.local_path is not None and folder.local_path.is_file():
        raise DataError(
            f"{uri} is one file; give a folder of them, a schema (.yaml), or sqlite:///FILE for a database of"
            " SQLite; of another database, export its tables as Parquet files",
            field=_PLACE,
        )
    tables: dict[str, Any] = {}
    for entry in folder.list():
        first, slash, _ = entry.path.partition("/")
        if first.startswith(("_", ".")) or named_format(entry.path) is None:
            continue
        name = first if slash else first.partition(".")[0]
        place = folder.local_path / first if folder.local_path else folder.uri_of(first)
        if name in tables and tables[name]["source"] != str(place):
            raise DataError(
                f"{uri} has both a folder and a file, or two files, called {name!r}; rename one", field=_PLACE
            )
        tables[name] = {"source": str(place)}
    if not tables:
        raise DataError(
            f"{uri} holds no files that are tables, nor is it a schema file (.yaml)", field=_PLACE
        )
    return {"tables": tables}


def _sqlite(uri: str, rest: str) -> dict[str, Any]:
    path = Path(rest.partition("?")[0].removeprefix("/")).expanduser()
    if not path.is_file():
        raise DataError(f"no database at {path}", field=_PLACE)
    base = f"sqlite:///{path}"
    tables: dict[str, Any] = {}
    with closing(sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True)) as opened:
        try:
            names = [
                row[0]
                for row in opened.execute(
                    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
                    " ORDER BY rowid"
                )
            ]
        except sqlite3.DatabaseError as fault:
            raise DataError(f"{path.name}: {fault}", field=_PLACE) from None
        for name in names:
            key = sorted(
                (row[5], row[1]) for row in opened.execute(f"PRAGMA table_info({_quoted(name)})") if row[5]
            )
            tables[name] = {"source": f"{base}?query={quote(_select(name, [c for _, c in key]))}"}
            if key:
                tables[name]["key"] = [column for _, column in key]
            stated = _sqlite_relations(opened, name)
            if stated:
                tables[name]["foreign_keys"] = stated
    if not tables:
        raise DataError(f"{path.name} has no tables", field=_PLACE)
    return {"tables": tables}


def _sqlite_relations(opened: sqlite3.Connection, name: str) -> list[dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for number, _, table, column, *_ in opened.execute(f"PRAGMA foreign_key_list({_quoted(name)})"):
        found.setdefault(number, {"columns": [], "table": table})["columns"].append(column)
    # SQLite lists the last one first.
    return [found[number] for number in sorted(found, reverse=True)]


def _postgres(uri: str) -> dict[str, Any]:
    plain = uri.partition("?")[0]
    asked = f"{plain}?query={quote(_POSTGRES_TABLES)}"
    names = read_query(asked, DataConfig(source=asked), keep_text=frozenset()).table["table_name"].to_pylist()
    if not names:
        raise DataError(f"{shown(uri)} has no tables", field=_PLACE)
    return {"tables": {name: {"source": f"{plain}?table={quote(name)}"} for name in names}}


def _select(name: str, key: list[str]) -> str:
    """All rows in the order of the key: rows are divided by their number."""
    order = f" ORDER BY {', '.join(map(_quoted, key))}" if key else " ORDER BY rowid"
    return f"SELECT * FROM {_quoted(name)}{order}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
