"""Every style of column, read, learnt, decoded and written, as CSV and as Parquet."""

import csv
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import torch

from columns_styles import STYLES, Style
from synthmill.config import DataConfig
from synthmill.data.codecs.mixed import MixedCodec
from synthmill.data.columns import flat
from synthmill.data.readers.base import Source, read_source
from synthmill.data.written import form_of, write_texts
from synthmill.errors import DataError

KEPT = {name: style for name, style in STYLES.items() if style.refused is None}
REFUSED = {name: style for name, style in STYLES.items() if style.refused is not None}
AS_TEXT_IN_PARQUET = frozenset(
    {
        "integers",
        "compact dates",
        "booleans",
        "booleans in capitals",
        "missing booleans",
        "compact times",
        "exponents",
    }
)
"""A Parquet file that stores whole numbers or truth values as text means text."""


def source(folder: Path, style: Style, form: str) -> Source:
    """The style's column `x` beside a category, read from a file."""
    groups = [("a", "b", "c")[i % 3] for i in range(len(style.cells))]
    path = folder / f"rows.{form}"
    if form == "parquet":
        pq.write_table(pa.table({"x": style.cells, "g": groups}), path)
    else:
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([["x", "g"], *zip(style.cells, groups, strict=True)])
    return read_source(DataConfig(source=str(path)))


def generated(read: Source) -> pa.Table:
    """Rows as a perfect model of the codes alone would draw them."""
    codec = MixedCodec.fit(read.table, DataConfig(source="x"))
    batch = codec.encode(read.table)
    places = torch.rand(batch["values"].shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return codec.decode(batch.with_(values=places), first_row=0)


@pytest.mark.parametrize("name", KEPT)
def test_a_csv_column_comes_out_as_it_went_in(name: str, tmp_path: Path) -> None:
    style = KEPT[name]
    read = source(tmp_path, style, "csv")
    field = read.table.schema.field("x")
    assert str(field.type) == style.kept
    assert (form_of(field) is None) == (style.typed or style.kept == "string")
    assert style.noted is None or any(style.noted in note for note in read.notes), read.notes
    if form_of(field) is not None and style.noted is None:
        written = flat(write_texts(read.table)["x"])
        assert written.cast(pa.string()).to_pylist() == style.cells
    made = generated(read)
    buffer = io.BytesIO()
    pyarrow.csv.write_csv(made, buffer)
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "rows.csv").write_bytes(buffer.getvalue())
    again = read_source(DataConfig(source=str(tmp_path / "again" / "rows.csv"))).table.schema.field("x")
    assert str(again.type) == style.kept
    if style.noted is None:
        before, after = form_of(field), form_of(again)
        assert before == after or (before is not None and after is not None and before.group == after.group)


@pytest.mark.parametrize("name", sorted(set(KEPT) - AS_TEXT_IN_PARQUET))
def test_a_parquet_column_of_text_stays_one(name: str, tmp_path: Path) -> None:
    style = KEPT[name]
    read = source(tmp_path, style, "parquet")
    field = read.table.schema.field("x")
    if "[" in str(style.kept) or style.kept in ("double", "int64"):
        assert str(field.type) == style.kept or (style.typed and "timestamp" in str(style.kept))
        assert form_of(field) is not None
    made = generated(read)
    assert made.schema.field("x").type == pa.string()
    pq.write_table(made, tmp_path / "made.parquet")
    again = read_source(DataConfig(source=str(tmp_path / "made.parquet"))).table.schema.field("x")
    assert again.type == field.type


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_column_that_a_person_must_decide_about_is_named(name: str, form: str, tmp_path: Path) -> None:
    style = REFUSED[name]
    with pytest.raises(DataError) as caught:
        source(tmp_path, style, form)
    message = str(caught.value)
    assert style.refused is not None
    assert style.refused in message
    assert "column 'x'" in message
    assert "\n" not in message


def test_there_are_enough_styles() -> None:
    assert len(STYLES) >= 80
    assert all(len(set(style.cells)) > 1 for style in STYLES.values())


def test_values_spread_as_in_the_source(tmp_path: Path) -> None:
    made = generated(source(tmp_path, KEPT["dollars"], "csv"))["x"].to_pylist()
    numbers = np.array([float(text.strip("$").replace(",", "")) for text in made])
    real = np.array([float(text.strip("$").replace(",", "")) for text in KEPT["dollars"].cells])
    assert abs(np.median(numbers) / np.median(real) - 1) < 0.1
