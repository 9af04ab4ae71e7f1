from pathlib import Path

import pytest
import torch

from encoded import layout, table
from synthmill.data.batch import Batch
from synthmill.data.layout import DiscreteSpan, MixedLayout
from synthmill.data.shards import EncodedRows, ShardIndex, ShardWriter, check_shards, find_index, room_for
from synthmill.errors import IntegrityError, StorageError
from synthmill.storage.folder import Folder

ROWS = 2500


def written(folder: Folder, data: Batch, made: MixedLayout, *, part_rows: int = 1000) -> ShardIndex:
    """Shards of the rows, which come in pieces that are no parts."""
    with ShardWriter(folder, made, key="k", by_code=True, part_rows=part_rows) as writer:
        for start in range(0, data.num_rows, 700):
            writer.write(data.take(slice(start, start + 700)))
        return writer.finish()


def same(left: Batch, right: Batch) -> bool:
    return all(torch.equal(left[key], right[key]) and left[key].dtype == right[key].dtype for key in right)


def test_rows_come_back_to_the_bit(tmp_path: Path) -> None:
    data = table(ROWS)
    index = written(Folder(tmp_path), data, layout(ROWS))
    rows = EncodedRows(tmp_path, index)
    assert rows.num_rows == ROWS
    assert [file.name for file in index.parts] == [f"part-0000{i}.records" for i in range(3)]
    assert index.parts[0].bytes == 1000 * 8, "three codes of a byte each, a number, padding to a word"
    assert same(rows.take(slice(950, 2100)), data.take(slice(950, 2100)))
    picked = torch.tensor([2499, 0, 1000, 999, 1000])
    assert same(rows.take(picked), data.take(picked))
    assert same(Batch(**dict(next(rows.batches(ROWS)))), data)


def test_codes_are_as_wide_as_their_span(tmp_path: Path) -> None:
    widths = (1 << 8, (1 << 8) + 1, (1 << 16) + 1)
    spans = tuple(DiscreteSpan(column=str(w), role="category", width=w) for w in widths)
    made = MixedLayout(discrete=spans, numeric=(), rows=2)
    data = Batch(codes=torch.tensor([[0, 0, 0], [w - 1 for w in widths]]), values=torch.zeros(2, 0))
    index = written(Folder(tmp_path), data, made)
    assert index.parts[0].bytes == 2 * 8
    assert same(EncodedRows(tmp_path, index).take(slice(0, 2)), data)


def test_the_index_lists_each_part_in_order_of_its_codes(tmp_path: Path) -> None:
    data = table(ROWS)
    rows = EncodedRows(tmp_path, written(Folder(tmp_path), data, layout(ROWS)))
    for span in range(2):
        code = data["codes"][1000:2000, span]
        found = rows.in_order(1, span, torch.arange(1000).numpy())
        assert found.tolist() == (code.argsort(stable=True) + 1000).tolist()
    assert rows.counts_PF.sum(0)[:3].tolist() == torch.bincount(data["codes"][:, 0], minlength=3).tolist()


def test_shards_without_an_index_or_of_another_key_are_none(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    assert find_index(folder, "k") is None
    index = written(folder, table(ROWS), layout(ROWS))
    assert find_index(folder, "k") == index
    assert find_index(folder, "other") is None


@pytest.mark.parametrize("name", ["part-00001.records", "part-00002.order", "counts.bin"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    folder = Folder(tmp_path)
    index = written(folder, table(ROWS), layout(ROWS))
    check_shards(folder, index)
    data = bytearray((tmp_path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / name).write_bytes(data)
    with pytest.raises(IntegrityError, match=f"{name}: the bytes do not match"):
        check_shards(folder, index)
    (tmp_path / name).unlink()
    with pytest.raises(IntegrityError, match=f"{name} is missing"):
        check_shards(folder, index)


def test_an_error_while_encoding_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "shards")
    with pytest.raises(ZeroDivisionError):  # noqa: PT012, SIM117
        with ShardWriter(folder, layout(ROWS), key="k", by_code=True, part_rows=1000) as writer:
            writer.write(table(1500))
            assert folder.exists("part-00000.records")
            raise ZeroDivisionError
    assert folder.list() == []


def test_a_disk_that_is_too_small_is_known_before_a_row_is_encoded(tmp_path: Path) -> None:
    room_for(Folder(tmp_path / "new" / "folder"), layout(), 1000, by_code=True)
    with pytest.raises(
        StorageError, match=r"encoded rows need .* GiB in .*new, where .* are free; make room"
    ):
        room_for(Folder(tmp_path / "new"), layout(), 10**15, by_code=True)
