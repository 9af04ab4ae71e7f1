"""What can be wrong with the sequences of a source, told before anything is fitted: one line that names the
field and the fix."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.config import DataConfig
from synthmill.data.columns import flat, is_text
from synthmill.data.people import NEIGHBOURS
from synthmill.data.sequences.order import Runs, key_ids, order_numbers, runs_of
from synthmill.errors import DataError, RecipeError, did_you_mean, raise_faults


def check_fields(config: DataConfig) -> None:
    """RecipeError for settings of sequences that can't be meant together."""
    if config.group_by is None:
        stated = next((n for n in ("order_by", "static", "lags", "max_length") if getattr(config, n)), None)
        if stated is not None:
            raise RecipeError(
                "is about sequences; set data.group_by to the column whose equal values make one, or leave"
                " it out",
                field=f"data.{stated}",
            )
        return
    if not config.group_by or len(set(config.group_by)) < len(config.group_by):
        raise RecipeError("name at least one column, and each once", field="data.group_by")
    if config.order_by in config.group_by:
        raise RecipeError(
            f"{config.order_by!r} is in data.group_by, and equal in all rows of a sequence; name the column"
            " that orders them",
            field="data.order_by",
        )
    for name in config.static or ():
        if name in config.group_by or name == config.order_by:
            raise RecipeError(f"{name!r} is the key or the order; leave it out", field="data.static")


def check_sequences(table: pa.Table, config: DataConfig) -> tuple[str, ...]:
    """Notes on the sequences of all rows of a source.

    Raises:
        DataError: columns that are not there, hold missing cells or can't order rows; no sequences, too few,
        or one longer than `data.max_length`.
    """
    assert config.group_by is not None
    names = table.column_names
    for field, wanted in (
        ("group_by", config.group_by),
        ("order_by", () if config.order_by is None else (config.order_by,)),
        ("static", config.static or ()),
    ):
        unknown = next((name for name in wanted if name not in names), None)
        if unknown is not None:
            raise DataError(
                f"no column named {unknown!r}{did_you_mean(unknown, names)}", field=f"data.{field}"
            )
    _check_keys(table, config.group_by)
    if config.order_by is not None:
        _check_order(table[config.order_by], config.order_by)
    if not set(names) - set(config.group_by) and config.order_by is None:
        raise DataError("every column is a key; there is nothing to learn", field="data.group_by")
    runs = runs_of(table, config.group_by, config.order_by)
    _check_lengths(runs, config)
    if config.split.group is not None and config.group_by != (config.split.group,):
        _check_sides(table, config.group_by, config.split.group)
    raise_faults(
        [
            f"column {name!r} changes within a sequence; leave it out"
            for name in config.static or ()
            if not is_static(table, name, runs)
        ],
        field="data.static",
    )
    return _ties(table, runs, config.order_by)


def check_train(runs: Runs, config: DataConfig) -> None:
    """DataError where too few sequences were left to train on: what is told of them is shared by five."""
    found = int((runs.lengths > 1).sum())
    if found < NEIGHBOURS:
        raise DataError(
            f"{found} of the sequences to train on have two rows or more, and {NEIGHBOURS} are needed; give"
            " more, or lower the shares of validation and holdout",
            field="data.group_by",
        )


def is_static(table: pa.Table, name: str, runs: Runs) -> bool:
    """Whether a column is equal, or missing, in all rows of each sequence."""
    column = flat(table[name])
    first = pa.array(runs.rows[np.repeat(runs.starts, runs.lengths)])
    own, other = column.take(pa.array(runs.rows)), column.take(first)
    same = pc.equal(own, other)
    if pa.types.is_floating(column.type):
        same = pc.or_(same, pc.and_(pc.is_nan(own), pc.is_nan(other)))
    both = pc.and_(pc.is_null(own), pc.is_null(other))
    return bool(pc.all(pc.or_(same.fill_null(False), both)).as_py() is not False)


def _check_keys(table: pa.Table, keys: tuple[str, ...]) -> None:
    for name in keys:
        column = table[name]
        if not (is_text(column.type) or pa.types.is_integer(column.type)):
            raise DataError(
                f"{name!r} is of type {column.type}; keys are whole numbers or text", field="data.group_by"
            )
        if column.null_count:
            raise DataError(
                f"{column.null_count:,} rows have no {name!r}, and belong to no sequence; fill the cells, or"
                " leave the rows out",
                field="data.group_by",
            )


def _check_order(column: pa.ChunkedArray, name: str) -> None:
    kind = column.type
    if is_text(kind) or pa.types.is_boolean(kind) or pa.types.is_time(kind) or pa.types.is_nested(kind):
        what = "text" if is_text(kind) else str(kind)
        raise DataError(
            f"{name!r} holds {what}, which does not order the rows of a sequence; name a column of numbers,"
            " dates or times (a schema file can state its datetime_format)",
            field="data.order_by",
        )
    missing = column.null_count
    if pa.types.is_floating(kind):
        missing += int((~np.isfinite(order_numbers(column.drop_null()))).sum())
    if missing:
        raise DataError(
            f"{missing:,} rows have no {name!r}, and no place in their sequence; fill the cells, or leave the"
            " rows out",
            field="data.order_by",
        )
    if pa.types.is_uint64(kind) and len(column) and pc.max(column).as_py() >= 2**63:
        raise DataError(f"{name!r} reaches beyond 2^63; store it as a smaller number", field="data.order_by")


def _check_lengths(runs: Runs, config: DataConfig) -> None:
    lengths, keys = runs.lengths, " and ".join(map(repr, config.group_by or ()))
    longest = int(lengths.max(initial=0))
    if longest <= 1:
        raise DataError(
            f"every {keys} has one row, so there are no sequences; leave data.group_by out, or name another"
            " column",
            field="data.group_by",
        )
    if len(lengths) < NEIGHBOURS:
        raise DataError(
            f"{len(lengths)} sequences are too few to learn from without copying one; {NEIGHBOURS} are the"
            " least, and hundreds are of use",
            field="data.group_by",
        )
    if config.max_length is not None and longest > config.max_length:
        many = int((lengths > config.max_length).sum())
        raise DataError(
            f"{many:,} sequence{'s have' if many > 1 else ' has'} more than {config.max_length:,} rows, up to"
            f" {longest:,}; raise it, or cut them",
            field="data.max_length",
        )


def _check_sides(table: pa.Table, keys: tuple[str, ...], group: str) -> None:
    """A coarser group (the hospital of a patient) may divide the rows; one that cuts sequences may not."""
    if group not in table.column_names:
        raise DataError(
            f"no column named {group!r}{did_you_mean(group, table.column_names)}", field="data.split.group"
        )
    both = int(key_ids(table, (*keys, group)).max(initial=-1))
    if table[group].null_count or both != int(key_ids(table, keys).max(initial=-1)):
        raise DataError(
            f"rows of one sequence differ in {group!r}; leave it out: sequences stay on one side",
            field="data.split.group",
        )


def _ties(table: pa.Table, runs: Runs, order: str | None) -> tuple[str, ...]:
    if order is None:
        return ()
    numbers = order_numbers(table[order])[runs.rows]
    same = (np.diff(numbers) == 0) & (runs.position[1:] > 0)
    if not same.any():
        return ()
    return (
        f"{int(same.sum()):,} rows have the {order!r} of the row before them; such rows stay in the order of"
        " the source",
    )
