"""Whatever holds a table in memory (pandas, Polars, PyArrow, DuckDB, ...) as an Arrow table or a source."""

import hashlib
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from typing import Protocol, runtime_checkable

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq

from synthmill.config import DataConfig
from synthmill.data.columns import plain_column, plain_table
from synthmill.data.readers.base import Source, read_source
from synthmill.data.schema import Rules
from synthmill.data.split import row_hashes
from synthmill.errors import DataError

MEMORY = "memory://table"
"""The source URI of a model that was fitted on rows in memory: nothing can be read there again."""
_PANDAS_INDEX = re.compile(r"__index_level_\d+__")


@runtime_checkable
class ArrowStream(Protocol):
    """A table of any library with the Arrow PyCapsule interface: pandas, Polars, PyArrow, DuckDB, ..."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """A capsule that holds an ArrowArrayStream."""


Frame = ArrowStream | str | PathLike[str]
"""A table in memory, or the path or URI of one in files."""


def to_table(data: ArrowStream, *, field: str) -> pa.Table:
    """The rows of a frame as a table of plain columns, without what its library says of them.

    Raises:
        DataError: as `described_table`.
    """
    return plain_table(described_table(data, field=field)).replace_schema_metadata(None)


def described_table(data: ArrowStream, *, field: str) -> pa.Table:
    """The rows as an Arrow table of the columns alone, with the categories and types of the library that held
    them: a data frame's index numbers rows, it describes none.

    Raises:
        DataError: not a table, two columns of one name, or cells of mixed types; names `field`.
    """
    if not isinstance(data, ArrowStream):
        raise DataError(
            f"expected a table (pandas, Polars, PyArrow, DuckDB), a path or a URI, got {type(data).__name__}",
            field=field,
        )
    try:
        table = _from_pandas(data) if type(data).__module__.partition(".")[0] == "pandas" else pa.table(data)
    except (pa.ArrowException, TypeError, ValueError) as fault:
        # PyArrow's message has the reason first and advice for its own callers below.
        reason = str(fault).strip().splitlines()[0] if str(fault).strip() else type(fault).__name__
        raise DataError(f"can't be read as a table: {reason[:160]}", field=field) from None
    twice = next((name for i, name in enumerate(table.column_names) if name in table.column_names[:i]), None)
    if twice is not None:
        raise DataError(f"has two columns named {twice!r}; rename one", field=field)
    kept = [name for name in table.column_names if not _PANDAS_INDEX.fullmatch(name)]
    return _readable(table.select(kept))


def read_frame(data: Frame, config: DataConfig, *, field: str, rules: Rules | None = None) -> Source:
    """The source that `data` is, checked and typed by the reader of `config.kind` as a file would be; `rules`
    are what is known of its columns, None: what the schema file says.

    Raises:
        DataError: as the reader does; names `field` for rows in memory, `data.source` for files.
    """
    if isinstance(data, str | PathLike):
        return read_source(config.model_copy(update={"source": fspath(data)}), rules=rules)
    table = described_table(data, field=field)
    with as_file(table) as path:
        try:
            source = read_source(config.model_copy(update={"source": str(path)}), rules=rules)
        except DataError as fault:
            text = str(fault).replace(str(path), "the table").removeprefix("data.source: ")
            raise DataError(text, field=None if text.startswith("data.") else field) from None
    return replace(source, uri=MEMORY, sha256=content_sha256(source.table))


@contextmanager
def as_file(table: pa.Table) -> Iterator[Path]:
    """The table as a file that is there for the time being: rows in memory then go through the same reader
    as files, for every kind of data."""
    with tempfile.TemporaryDirectory(prefix="synthmill-") as folder:
        if any(pa.types.is_nested(column.type) for column in table.schema):
            # Images are structs, which the reader of images knows in Parquet.
            path = Path(folder) / "table.parquet"
            pq.write_table(plain_table(table), path)
        else:
            # Parquet has no seconds of the day, no 64-bit dates and no views of strings.
            path = Path(folder) / "table.arrow"
            # Its chunks must agree in the dictionaries of their categories.
            feather.write_feather(table.unify_dictionaries(), str(path), compression="uncompressed")
        yield path


def content_sha256(table: pa.Table) -> str:
    """Of column names, types and cells: the same for the same rows, whichever library held them."""
    digest = hashlib.sha256()
    for column in table.schema:
        digest.update(f"{column.name}\x1f{column.type}\x1e".encode())
    digest.update(row_hashes(table).astype("<u8").tobytes())
    return digest.hexdigest()


def _from_pandas(data: object) -> pa.Table:
    """Without the index, which pandas' own stream would send along as a column."""
    if type(data).__name__ != "DataFrame":
        raise TypeError(f"expected a DataFrame, got a {type(data).__name__}; use .to_frame()")
    return pa.Table.from_pandas(data, preserve_index=False)


def _readable(table: pa.Table) -> pa.Table:
    """The table with intervals and the like as what they store: Arrow can't write categories of them."""
    for at, column in enumerate(table.schema):
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if isinstance(kind, pa.BaseExtensionType) and pa.types.is_nested(kind.storage_type):
            table = table.set_column(at, column.name, plain_column(table.column(at)))
    return table
