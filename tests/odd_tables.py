"""Tables with every kind of column, streamed: what encoding them to shards is compared with."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from synthmill.config import load_recipe
from synthmill.data.batch import concat
from synthmill.data.shards import EncodedRows, ShardIndex
from synthmill.runtime.encode import shards_in
from synthmill.runtime.prepare import Prepared, prepare
from synthmill.storage.folder import Folder

ROWS = 5000


def odd_table() -> pa.Table:
    """What columns can be, under the names that they can have."""
    rng = np.random.default_rng(0)

    def missing(values: Any) -> pa.Array:
        return pa.array(values, mask=rng.random(ROWS) < 0.1)

    plans = pa.array(["basic", None, "pro", "team \N{ROCKET}"])
    cities = [f"City {number}" for number in (rng.random(ROWS) ** 2 * 700).astype(int)]
    cents = np.round(rng.gamma(2.0, 9.0, ROWS), 2)
    return pa.table(
        {
            "id": np.arange(ROWS),
            "age `years`": missing(rng.integers(18, 90, ROWS)),
            "\N{MONEY BAG}": cents,
            "score": rng.normal(size=ROWS),
            "plan": plans.take(pa.array(rng.integers(0, 4, ROWS))),
            "city": cities,
            "active": missing(rng.random(ROWS) < 0.7),
            "joined": pa.array(rng.integers(0, 3000, ROWS).astype("M8[D]")),
            "no end": pa.array(
                np.where(rng.random(ROWS) < 0.05, 2932896, rng.integers(0, 900, ROWS)).astype("M8[D]")
            ),
            "seen": pa.array(rng.integers(1_500_000_000, 1_700_000_000, ROWS).astype("M8[s]")),
            "price": missing([Decimal(int(x)).scaleb(-2) for x in rng.integers(0, 900, ROWS)]),
            "zeros": np.where(rng.random(ROWS) < 0.5, 0, rng.integers(1, 300, ROWS)),
            "beyond": 2**60 + rng.integers(0, 9_000, ROWS),
            "same": ["x"] * ROWS,
            "rating": rng.integers(1, 6, ROWS),
            "again": cents,
        }
    )


def uneven_table() -> pa.Table:
    """Late rows have a sum that is a cent's multiple but for rounding."""
    table = odd_table()
    cents = table["again"].to_numpy().copy()
    cents[-50:] = 0.1 + 0.2
    return table.set_column(table.column_names.index("again"), "again", pa.array(cents))


def prepared(table: pa.Table, folder: Path, model: str) -> Prepared:
    pq.write_table(table, folder / "source.parquet", row_group_size=700)
    said = (
        "name=odd",
        f"data.source={folder / 'source.parquet'}",
        "data.target=plan",
        "data.stream=always",
        f"model.name={model}",
    )
    return prepare(load_recipe("table", said), str(folder / "store"))


def check_same(made: Prepared, run: Folder, index: ShardIndex) -> None:
    """Rows from shards are those that the codec makes of plain tables."""
    assert made.rows.divided is not None
    expected = concat([made.rows.codec.encode(table) for table in made.rows.divided.tables()])
    path = shards_in(run).local_path
    assert path is not None
    found = EncodedRows(path, index).take(slice(0, index.rows))
    assert torch.equal(found["codes"], expected["codes"])
    assert found["values"].numpy().tobytes() == expected["values"].numpy().tobytes()
