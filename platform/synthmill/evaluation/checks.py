"""Whether tables can be compared at all: clear errors before any work."""

import pyarrow as pa
import pyarrow.compute as pc

from synthmill.errors import DataError, did_you_mean


def check_tables(
    train: pa.Table,
    validation: pa.Table | None,
    holdout: pa.Table | None,
    target: str | None,
    *,
    group: str | None = None,
    synthetic_rows: int | None = None,
) -> None:
    """Raises DataError for an empty table or a target that is not a column."""
    if not train.num_columns or not train.num_rows:
        raise DataError("the training table has no rows; there is nothing to compare with", field="train")
    # A group column that is not there would silently count every row as a group of its own.
    for field, name in (("data.target", target), ("data.split.group", group)):
        if name is not None and name not in train.column_names:
            raise DataError(f"no column named {name!r}{did_you_mean(name, train.column_names)}", field=field)
    if synthetic_rows == 0:
        raise DataError("the synthetic table has no rows", field="synthetic")


def align(table: pa.Table, schema: pa.Schema, field: str) -> pa.Table:
    """The columns of `schema`, in its order and types; further columns are left out, and NaN becomes null: to
    metrics both are missing.

    Raises:
        DataError: a column is missing, or has values that its type can't hold.
    """
    known = set(table.column_names)
    missing = [name for name in schema.names if name not in known]
    if missing:
        raise DataError(
            f"lacks {len(missing)} of the training table's columns: {', '.join(missing[:5])}", field=field
        )
    columns = []
    # By position: looking a name up among 10,000 takes as long as reading the column.
    places = {name: place for place, name in enumerate(table.column_names)}
    for wanted in schema:
        column = table.column(places[wanted.name])
        if column.type != wanted.type:
            try:
                column = column.cast(wanted.type)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                raise DataError(
                    f"column {wanted.name!r} is {column.type} and does not convert to {wanted.type}",
                    field=field,
                ) from None
        columns.append(nan_as_null(column))
    return pa.table(columns, schema=schema)


def nan_as_null(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column with NaN, which data frames write for missing, as missing."""
    if not pa.types.is_floating(column.type):
        return column
    # Two kinds of missing would be counted as a difference between tables.
    nan = pc.is_nan(column)
    return pc.if_else(nan, pa.scalar(None, column.type), column) if pc.any(nan).as_py() else column
