"""Tables in files: CSV and Parquet, one file or a folder of them, on disk or on S3, partitioned by folder
names or not."""

import hashlib
from collections.abc import Callable
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from synthmill.config import DataConfig, StorageConfig
from synthmill.data.cells import FIELD, detect_types, read_csv
from synthmill.data.columns import plain_table
from synthmill.errors import DataError, UserError
from synthmill.storage.folder import Folder
from synthmill.storage.uri import Location, parse, redact

CSV_ENDINGS = (".csv", ".tsv", ".txt", ".data")
PARQUET_ENDINGS = (".parquet", ".pq", ".parq")
_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_PARQUET_MAGIC = b"PAR1"


def read_files(
    uri: str, config: DataConfig, settings: StorageConfig, *, keep_text: frozenset[str]
) -> tuple[pa.Table, str]:
    """The table at a URI, and the SHA-256 of its bytes (of paths and bytes in order of paths, for a folder).

    Raises:
        DataError: nothing there, or not what can be read as one table.
        StorageError: the place can't be reached.
    """
    folder, paths = _find(uri, settings)
    digest = hashlib.sha256()
    tables: list[pa.Table] = []
    is_csv = True
    for path in paths:
        data = folder.read_bytes(path)
        if len(paths) > 1:
            digest.update(f"{path}\0{len(data)}\0".encode())
        digest.update(data)
        is_csv = data[:4] != _PARQUET_MAGIC and not path.lower().endswith(PARQUET_ENDINGS)
        table = _read_csv(data, path, config) if is_csv else _read_parquet(data, path)
        tables.append(_with_partition(table, path))
    table = _join(tables, paths)
    partitions = set(table.column_names) & {key for path in paths for key, _ in _partition(path)}
    texts = keep_text if is_csv else keep_text | (set(table.column_names) - partitions)
    return detect_types(table, keep_text=frozenset(texts)), digest.hexdigest()


def read_text(uri: str, settings: StorageConfig, *, field: str) -> str:
    """The text of a small file.

    Raises:
        DataError: no such file, or not UTF-8; names `field`.
    """
    folder, name = _parent(_location(uri, field), settings)
    if not name or not folder.exists(name):
        raise DataError(f"no file at {uri}", field=field)
    try:
        return folder.read_bytes(name).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{uri} is not UTF-8 text", field=field) from None


def _location(uri: str, field: str) -> Location:
    try:
        return parse(uri)
    except UserError as fault:
        raise DataError(str(fault).removeprefix(f"{fault.field}: "), field=field) from None


def _parent(location: Location, settings: StorageConfig) -> tuple[Folder, str]:
    root, _, name = location.root.rpartition("/")
    above = Location(location.scheme, location.bucket, root or ("/" if location.scheme == "file" else ""))
    return Folder(above.uri, settings), name


def _find(uri: str, settings: StorageConfig) -> tuple[Folder, list[str]]:
    """A folder and the data files in it, in order of their paths: not hidden, not beginning with `_`, all CSV
    or all Parquet."""
    location = _location(uri, FIELD)
    parent, name = _parent(location, settings)
    if name and parent.exists(name):
        return parent, [name]
    folder = Folder(location.uri, settings)
    shown = [
        entry.path
        for entry in folder.list()
        if not any(part.startswith(("_", ".")) for part in entry.path.split("/"))
    ]
    if not shown:
        raise DataError(f"no file or folder with data at {uri}", field=FIELD)
    found = [path for path in shown if _plain(path).endswith(CSV_ENDINGS + PARQUET_ENDINGS)]
    if not found:
        raise DataError(f"{uri} holds no .csv or .parquet file", field=FIELD)
    if len({_plain(path).endswith(CSV_ENDINGS) for path in found}) > 1:
        raise DataError(f"{uri} holds both CSV and Parquet files; name one kind", field=FIELD)
    return folder, found


def _plain(path: str) -> str:
    """The path in lower case without the ending of a compression."""
    lower = path.lower()
    return next((lower.removesuffix(ending) for ending in _COMPRESSIONS if lower.endswith(ending)), lower)


def _read_csv(data: bytes, path: str, config: DataConfig) -> pa.Table:
    kind = next((kind for ending, kind in _COMPRESSIONS.items() if path.lower().endswith(ending)), None)
    if kind is not None:
        data = _guarded(lambda: pa.CompressedInputStream(pa.BufferReader(data), kind).read(), path, kind)
    return read_csv(data, name=path, trim=config.trim, null_values=config.null_values)


def _read_parquet(data: bytes, path: str) -> pa.Table:
    if not data:
        raise DataError(f"{path} is empty", field=FIELD)

    def read() -> pa.Table:
        file = pq.ParquetFile(pa.BufferReader(data))
        _check_names(file.schema_arrow.names, path)
        return file.read().replace_schema_metadata(None)

    return _guarded(read, path, "Parquet")


def _guarded(read: Callable[[], pa.Table], path: str, kind: str) -> pa.Table:
    try:
        return read()
    except (pa.ArrowException, OSError) as fault:
        raise DataError(f"{path} can't be read as {kind} ({redact(str(fault))[:120]})", field=FIELD) from None


def _check_names(names: list[str], path: str) -> None:
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise DataError(f"{path} has two columns named {twice!r}; rename one", field=FIELD)


def _partition(path: str) -> list[tuple[str, str | None]]:
    """Columns and values written in folder names, as in `year=2024/month=1/part.parquet`."""
    pairs = [part.partition("=") for part in path.split("/")[:-1] if "=" in part]
    return [(unquote(key), None if value == _NO_VALUE else unquote(value)) for key, _, value in pairs]


def _with_partition(table: pa.Table, path: str) -> pa.Table:
    for key, value in _partition(path):
        if key not in table.column_names:
            table = table.append_column(key, pa.repeat(pa.scalar(value, pa.string()), table.num_rows))
    return table


def _join(tables: list[pa.Table], paths: list[str]) -> pa.Table:
    for table, path in zip(tables, paths, strict=True):
        if set(table.column_names) != set(tables[0].column_names):
            odd = sorted(set(table.column_names) ^ set(tables[0].column_names))[0]
            raise DataError(
                f"{path} and {paths[0]} differ in columns ({odd!r} is in one of them)", field=FIELD
            )
    # A data frame's categories are a dictionary in one file and may be plain strings in the next.
    ordered = [plain_table(table.select(tables[0].column_names)) for table in tables]
    try:
        return pa.concat_tables(ordered, promote_options="permissive")
    except pa.ArrowException as fault:
        raise DataError(
            f"the files have columns of different types ({redact(str(fault))[:120]})", field=FIELD
        ) from None
