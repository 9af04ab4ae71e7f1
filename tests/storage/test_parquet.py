"""Parts: equal rows give equal bytes."""

import hashlib
import itertools
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthmill.errors import MissingError, StorageError
from synthmill.storage.folder import Folder
from synthmill.storage.parquet import read_footer, read_part, write_part

TABLE = pa.table(
    {
        "n": range(1000),
        "s": [f"level {i % 7}" for i in range(1000)],
        "x": [i / 3 if i % 5 else None for i in range(1000)],
    }
)


def test_rows_come_back_with_their_checksum(tmp_path: Path) -> None:
    part = write_part([TABLE], TABLE.schema, tmp_path / "a.parquet", {"k": "v"})
    data = (tmp_path / "a.parquet").read_bytes()
    assert (part.rows, part.bytes, part.sha256) == (1000, len(data), hashlib.sha256(data).hexdigest())
    assert read_part(data, "a.parquet") == TABLE
    assert read_part(data, "a.parquet", ["x"]) == TABLE.select(["x"])
    assert pd.read_parquet(tmp_path / "a.parquet")["s"].tolist() == TABLE["s"].to_pylist()


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 1000), max_size=6), rows=st.sampled_from([64, 300, 2000]))
def test_bytes_do_not_depend_on_how_rows_arrive(
    cuts: list[int], rows: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("parts")
    edges = [0, *sorted(cuts), 1000]
    pieces = [TABLE.slice(start, stop - start) for start, stop in itertools.pairwise(edges)]
    batches = [batch for piece in pieces for batch in piece.to_batches()]
    whole = write_part([TABLE], TABLE.schema, folder / "a", {"b": "2", "a": "1"}, row_group_rows=rows)
    assert write_part(batches, TABLE.schema, folder / "b", {"a": "1", "b": "2"}, row_group_rows=rows) == whole


def test_footers_count(tmp_path: Path) -> None:
    one = write_part([TABLE], TABLE.schema, tmp_path / "a", {"seed": "1"})
    two = write_part([TABLE], TABLE.schema, tmp_path / "b", {"seed": "2"})
    assert one.sha256 != two.sha256


def test_footer_and_schema_metadata(every_store: str, tmp_path: Path) -> None:
    schema = TABLE.schema.with_metadata({"pandas": "must not get in"})
    write_part([TABLE], schema, tmp_path / "a", {"z": "1", "a": "\u00e4"})
    folder = Folder(every_store)
    folder.upload(tmp_path / "a", "a.parquet")
    assert read_footer(folder, "a.parquet") == {"a": "\u00e4", "z": "1"}
    with pytest.raises(MissingError):
        read_footer(folder, "b.parquet")


def test_no_rows_is_a_part_too(tmp_path: Path) -> None:
    part = write_part([], TABLE.schema, tmp_path / "a", {})
    assert part.rows == 0
    assert read_part((tmp_path / "a").read_bytes(), "a") == TABLE.slice(0, 0)


def test_faults_name_the_file(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    write_part([TABLE], TABLE.schema, tmp_path / "a", {})
    (tmp_path / "b").write_bytes((tmp_path / "a").read_bytes()[:-20])
    with pytest.raises(StorageError, match="/b: not a readable Parquet file") as caught:
        read_part(folder.read_bytes("b"), folder.uri_of("b"))
    assert "\n" not in str(caught.value)
    with pytest.raises(StorageError, match="/b: not a readable Parquet file"):
        read_footer(folder, "b")
    with pytest.raises(StorageError, match="/a: has no column 'nope'"):
        read_part(folder.read_bytes("a"), folder.uri_of("a"), ["n", "nope"])
    with pytest.raises(StorageError, match="a part of the path is a file"):
        write_part([TABLE], TABLE.schema, tmp_path / "a" / "c", {})
