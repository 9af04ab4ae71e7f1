"""Where rows come from: a CSV or Parquet file or folder, a scikit-learn toy dataset, or a dataset of the catalog."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset
from pyarrow import fs

from synthmill.config import DataConfig
from synthmill.data.cells import detect_types, read_csv
from synthmill.data.columns import is_supported, plain_type
from synthmill.data.schema import Rules, apply_rules, parse_rules, text_columns
from synthmill.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from synthmill.catalog.store import Store

FIELD = "data.source"
SKLEARN_TABLES = ("breast_cancer", "diabetes", "digits", "iris", "linnerud", "wine")
_CSV_ENDINGS = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".data")
_PARQUET_ENDINGS = (".parquet", ".pq", ".parq")
_HASH_BLOCK_BYTES = 1 << 22


@dataclass(frozen=True)
class Source:
    """A table with at least two rows, every column of a type that can be learnt."""

    table: pa.Table
    sha256: str
    """Of the source's bytes (files in order of their paths), or of the content of a bundled table."""
    uri: str
    rules: Rules = field(default_factory=dict)
    """What the schema file states, by column."""


def read_source(config: DataConfig, *, store: "Store | None" = None) -> Source:
    """Read, type and check the table that `data.source` names.

    Raises:
        DataError: one line that names the field: a missing, empty or malformed source, fewer than two rows, a column that is
            always missing or of a type that can't be learnt, an unknown `data.target` or `data.split.group`.
    """
    rules = load_rules(config)
    table, sha256, uri = _read(config, rules, store)
    table = apply_rules(table, rules).replace_schema_metadata(None)
    _check(table, config)
    return Source(table, sha256, uri, rules)


def load_rules(config: DataConfig) -> Rules:
    """The rules in `data.schema`, by column; none without a schema file."""
    if config.schema_file is None:
        return {}
    system, path = _locate(config.schema_file, "data.schema")
    if system.get_file_info(path).type != fs.FileType.File:
        raise DataError(f"no file at {config.schema_file}", field="data.schema")
    try:
        text = _read_bytes(system, path).decode()
    except UnicodeDecodeError:
        raise DataError(f"{config.schema_file} is not UTF-8 text", field="data.schema") from None
    return parse_rules(text, name=_name(path))


def _read(config: DataConfig, rules: Rules, store: "Store | None") -> tuple[pa.Table, str, str]:
    scheme, mark, rest = config.source.partition("://")
    if mark and scheme == "sklearn":
        table = _read_sklearn(rest)
        return table, _content_sha256(table), config.source
    if mark and scheme == "dataset":
        return _read_catalog(rest, store)
    system, path = _locate(config.source, FIELD)
    info = system.get_file_info(path)
    if info.type == fs.FileType.NotFound:
        raise DataError(f"no file or folder at {config.source}", field=FIELD)
    files = _files(system, info, config.source)
    reader = _read_csv_files if files[0].lower().endswith(_CSV_ENDINGS) or not _is_parquet(system, files[0]) else _read_parquet
    table = reader(system, path, files, config, rules)
    return table, _bytes_sha256(system, files), config.source


def _locate(uri: str, name: str) -> tuple[fs.FileSystem, str]:
    """The filesystem and the path inside it; plain paths are local."""
    try:
        if "://" in uri:
            return fs.FileSystem.from_uri(uri)  # type: ignore[no-any-return]
        return fs.LocalFileSystem(), str(Path(uri).expanduser().absolute())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise DataError(f"can't read {uri!r}; use a path, file://, s3://, sklearn:// or dataset://", field=name) from None


def _files(system: fs.FileSystem, info: fs.FileInfo, uri: str) -> list[str]:
    """The source's data files in order of their paths: CSV or Parquet, not hidden, not beginning with `_`."""
    if info.type == fs.FileType.File:
        if info.size == 0:
            raise DataError(f"{uri} is empty; it needs a header line and rows", field=FIELD)
        return [info.path]
    entries = system.get_file_info(fs.FileSelector(info.path, recursive=True))
    root = len(info.path.rstrip("/")) + 1
    shown = [entry for entry in entries if entry.type == fs.FileType.File and not _hidden(entry.path[root:])]
    found = sorted(entry.path for entry in shown if entry.path.lower().endswith(_CSV_ENDINGS + _PARQUET_ENDINGS))
    if not found:
        raise DataError(f"{uri} holds no .csv or .parquet file", field=FIELD)
    if len({path.lower().endswith(_CSV_ENDINGS) for path in found}) > 1:
        raise DataError(f"{uri} holds both CSV and Parquet files; name one kind", field=FIELD)
    return found


def _hidden(relative: str) -> bool:
    return any(part.startswith(("_", ".")) for part in relative.split("/"))


def _is_parquet(system: fs.FileSystem, path: str) -> bool:
    with system.open_input_stream(path, compression=None) as stream:
        return bool(stream.read(4) == b"PAR1") or path.lower().endswith(_PARQUET_ENDINGS)


def _read_csv_files(system: fs.FileSystem, root: str, files: list[str], config: DataConfig, rules: Rules) -> pa.Table:
    tables: list[pa.Table] = []
    for path in files:
        table = read_csv(_read_bytes(system, path), name=_name(path), trim=config.trim, null_values=config.null_values)
        if tables and table.column_names != tables[0].column_names:
            raise DataError(f"{_name(path)} has other columns than {_name(files[0])}", field=FIELD)
        tables.append(table)
    return detect_types(pa.concat_tables(tables), keep_text=text_columns(rules))


def _read_parquet(system: fs.FileSystem, root: str, files: list[str], config: DataConfig, rules: Rules) -> pa.Table:
    try:
        data = pa.dataset.dataset(files, filesystem=system, format="parquet", partitioning="hive", partition_base_dir=root)
        names = data.schema.names
        for name in names:
            if names.count(name) > 1:
                raise DataError(f"{_name(root)} has two columns named {name!r}; rename one", field=FIELD)
        return data.to_table(use_threads=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OSError) as fault:
        reason = str(fault).splitlines()[0][:120]
        raise DataError(f"{_name(root)} can't be read as Parquet ({reason})", field=FIELD) from None


def _read_catalog(ref: str, store: "Store | None") -> tuple[pa.Table, str, str]:
    if store is None:
        raise DataError(f"dataset://{ref} needs a store; give --store", field=FIELD)
    from synthmill.catalog.dataset import read_dataset

    version = store.resolve("datasets", ref, field=FIELD)
    return read_dataset(version), version.manifest.content_digest, f"dataset://{version.ref}"


def _read_sklearn(name: str) -> pa.Table:
    """The bundled table: its features, then `target` (class names where it has them; numbers otherwise)."""
    if name not in SKLEARN_TABLES:
        raise DataError(f"no scikit-learn table named {name!r}{did_you_mean(name, SKLEARN_TABLES)}", field=FIELD)
    import sklearn.datasets

    bunch = getattr(sklearn.datasets, f"load_{name}")()
    columns = {str(key): np.ascontiguousarray(bunch.data[:, i], dtype=np.float64) for i, key in enumerate(bunch.feature_names)}
    classes: Any = getattr(bunch, "target_names", None)
    if bunch.target.ndim == 2:
        columns.update({str(key): np.ascontiguousarray(bunch.target[:, i]) for i, key in enumerate(classes)})
    elif classes is not None and np.asarray(classes).dtype.kind in "UO":
        columns["target"] = pa.array(np.asarray(classes)[bunch.target].astype(object), pa.string())
    else:
        columns["target"] = bunch.target
    return pa.table(columns)


def _check(table: pa.Table, config: DataConfig) -> None:
    names = table.column_names
    for name, where in ((config.target, "data.target"), (config.split.group, "data.split.group")):
        if name is not None and name not in names:
            raise DataError(f"no column named {name!r}{did_you_mean(name, names)}", field=where)
    if table.num_rows < 2:
        rows = "one row" if table.num_rows == 1 else "no rows"
        raise DataError(f"{config.source} has {rows}; a model needs at least 2, and hundreds to be of use", field=FIELD)
    for name, column in zip(names, table.columns, strict=True):
        kind = plain_type(column.type)
        fix = f"drop it with a schema file: {{columns: {{{name}: {{kind: drop}}}}}}"
        if column.null_count == table.num_rows:
            raise DataError(f"column {name!r} holds only missing values; {fix}", field=FIELD)
        if not is_supported(kind):
            raise DataError(f"column {name!r} is of type {kind}, which no model here can learn; {fix}", field=FIELD)


def _read_bytes(system: fs.FileSystem, path: str) -> bytes:
    with system.open_input_stream(path) as stream:
        return stream.read()  # type: ignore[no-any-return]


def _name(path: str) -> str:
    return path.rstrip("/").rsplit("/", 1)[-1]


def _bytes_sha256(system: fs.FileSystem, files: list[str]) -> str:
    digest = hashlib.sha256()
    for path in files:
        with system.open_input_stream(path, compression=None) as stream:
            while block := stream.read(_HASH_BLOCK_BYTES):
                digest.update(block)
    return digest.hexdigest()


def _content_sha256(table: pa.Table) -> str:
    """Of column names and values, in a form that does not depend on library versions."""
    digest = hashlib.sha256()
    for name, column in zip(table.column_names, table.columns, strict=True):
        values = column.to_numpy()
        text = "\x1f".join(values) if values.dtype == object else None
        digest.update(f"{name}\x1e".encode())
        digest.update(text.encode() if text is not None else np.ascontiguousarray(values.astype("<f8")).tobytes())
    return digest.hexdigest()
