"""In which files a generated dataset is written: their size, their row groups, their Hive folders.

None of it changes a row, but for the size of a file, which is the number of rows in a shard.
"""

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from synthmill.catalog import partitions
from synthmill.catalog.provenance import SYNTHETIC_COLUMN
from synthmill.errors import UserError, did_you_mean
from synthmill.storage.parquet import ROW_GROUP_ROWS, write_part

if TYPE_CHECKING:
    from synthmill.generation.generator import Generator
    from synthmill.generation.shards import ShardPlan

MOST_SHARD_ROWS = 1 << 22
"""A shard is computed as a whole: more rows of a few dozen columns would not fit a worker's memory."""
ROWS_STEP = 1024
_SIZE = re.compile(r"^\s*(\d{1,9}(?:\.\d+)?)\s*(KB|MB|GB)\s*$", re.IGNORECASE)
_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9}


@dataclass(frozen=True, kw_only=True)
class Output:
    """How parts are written."""

    partition_by: tuple[str, ...] = ()
    """Columns whose values become Hive folders."""
    row_group_rows: int = ROW_GROUP_ROWS

    def facts(self) -> dict[str, Any]:
        """What is not as it is by default: only that goes into a run key, or all would be new."""
        return {name: value for name, value in asdict(self).items() if value != getattr(Output(), name)}


def check_output(output: Output, generator: "Generator", schema: pa.Schema) -> None:
    """Refuse folders and row groups that can't be; `schema` is what is published.

    Raises:
        UserError: names the option and the fix.
    """
    if output.row_group_rows < 1:
        raise UserError(f"must be at least 1, got {output.row_group_rows}", field="--row-group-rows")
    levels = {}
    for name in output.partition_by:
        if name not in schema.names:
            hint = did_you_mean(name, schema.names)
            raise UserError(f"no column {name!r} is published{hint}", field=partitions.FIELD)
        known = ["true", "false"] if name == SYNTHETIC_COLUMN else generator.codec.levels(name)
        if known is None:
            raise UserError(
                f"{name!r} has no fixed set of values; choose a column of categories", field=partitions.FIELD
            )
        levels[name] = known
    if output.partition_by:
        partitions.check(output.partition_by, schema, levels)


def bytes_of(text: str, *, field: str) -> int:
    """128,000,000 for "128MB"; UserError names `field`."""
    match = _SIZE.match(text)
    size = int(float(match[1]) * _UNITS[match[2].upper()]) if match else 0
    if size < 1:
        raise UserError(f"expected a size such as 64MB or 1GB, got {text[:40]!r}", field=field)
    return size


def rows_of_files(generator: "Generator", plan: "ShardPlan", output: Output, file_bytes: int) -> int:
    """Rows of a shard whose file has about so many bytes: those that the plan's first rows take on disk.

    The same for the same model, seed and plan, so that a job that is run again writes the same files.
    """
    few, many = (written_bytes(generator, plan, output, rows) for rows in (4 * ROWS_STEP, 16 * ROWS_STEP))
    # What a file has once (footer, dictionaries) must not count for each row.
    each = max((many - few) / (12 * ROWS_STEP), 0.01)
    rows = round(file_bytes / each) // ROWS_STEP * ROWS_STEP
    if rows > MOST_SHARD_ROWS:
        most = round(MOST_SHARD_ROWS * each / 10**6)
        raise UserError(
            f"would take {rows:,} rows a file, and a worker computes a file as a whole; ask for at most"
            f" {most}MB",
            field="--file-size",
        )
    return max(rows, ROWS_STEP)


def written_bytes(generator: "Generator", plan: "ShardPlan", output: Output, rows: int) -> int:
    """Bytes of a file with the plan's first `rows` rows, which is not kept; classes stay as they are."""
    few = plan.model_copy(update={"rows": rows, "shard_rows": rows, "quotas": (), "balance": None})
    table = generator.shard(few, few.shard(0))
    form = generator.codec.form.select(plan.columns or generator.schema.names)
    written = form.write(table.select(form.schema.names))
    with TemporaryDirectory(prefix="synthmill-") as scratch:
        local = Path(scratch) / "part"
        return write_part([written], written.schema, local, {}, row_group_rows=output.row_group_rows).bytes
