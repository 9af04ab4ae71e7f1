"""Where rows come from: a CSV or Parquet file or folder, a scikit-learn toy dataset, or a dataset of the
catalog."""

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.catalog.dataset import described_dataset
from synthmill.catalog.store import Store, Version
from synthmill.config import DataConfig, StorageConfig
from synthmill.data.columns import flat, is_supported, plain_table, plain_type, to_int64
from synthmill.data.conform import Conformed, conform
from synthmill.data.files import Files, read_files, weigh_files
from synthmill.data.formats.base import WholeError
from synthmill.data.inspection import Inspection, inspect_table
from synthmill.data.origin import attach, joined
from synthmill.data.query import is_database, read_query, shown
from synthmill.data.readers.base import FIELD, Reader, Source
from synthmill.data.scan.raw import open_files, open_version
from synthmill.data.scan.scan import Scan
from synthmill.data.schema import Rules, text_columns
from synthmill.errors import DataError, did_you_mean, raise_faults

SKLEARN_TABLES = ("breast_cancer", "diabetes", "digits", "iris", "linnerud", "wine")


class TableReader(Reader):
    """Tables: CSV and Parquet files, bundled tables, datasets of the catalog."""

    def read(self, config: DataConfig, *, store: Store | None, rules: Rules) -> Source:
        """
        Raises:
            DataError: a missing, empty or malformed source, fewer than two rows, an unknown `data.target` or
                `data.split.group`; every column that is always missing, of a type that can't be learnt, or
                nearly all of one type.
        """
        found, made, uri = _conformed(config, rules, store)
        _check(made, config, rules)
        return Source(made.table, found.sha256, uri, rules, (*found.notes, *made.notes))

    def scan(self, config: DataConfig, *, store: Store | None, rules: Rules) -> Scan:
        settings = store.root.settings if store is not None else StorageConfig()
        scheme, mark, rest = config.source.partition("://")
        if mark and scheme == "dataset":
            raw = open_version(_version(rest, store))
        elif mark and (scheme == "sklearn" or is_database(scheme)):
            raise WholeError(f"{shown(config.source)} gives all of its rows at once")
        else:
            raw = open_files(config, settings)
        return Scan(
            raw,
            config,
            rules,
            check=lambda made: _check(made, config, rules),
            look=lambda made, notes: _inspect(made, config, rules, notes),
        )

    def weigh(self, config: DataConfig, *, store: Store | None) -> int | None:
        # Databases are watched while they are read, and bundled tables are small.
        if "://" in config.source and not config.source.startswith(("file://", "s3://")):
            return None
        return weigh_files(config.source, store.root.settings if store is not None else StorageConfig())

    def inspect(self, config: DataConfig, *, store: Store | None, rules: Rules) -> Inspection:
        found, made, _ = _conformed(config, rules, store)
        _check_names(made.table, config)
        return _inspect(made, config, rules, found.notes)


def _conformed(config: DataConfig, rules: Rules, store: Store | None) -> tuple[Files, Conformed, str]:
    """The files, their columns as they are learnt, and where they came from."""
    settings = store.root.settings if store is not None else StorageConfig()
    found, uri = _read(config, rules, store, settings)
    made = conform(plain_table(found.table), rules, config.null_values)
    # What the file said of itself (categories, an index) is read again by the codec.
    table = made.table.replace_schema_metadata(found.table.schema.metadata)
    return found, replace(made, table=table), uri


def _inspect(made: Conformed, config: DataConfig, rules: Rules, notes: tuple[str, ...] = ()) -> Inspection:
    found = {
        name: _fault(name, column)
        for name, column in zip(made.table.column_names, made.table.columns, strict=True)
    }
    faults = {name: fault for name, fault in found.items() if fault is not None} | dict(made.faults)
    return inspect_table(made.table, rules, config, faults=faults, notes=(*notes, *made.notes))


def _read(
    config: DataConfig, rules: Rules, store: Store | None, settings: StorageConfig
) -> tuple[Files, str]:
    scheme, mark, rest = config.source.partition("://")
    if mark and scheme == "sklearn":
        table = _read_sklearn(rest)
        return Files(table=table, sha256=_content_sha256(table)), config.source
    if mark and scheme == "dataset":
        return _read_catalog(rest, store)
    if mark and is_database(scheme):
        return read_query(config.source, config, keep_text=text_columns(rules)), shown(config.source)
    return read_files(config.source, config, settings, keep_text=text_columns(rules)), config.source


def _read_catalog(ref: str, store: Store | None) -> tuple[Files, str]:
    version = _version(ref, store)
    table = described_dataset(version)
    table = attach(plain_table(table), joined([table]))
    return Files(table=table, sha256=version.manifest.content_digest), f"dataset://{version.ref}"


def _version(ref: str, store: Store | None) -> Version:
    if store is None:
        raise DataError(f"dataset://{ref} needs a store; give --store", field=FIELD)
    return store.resolve("datasets", ref, field=FIELD)


def _read_sklearn(name: str) -> pa.Table:
    """The bundled table: its features, then `target` (class names where it has them; numbers otherwise)."""
    if name not in SKLEARN_TABLES:
        raise DataError(
            f"no scikit-learn table named {name!r}{did_you_mean(name, SKLEARN_TABLES)}", field=FIELD
        )
    import sklearn.datasets

    bunch = getattr(sklearn.datasets, f"load_{name}")()
    columns = {
        str(key): np.ascontiguousarray(bunch.data[:, i], dtype=np.float64)
        for i, key in enumerate(bunch.feature_names)
    }
    classes: Any = getattr(bunch, "target_names", None)
    if bunch.target.ndim == 2:
        columns.update({str(key): np.ascontiguousarray(bunch.target[:, i]) for i, key in enumerate(classes)})
    elif classes is not None and np.asarray(classes).dtype.kind in "UO":
        columns["target"] = pa.array(np.asarray(classes)[bunch.target].astype(object), pa.string())
    else:
        columns["target"] = bunch.target
    return pa.table(columns)


def _check(made: Conformed, config: DataConfig, rules: Rules) -> None:
    """DataError for what no model can learn from, all columns at fault at once."""
    _check_names(made.table, config)
    names, columns = made.table.column_names, made.table.columns
    if made.faults or any(_fault(name, column) for name, column in zip(names, columns, strict=True)):
        # What only the profile finds is named too, so that one run shows all there is to mend.
        raise_faults(_inspect(made, config, rules).faults, field=FIELD)


def _check_names(table: pa.Table, config: DataConfig) -> None:
    """DataError for an unknown target or group, or too few rows."""
    names = table.column_names
    for name, where in ((config.target, "data.target"), (config.split.group, "data.split.group")):
        if name is not None and name not in names:
            raise DataError(f"no column named {name!r}{did_you_mean(name, names)}", field=where)
    if table.num_rows < 2:
        rows = "one row" if table.num_rows == 1 else "no rows"
        raise DataError(
            f"{config.source} has {rows}; a model needs at least 2, and hundreds to be of use", field=FIELD
        )


def _fault(name: str, column: pa.ChunkedArray) -> str | None:
    """Why a column can't be learnt; None where it can."""
    kind = plain_type(column.type)
    fix = f"drop it with a schema file: {{columns: {{{name}: {{kind: drop}}}}}}"
    if _always_missing(column):
        return f"column {name!r} holds only missing values; {fix}"
    if pa.types.is_decimal(kind) and not _fits(column):
        return f"column {name!r} has decimals of more than 18 digits; store them as floats or text, or {fix}"
    if not is_supported(kind):
        return f"column {name!r} is of type {kind}, which no model here can learn; {fix}"
    return None


def _fits(column: pa.ChunkedArray) -> bool:
    try:
        to_int64(flat(column))
    except OverflowError:
        return False
    return True


def _always_missing(column: pa.ChunkedArray) -> bool:
    values = column.drop_null()
    return len(values) == 0 or (
        pa.types.is_floating(column.type) and not pc.any(pc.is_finite(values.cast(pa.float64()))).as_py()
    )


def _content_sha256(table: pa.Table) -> str:
    """Of column names and values, in a form that does not depend on library versions."""
    digest = hashlib.sha256()
    for name, column in zip(table.column_names, table.columns, strict=True):
        values = column.to_numpy()
        text = "\x1f".join(values) if values.dtype == object else None
        digest.update(f"{name}\x1e".encode())
        digest.update(
            text.encode() if text is not None else np.ascontiguousarray(values.astype("<f8")).tobytes()
        )
    return digest.hexdigest()
