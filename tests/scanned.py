"""What a scan of a source gives, to be compared; and sources whose scan finds all that it can."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from odd_tables import odd_table
from synthmill.config import load_recipe
from synthmill.data.readers.base import scan_source
from synthmill.data.scan.found import Runner
from synthmill.training.prepare import Rows, resolve, scan_rows


def categories(table: pa.Table) -> pa.Table:
    """With a column of categories, one of which never occurs, and texts in a form."""
    rng, rows = np.random.default_rng(3), table.num_rows
    sizes = pa.DictionaryArray.from_arrays(
        pa.array(rng.integers(0, 3, rows).astype(np.int8)), pa.array(["S", "M", "L", "XL"])
    )
    days = (np.datetime64("2021-03-01") + rng.integers(0, 600, rows)).astype(object)
    born = pa.array([f"{day:%d.%m.%Y}" for day in days])
    return table.append_column("size", sizes).append_column("born", born)


def folder_of(folder: Path, table: pa.Table | None = None, rows: int = 200) -> Path:
    """Two files of unequal length, in row groups of so many rows, one of them without a row."""
    table = categories(odd_table()) if table is None else table
    cut = table.num_rows // 3
    for year, part in ((2023, table.slice(0, cut)), (2024, table.slice(0, 0)), (2025, table.slice(cut))):
        (folder / f"year={year}").mkdir(parents=True)
        pq.write_table(part, folder / f"year={year}" / "part.parquet", row_group_size=rows)
    return folder


def scanned(source: Path, runner: Runner | None = None, *more: str) -> Rows:
    """Gone over by the runner, or in turn."""
    said = ("name=x", f"data.source={source}", "data.stream=always", "model.name=ctgan", *more)
    recipe = resolve(load_recipe("table", said))
    scan = scan_source(recipe.data)
    if runner is not None:
        scan.runner = runner
    return scan_rows(recipe, scan)


def told(rows: Rows) -> dict[str, Any]:
    """Everything that training reads of a scan, byte by byte."""
    assert rows.divided is not None
    files, tensors = rows.codec.to_files()
    scan = rows.divided.scan
    return {
        "codec": json.dumps(files),
        "tensors": {name: tensor.numpy().tobytes() for name, tensor in tensors.items()},
        "summary": json.dumps(rows.counted),
        "notes": (rows.notes, rows.codec.notes),
        "split": rows.tables.split.model_dump(),
        "sha256": rows.source.sha256,
        "schema": scan.schema.serialize().to_pybytes(),
        "sample": (scan.sample.to_pylist(), scan.sample_rows.tobytes()),
        "sides": rows.divided.sides.of(0, rows.num_rows).tobytes(),
    }


def first_difference(one: dict[str, Any], other: dict[str, Any]) -> str | None:
    """What of two scans differs; None: nothing does."""
    return next((name for name in one if one[name] != other[name]), None)
