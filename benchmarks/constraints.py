"""Hold a million generated rows against constraints of every type: PYTHONPATH=platform:tests
`benchmarks/constraints.py [ROWS]`.

The table is that of the tests (`tests/rules.py`): dates, times, whole numbers beyond 2**53, decimals, floats,
missing cells. It is learnt by `forest`, sampled shard by shard, and every row is checked, `unique` over all
shards.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rules import CONSTRAINTS, orders
from synthmill import api
from synthmill.generation.shards import ShardPlan

FORMULA = {"type": "formula", "expression": "x < 1 or y > 20"}
UNIQUE = {"type": "unique", "columns": ["x", "y", "pack"]}


def main(rows: int) -> None:
    """Print a JSON line for all constraints that need no other shard, and one for a tenth of the rows with
    unique columns over four shards: seconds, rows drawn, and rows that break each constraint."""
    table = orders(20_000)
    table = table.filter(pc.or_(pc.less(table["x"], 1), pc.greater(table["y"], 20)))
    # Of equal triples, which are few, one stays.
    text = [pc.cast(table[name], pa.string()) for name in UNIQUE["columns"]]
    keys = pc.binary_join_element_wise(*text, "/").to_pylist()
    first = {key: at for at, key in reversed(list(enumerate(keys)))}
    table = table.take(pa.array(sorted(first.values())))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "orders.parquet"
        pq.write_table(table, path)
        sample(path, (*CONSTRAINTS, FORMULA), rows, -(-rows // 16))
        sample(path, (*CONSTRAINTS, FORMULA, UNIQUE), rows // 10, -(-rows // 40))


def sample(path: Path, own: tuple[dict[str, Any], ...], rows: int, shard_rows: int) -> None:
    """Train under constraints, sample, and print what was found."""
    data = {"source": str(path), "constraints": list(own)}
    recipe = {"name": "million", "data": data, "model": {"name": "forest"}}
    generator = api.fit(recipe, progress=False).generator
    plan = ShardPlan(rows=rows, seed=0, shard_rows=shard_rows)
    started = time.monotonic()
    made = pa.concat_tables([generator.shard(plan, shard) for shard in plan.shards()])
    seconds = time.monotonic() - started
    broken = {one.text: int((~one.holds(made)).sum()) for one in generator.codec.constraints}
    told = {"rows": made.num_rows, "seconds": round(seconds, 1), "drawn": generator.sampler.generated}
    print(json.dumps({**told, "shards": plan.num_shards, "broken": broken}), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
