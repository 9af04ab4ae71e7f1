"""A source that is streamed is encoded once, to what it is encoded to in memory, bit by bit."""

from pathlib import Path

import pytest

from odd_tables import check_same, odd_table, prepared, uneven_table
from synthmill.data import by_column, shards
from synthmill.data.codecs.mixed import MixedCodec
from synthmill.runtime.encode import encode_rows
from synthmill.storage.folder import Folder


@pytest.mark.parametrize("model", ["ctgan", "forest"])
def test_rows_from_shards_are_those_of_memory(
    tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(shards.ShardWriter.__init__.__kwdefaults__, "part_rows", 1500)
    made, run = prepared(odd_table(), tmp_path, model), Folder(tmp_path / "run")
    index = encode_rows(made, run)
    assert index is not None
    assert len(index.parts) == 3
    numeric = made.rows.codec.record_layout().numeric
    placed = {numeric[span].column for span, _ in index.placed}
    assert placed >= {"\N{MONEY BAG}", "again", "joined", "price", "zeros", "beyond", "no end"}
    assert not placed & {"score", "seen"}
    check_same(made, run, index)
    assert encode_rows(made, run) == index


def test_a_cell_that_the_sample_did_not_show_costs_a_second_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, run = prepared(uneven_table(), tmp_path, "tvae"), Folder(tmp_path / "run")
    places = MixedCodec.places
    monkeypatch.setattr(MixedCodec, "places", lambda codec, sample: places(codec, sample.slice(0, 100)))
    index = encode_rows(made, run)
    assert index is not None
    numeric = made.rows.codec.record_layout().numeric
    placed = {numeric[span].column for span, _ in index.placed}
    assert "again" not in placed
    assert "\N{MONEY BAG}" in placed
    check_same(made, run, index)


def test_places_of_all_columns_together_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_column, "MOST_IN_ALL", 3_000)
    made, run = prepared(odd_table(), tmp_path, "tvae"), Folder(tmp_path / "run")
    index = encode_rows(made, run)
    assert index is not None
    sizes = [size for _, size in index.placed]
    assert sizes
    assert sizes == sorted(sizes)
    assert sum(sizes) <= 3_000
    check_same(made, run, index)
