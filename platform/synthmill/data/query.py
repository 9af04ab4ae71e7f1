"""Tables in databases: `sqlite:///FILE?query=...` by the standard library, `postgresql://HOST/DB?table=...`
by ADBC (the extra `postgresql`).

A source's URI is saved with every model made of it, so it never holds a password: libpq reads that from
`PGPASSWORD` or `~/.pgpass`.
"""

import hashlib
import math
import re
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import pyarrow as pa
import pyarrow.compute as pc

from synthmill.config import DataConfig
from synthmill.data.columns import plain_table
from synthmill.data.files import Files, type_cells
from synthmill.data.formats.base import CELL_BYTES, FIELD, Parsed, check_names
from synthmill.data.scan.choice import gib, most_bytes, too_large
from synthmill.errors import DataError, did_you_mean

_SQLITE = ("sqlite",)
_POSTGRES = ("postgresql", "postgres")
_OTHERS = ("mysql", "mariadb", "mssql", "oracle", "snowflake", "bigquery", "duckdb", "redshift", "clickhouse")
_SECRET = re.compile(r"pass|secret|token|key", re.IGNORECASE)
_ORDERED = re.compile(r"\border\s+by\b", re.IGNORECASE)
_DAY = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:?\d{2})?)?$"
_ROWS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class _Address:
    scheme: str
    rest: str
    """Without query and password, as the database's driver takes it."""
    query: str
    table: str | None
    options: tuple[tuple[str, str], ...]


def is_database(scheme: str) -> bool:
    """Whether a URI of this scheme names a database."""
    return scheme.lower().partition("+")[0] in (*_SQLITE, *_POSTGRES, *_OTHERS)


def shown(uri: str) -> str:
    """The URI as it may be printed and saved: without what stands before the host."""
    scheme, _, rest = uri.partition("://")
    place, slash, tail = rest.partition("/")
    return f"{scheme}://{place.rpartition('@')[2]}{slash}{tail}"


def read_query(uri: str, config: DataConfig, *, keep_text: frozenset[str]) -> Files:
    """The rows that a query gives, and the SHA-256 of their content.

    Raises:
        DataError: a password in the URI, no such database or table, a fault in the query, more rows than the
            memory holds unless `data.stream` is `never`; names no secret.
    """
    address = _parse(uri)
    most = math.inf if config.stream == "never" else most_bytes()
    parsed = _sqlite(address, most) if address.scheme in _SQLITE else _postgres(address, most)
    check_names(parsed.table.column_names, shown(uri))
    if not _ORDERED.search(address.query):
        # Rows are assigned to train and holdout by their number.
        note = (
            "the query has no ORDER BY: if the database gives rows in another order next time, they are"
            " divided in another way; add one"
        )
        parsed = Parsed(table=parsed.table, cells=parsed.cells, notes=(*parsed.notes, note))
    table = plain_table(parsed.table)
    typed = type_cells(Parsed(table=table, cells=parsed.cells), config, keep_text=keep_text)
    return Files(table=typed, sha256=content_sha256(table), notes=parsed.notes)


def content_sha256(table: pa.Table) -> str:
    """Of names, types and values in order; the same for the same content, however it is cut into chunks."""
    digest = hashlib.sha256()
    for name, column in zip(table.column_names, table.columns, strict=True):
        digest.update(f"{name}\x1e{column.type}\x1e{len(column)}\x1e".encode())
        digest.update(column.is_valid().to_numpy().tobytes())
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            filled = pc.fill_null(column, "")
            digest.update(pc.binary_length(filled).to_numpy().astype("<i8").tobytes())
            for chunk in filled.chunks:
                digest.update("".join(chunk.to_pylist()).encode())
        else:
            # As text: no layout of Arrow's can get in between, and this runs once a job.
            digest.update("\x1f".join(map(str, column.to_pylist())).encode())
    return digest.hexdigest()


def _parse(uri: str) -> _Address:
    scheme, _, _ = uri.partition("://")
    scheme = scheme.lower()
    if scheme not in (*_SQLITE, *_POSTGRES):
        raise DataError(
            f"no reader for {scheme}://; there is sqlite:// and postgresql://; export a query as Parquet",
            field=FIELD,
        )
    parts = urlsplit(uri)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    if (parts.password or "") or any(_SECRET.search(key) for key, _ in pairs):
        raise DataError(
            "the URI holds a password, and would be saved with every model; take it out and set PGPASSWORD or"
            " use ~/.pgpass",
            field=FIELD,
        )
    said = dict(pairs)
    query, table = said.get("query"), said.get("table")
    if query and table:
        raise DataError("the URI has both query= and table=; keep one", field=FIELD)
    rest = unquote(parts.path) if scheme in _SQLITE else uri.partition("?")[0]
    options = tuple((key, value) for key, value in pairs if key not in ("query", "table"))
    if scheme in _SQLITE and (parts.netloc or options):
        raise DataError(
            "write sqlite:///relative.db or sqlite:////absolute.db, then ?table=NAME or ?query=SELECT...",
            field=FIELD,
        )
    if table is not None:
        query = f"SELECT * FROM {'.'.join(_quoted(part) for part in table.split('.'))}"
    return _Address(scheme, rest, query or "", table, options)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _sqlite(address: _Address, most: float) -> Parsed:
    # Three slashes name a relative path and four an absolute one, as SQLAlchemy has it.
    path = Path(address.rest[1:]).expanduser()
    if not path.is_file():
        raise DataError(f"no database at {path}", field=FIELD)
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True)) as base:
            query = address.query or _only_table(base, path)
            cursor = base.execute(query)
            if cursor.description is None:
                raise DataError("the query gives no rows; write a SELECT", field=FIELD)
            names = [column[0] for column in cursor.description]
            rows: list[Any] = []
            while some := cursor.fetchmany(_ROWS_AT_ONCE):
                rows += some
                _check_room(len(rows), len(names), most, path.name)
            declared = _declared(base, address.table or _single(query))
    except (sqlite3.Error, sqlite3.Warning) as fault:
        tables = _tables_of(path)
        hint = did_you_mean(address.table, tables) if address.table else ""
        raise DataError(f"{path.name}: {fault}{hint}", field=FIELD) from None
    check_names(names, path.name)
    columns, cells = {}, set()
    for i, name in enumerate(names):
        columns[name], is_cells = _column([row[i] for row in rows], declared.get(name, ""))
        if is_cells:
            cells.add(name)
    return Parsed(table=pa.table(columns), cells=frozenset(cells))


def _check_room(rows: int, columns: int, most: float, name: str) -> None:
    """DataError for so many rows that the rest would fill the memory, before they do."""
    if rows * columns * CELL_BYTES > most:
        raise too_large(f"{name} gives more than {rows:,} rows, which take over {gib(most)}")


def _only_table(base: sqlite3.Connection, path: Path) -> str:
    names = _tables(base)
    if len(names) != 1:
        raise DataError(
            f"{path.name} has {len(names)} tables ({', '.join(names[:8]) or 'none'}); add ?table=NAME or"
            " ?query=SELECT...",
            field=FIELD,
        )
    return f"SELECT * FROM {_quoted(names[0])}"


def _tables(base: sqlite3.Connection) -> list[str]:
    rows = base.execute(
        "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%'"
        " ORDER BY name"
    )
    return [name for (name,) in rows]


def _tables_of(path: Path) -> list[str]:
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True)) as base:
            return _tables(base)
    except sqlite3.Error:
        return []


def _single(query: str) -> str | None:
    """The table of a query of one table, whose columns' declared types then hold."""
    found = re.findall(r'\bfrom\s+"?([^\s",;()]+)"?', query, re.IGNORECASE)
    return found[0] if len(found) == 1 and not re.search(r"\bjoin\b", query, re.IGNORECASE) else None


def _declared(base: sqlite3.Connection, table: str | None) -> dict[str, str]:
    """The types that the table's columns were declared with, upper case; SQLite itself does not heed them."""
    if table is None:
        return {}
    return {row[1]: str(row[2]).upper() for row in base.execute(f"PRAGMA table_info({_quoted(table)})")}


def _column(values: list[Any], declared: str) -> tuple[pa.Array, bool]:
    """The column, and whether its type follows from its cells: SQLite has no dates, and lets every cell be of
    another type."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int} and kinds and "BOOL" in declared and {v for v in values if v is not None} <= {0, 1}:
        return pa.array([None if value is None else bool(value) for value in values]), False
    if kinds == {int, float}:
        return pa.array([None if value is None else float(value) for value in values], pa.float64()), False
    if kinds == {str}:
        array = pa.array(values, pa.string())
        return array, bool(pc.all(pc.match_substring_regex(array.drop_null(), _DAY)).as_py())
    if len(kinds) <= 1:
        return pa.array(values), False
    return pa.array([None if value is None else str(value) for value in values], pa.string()), True


def _postgres(address: _Address, most: float) -> Parsed:
    if not address.query:
        raise DataError("add ?table=NAME or ?query=SELECT... to the URI", field=FIELD)
    try:
        from adbc_driver_postgresql import dbapi
    except ImportError:
        raise DataError(
            "reading PostgreSQL needs another library; pip install 'synthmill[postgresql]'", field=FIELD
        ) from None
    uri = address.rest + (f"?{urlencode(address.options)}" if address.options else "")
    try:
        with dbapi.connect(uri) as base, base.cursor() as cursor:
            cursor.execute("SET TRANSACTION READ ONLY")
            cursor.execute(address.query)
            batches, count = [], 0
            with cursor.fetch_record_batch() as reader:
                for batch in reader:
                    batches.append(batch)
                    count += batch.num_rows
                    _check_room(count, batch.num_columns, most, "the query")
                table = pa.Table.from_batches(batches, reader.schema)
    # The driver's errors repeat what it was given; their first line says what is wrong.
    except (dbapi.Error, pa.ArrowException, OSError) as fault:
        raise DataError(f"PostgreSQL: {_first_line(fault, uri)}", field=FIELD) from None
    return Parsed(table=_known(table))


def _first_line(fault: Exception, uri: str) -> str:
    lines: Iterable[str] = str(fault).replace(uri, shown(uri)).splitlines()
    return next((line.strip() for line in lines if line.strip()), type(fault).__name__)[:160]


def _decimals(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """NUMERIC without loss, with as many digits behind the point as any value has; as it came where one is no
    number."""
    point = pc.find_substring(column, ".")
    digits = pc.subtract(pc.subtract(pc.binary_length(column), point), 1)
    scale = pc.max(pc.if_else(pc.less(point, 0), 0, digits)).as_py() or 0
    try:
        return column.cast(pa.decimal128(38, scale))
    except pa.ArrowInvalid:
        return column


def _known(table: pa.Table) -> pa.Table:
    """ADBC gives NUMERIC and types that it does not know as text of an extension type."""
    columns = []
    for column in table.columns:
        if isinstance(column.type, pa.BaseExtensionType) and column.type.extension_name == "arrow.opaque":
            name = column.type.type_name
            column = pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)
            column = _decimals(column) if name == "numeric" else column
        columns.append(column)
    return pa.table(columns, names=table.column_names)
