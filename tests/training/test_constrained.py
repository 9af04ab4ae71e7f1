"""Constraints on sources of every way of reading: in memory, in blocks, as text in a form."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from rules import CONSTRAINTS, orders, wild
from synthmill.config import Recipe, parse_model
from synthmill.data.readers.base import read_source, scan_source
from synthmill.errors import ConstraintsError
from synthmill.training.prepare import Rows, prepare_rows, resolve, scan_rows


def recipe(source: Path, own: Any, **data: Any) -> Recipe:
    raw = {"name": "a", "data": {"source": str(source), "constraints": list(own), **data}}
    return resolve(parse_model(Recipe, {**raw, "model": {"name": "marginals"}}))


def in_blocks(found: Recipe) -> Rows:
    return scan_rows(found, scan_source(found.data))


def broken(rows: Rows, table: pa.Table) -> dict[str, int]:
    counts = {one.text: int((~one.holds(table)).sum()) for one in rows.codec.constraints}
    return {text: count for text, count in counts.items() if count}


def test_a_source_that_is_read_in_blocks(tmp_path: Path) -> None:
    pq.write_table(orders(3000), tmp_path / "orders.parquet", row_group_size=700)
    rows = in_blocks(recipe(tmp_path / "orders.parquet", CONSTRAINTS))
    assert broken(rows, rows.codec.decode(wild(rows.codec, 4096), first_row=0)) == {}
    summary = rows.summary(recipe(tmp_path / "orders.parquet", CONSTRAINTS))
    assert summary is not None
    assert set(summary["columns"]) == set(orders(1).column_names)
    assert rows.divided is not None
    for table in rows.divided.tables():
        assert rows.codec.encode(table).num_rows == table.num_rows


@pytest.mark.parametrize("prepare", [in_blocks, lambda found: prepare_rows(found, read_source(found.data))])
def test_rows_that_break_a_constraint_stop_the_job(tmp_path: Path, prepare: Any) -> None:
    table = orders(3000)
    swapped = table.set_column(table.column_names.index("low"), "low", pc.add(table["high"], 1))
    pq.write_table(swapped, tmp_path / "orders.parquet", row_group_size=700)
    with pytest.raises(
        ConstraintsError, match=r"data\.constraints\.1 \(low <= high\): [\d,]+ of [\d,]+ rows"
    ):
        prepare(recipe(tmp_path / "orders.parquet", CONSTRAINTS))


def test_texts_in_a_form_are_compared_and_written_in_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    net, tax = rng.integers(100, 500_000, 400), rng.integers(0, 9_999, 400)
    days = np.datetime64("2020-01-01") + rng.integers(0, 900, 400)
    later = days + rng.integers(0, 60, 400)

    def money(cents: Any) -> list[str]:
        return [f'"${cent / 100:,.2f}"' for cent in cents]

    def written(dates: Any) -> list[str]:
        return [f"{day.day:02d}.{day.month:02d}.{day.year}" for day in dates.astype(object)]

    lines = zip(money(net), money(tax), money(net + tax), written(days), written(later), strict=True)
    path = tmp_path / "bills.csv"
    path.write_text("net,tax,gross,from,to\n" + "\n".join(map(",".join, lines)) + "\n")
    own = (
        {"type": "sum", "total": "gross", "plus": ["net", "tax"]},
        {"type": "inequality", "columns": ["from", "to"]},
        {"type": "range", "column": "from", "minimum": "2020-01-01"},
    )
    found = recipe(path, own)
    rows = prepare_rows(found, read_source(found.data))
    made = rows.codec.decode(wild(rows.codec, 2048), first_row=0)
    assert broken(rows, rows.codec.read(made)) == {}
    assert pc.all(pc.match_substring_regex(made["gross"], r"^\$[\d,]+\.\d\d$")).as_py()
    assert pc.all(pc.match_substring_regex(made["to"], r"^\d\d\.\d\d\.\d{4}$")).as_py()


def test_a_column_of_nothing_stays_one() -> None:
    """A key that is always missing is no key."""
    table = orders(40).set_column(0, "key", pa.nulls(40, pa.int64()))
    source = type("Found", (), {"table": table, "rules": {}, "sha256": "0" * 64})
    found = recipe(Path("x"), CONSTRAINTS)
    rows = prepare_rows(found, source)  # type: ignore[arg-type]
    assert rows.codec.decode(wild(rows.codec, 10), first_row=0)["key"].null_count == 10
