"""A dataset as a table of a data lake: what Iceberg and Delta Lake have in common.

Both get plain columns, part by part, and one commit at the end: readers see the table as it was, or all rows.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from synthmill.catalog.dataset import iter_parts
from synthmill.catalog.manifest import decode_schema
from synthmill.catalog.store import Version
from synthmill.errors import DataError, UserError

Mode = Literal["new", "append", "replace"]
MODES = ("new", "append", "replace")
DIGEST = "synthmill.content_digest"


@dataclass(frozen=True)
class Rows:
    """The rows of a dataset in types that tables of lakes have."""

    version: Version
    schema: pa.Schema
    partition_by: tuple[str, ...]
    notes: tuple[str, ...]
    """What columns became."""
    field: str
    """The option that asked for it."""

    @property
    def facts(self) -> dict[str, str]:
        """What the commit says of where the rows came from."""
        manifest = self.version.manifest
        return {
            "synthmill.dataset": self.version.ref,
            DIGEST: manifest.content_digest,
            "synthmill.digital_source_type": str(manifest.labels.get("digitalSourceType", "")),
        }

    def tables(self) -> Iterator[pa.Table]:
        """The verified rows, a part at a time."""
        for table in iter_parts(self.version):
            try:
                yield table.select(self.schema.names).cast(self.schema)
            except pa.ArrowInvalid as fault:
                # Times of less than a microsecond, above all.
                line = str(fault).splitlines()[0]
                raise DataError(f"a value fits no type of such tables: {line}", field=self.field) from None

    def reader(self) -> pa.RecordBatchReader:
        """The same rows as a stream."""
        batches = (batch for table in self.tables() for batch in table.to_batches())
        return pa.RecordBatchReader.from_batches(self.schema, batches)


def rows_of(version: Version, *, field: str, has_times: bool) -> Rows:
    """A dataset's rows for a lake; `has_times`: whether its tables have a type for times of day.

    Raises:
        DataError: no dataset, or a column whose type such tables do not have; names `field` and the column.
    """
    if version.manifest.arrow_schema is None:
        raise DataError(f"{version.ref} states no columns; it can't be exported", field=field)
    fields, notes = [], []
    for column in decode_schema(version.manifest.arrow_schema):
        kind = _lake_type(column.type, has_times)
        if kind is None:
            raise DataError(
                f"column {column.name!r} is of type {column.type}, which such tables do not have; publish"
                " the dataset without it (--columns)",
                field=field,
            )
        # A dictionary is how a column is stored, not what it holds.
        if kind != column.type and not pa.types.is_dictionary(column.type):
            notes.append(f"{column.name}: {column.type} became {kind}")
        fields.append(pa.field(column.name, kind, column.nullable))
    folders = tuple(version.manifest.details.get("partition_by", ()))
    return Rows(version, pa.schema(fields), folders, tuple(notes), field)


def missing_package(package: str, extra: str, field: str) -> UserError:
    """The error for an extra that is not installed."""
    return UserError(
        f"needs {package}, which is not installed: pip install 'synthmill[{extra}]'", field=field
    )


def taken(uri: str, field: str) -> UserError:
    """The error for a place that holds a table already."""
    return UserError(f"{uri} holds a table already; add --mode replace or --mode append", field=field)


def failed(uri: str, fault: BaseException, field: str) -> DataError:
    """One line of what the other library says."""
    line = " ".join(str(fault).split())[:300] or type(fault).__name__
    return DataError(f"{uri}: not exported, the table is as it was ({line})", field=field)


def s3_environment() -> dict[str, str]:
    """Endpoint and region of the environment, under the names that boto3 has them."""
    names = (
        "AWS_ENDPOINT_URL",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
    )
    return {name: os.environ[name] for name in names if os.environ.get(name)}


def _lake_type(kind: pa.DataType, has_times: bool) -> pa.DataType | None:
    """The type in which such tables hold the same values; None: there is none."""
    if pa.types.is_dictionary(kind):
        return _lake_type(kind.value_type, has_times)
    if pa.types.is_unsigned_integer(kind):
        # The next wider one; above 64 bits there is none.
        return {8: pa.int16(), 16: pa.int32(), 32: pa.int64()}.get(kind.bit_width)
    if pa.types.is_float16(kind):
        return pa.float32()
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", "UTC" if kind.tz else None)
    if pa.types.is_date64(kind):
        return pa.date32()
    if pa.types.is_time(kind):
        return pa.time64("us") if has_times else None
    checks = (
        pa.types.is_signed_integer,
        pa.types.is_floating,
        pa.types.is_boolean,
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_binary,
        pa.types.is_large_binary,
        pa.types.is_date32,
        pa.types.is_decimal128,
        pa.types.is_struct,
        pa.types.is_list,
    )
    return kind if any(check(kind) for check in checks) else None
