"""Hive folders: `sex=Male/part-00042.parquet` holds the rows of part 42 whose `sex` is Male, without that
column.

Every reader of partitioned datasets (pandas, PyArrow, Polars, DuckDB, Spark) makes a column of the folder's
name again. Values are percent-encoded; a missing value is `__HIVE_DEFAULT_PARTITION__`.
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.errors import UserError

FIELD = "--partition-by"
MISSING = "__HIVE_DEFAULT_PARTITION__"
MOST_FOLDERS = 10_000
"""Each is at least one object a part; more make every reader slow."""
LONGEST_NAME = 255
"""Bytes that file systems allow in a folder's name."""
_NAME = re.compile(r"^[^_.\x00-\x1f\x7f\"#%'*/:=?\\{}\[\]^][^\x00-\x1f\x7f\"#%'*/:=?\\{}\[\]^]*$")


def check(columns: Sequence[str], schema: Any, levels: dict[str, list[str]]) -> None:
    """Refuse columns whose values can't be folders.

    Args:
        schema: what is published.
        levels: the values of each column.

    Raises:
        UserError: names `--partition-by` and the fix.
    """
    if len(set(columns)) < len(columns):
        raise UserError("names a column twice", field=FIELD)
    if len(columns) >= len(schema.names):
        raise UserError("leaves no column for the files; publish at least one more", field=FIELD)
    for name in columns:
        if not _NAME.match(name):
            raise UserError(
                f"{name!r} can't be part of a folder's name that readers see (no leading '_' or '.', none of"
                " \"#%'*/:=?\\{}[]^); rename the column",
                field=FIELD,
            )
        if not _is_plain(schema.field(name).type):
            raise UserError(
                f"{name!r} is of type {schema.field(name).type}, which folders' names can't hold exactly;"
                " choose a column of text, whole numbers, booleans or days",
                field=FIELD,
            )
        # Readers take `name=` for a missing value, and the longest name must fit a folder's.
        for level in levels[name]:
            if level in ("", MISSING) or len(f"{name}={quote(level, safe='')}") > LONGEST_NAME:
                raise UserError(
                    f"{name!r} has the value {level[:40]!r}, which can't name a folder", field=FIELD
                )
    folders = 1
    for name in columns:
        folders *= len(levels[name]) + 1
    if folders > MOST_FOLDERS:
        sizes = " x ".join(f"{len(levels[name])} of {name!r}" for name in columns)
        raise UserError(f"{sizes} are more than {MOST_FOLDERS:,} folders; choose fewer columns", field=FIELD)


def split(table: Any, columns: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """(folder, rows without the columns) for each combination of values that occurs, by folder; rows keep
    their order."""
    codes = [pc.dictionary_encode(_texts(table[name])) for name in columns]
    names = [
        [f"{name}={quote(value, safe='')}" for value in code.dictionary.to_pylist()]
        for name, code in zip(columns, codes, strict=True)
    ]
    keys_B = np.zeros(table.num_rows, np.int64)
    for code, some in zip(codes, names, strict=True):
        keys_B = keys_B * len(some) + code.indices.to_numpy()
    folders = ["/".join(parts) for parts in itertools.product(*names)]
    # Sorted once, however many folders there are.
    rows = table.drop_columns(list(columns)).take(pa.array(np.argsort(keys_B, kind="stable")))
    keys, counts = np.unique(keys_B, return_counts=True)
    starts = np.cumsum(counts) - counts
    for index in sorted(range(len(keys)), key=lambda index: folders[keys[index]]):
        yield folders[keys[index]], rows.slice(starts[index], counts[index])


def stated_in(path: str) -> list[tuple[str, str | None]]:
    """(column, value as text) for each Hive folder in a file's path; None: missing."""
    pairs = [part.partition("=") for part in path.split("/")[:-1]]
    return [(name, None if value == MISSING else unquote(value)) for name, equals, value in pairs if equals]


def restored(table: Any, path: str, schema: Any, columns: Sequence[str] | None = None) -> Any:
    """The rows of a file with the columns that its path states, in the order and types of `schema`, or those
    of `columns`."""
    for name, text in stated_in(path):
        if name in schema.names:
            kind = schema.field(name).type
            table = table.append_column(pa.field(name, kind), _column(text, kind, table.num_rows))
    return table.select([name for name in columns or schema.names if name in table.column_names])


def _texts(column: Any) -> Any:
    """The values as one array of text for folders, without missing ones."""
    column = pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return pc.fill_null(pc.cast(column, pa.string()), MISSING)


def _column(text: str | None, kind: Any, rows: int) -> Any:
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    values = pa.repeat(pc.cast(pa.scalar(text, pa.string()), plain), rows)
    return values.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else values


def _is_plain(kind: Any) -> bool:
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    checks = (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_integer,
        pa.types.is_boolean,
        pa.types.is_date32,
    )
    return any(check(plain) for check in checks)
