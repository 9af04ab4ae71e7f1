from pathlib import Path

import numpy as np
import pytest
import torch

from encoded import layout, table
from synthmill.data.batch import Batch
from synthmill.data.layout import DiscreteSpan, MixedLayout, NumericSpan
from synthmill.data.places import Places
from synthmill.data.records import Columns
from synthmill.data.shards import EncodedRows, ShardIndex, ShardWriter, check_shards, find_index, room_for
from synthmill.errors import IntegrityError, StorageError
from synthmill.storage.folder import Folder

ROWS = 2500


def written(folder: Folder, data: Batch, made: MixedLayout, *, part_rows: int = 1000) -> ShardIndex:
    """Shards of the rows, which come in pieces that are no parts."""
    with ShardWriter(folder, made, key="k", by_code=True, part_rows=part_rows) as writer:
        for start in range(0, data.num_rows, 700):
            writer.write(Columns.of(data.take(slice(start, start + 700))))
        return writer.finish()


def same(left: Batch, right: Batch) -> bool:
    return all(torch.equal(left[key], right[key]) and left[key].dtype == right[key].dtype for key in right)


def test_rows_come_back_to_the_bit(tmp_path: Path) -> None:
    data = table(ROWS)
    index = written(Folder(tmp_path), data, layout(ROWS))
    rows = EncodedRows(tmp_path, index)
    assert rows.num_rows == ROWS
    assert [file.name for file in index.parts] == [f"part-0000{i}.records" for i in range(3)]
    assert index.parts[0].bytes == 1000 * 8, "a byte for three codes, a number, padding to a word"
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


def test_narrow_codes_share_a_byte(tmp_path: Path) -> None:
    """300 and 218 share two bytes, 128 and 2 one, 5, 4, 3 and 4 another; 1 goes anywhere."""
    widths = (5, 300, 4, 2, 128, 3, 218, 1, 4)
    spans = tuple(DiscreteSpan(column=str(i), role="category", width=w) for i, w in enumerate(widths))
    draws = torch.Generator().manual_seed(0)
    codes = torch.stack([torch.randint(w, (ROWS,), generator=draws) for w in widths], 1)
    codes[0], codes[1] = 0, torch.tensor(widths) - 1
    data = Batch(codes=codes, values=torch.zeros(ROWS, 0))
    index = written(Folder(tmp_path), data, MixedLayout(discrete=spans, numeric=(), rows=ROWS))
    assert index.parts[0].bytes == 1000 * 4
    rows = EncodedRows(tmp_path, index)
    assert same(rows.take(slice(0, ROWS)), data)
    ones = torch.tensor([0, 5, 305, 309, 311, 439, 442, 660, 661])
    for span, first in enumerate(ones.tolist()):
        of = codes[:, span] == widths[span] - 1
        number = np.arange(int(of.sum()))
        assert rows.having(np.full(len(number), first + widths[span] - 1), number).tolist() == (
            of.nonzero().flatten().tolist()
        )


def test_a_place_stands_for_a_code_and_a_position(tmp_path: Path) -> None:
    places = Places(np.array([0, 0, 3, 5], np.uint16), np.array([-1, 1 / 3, 0.5, 0], np.float32))
    made, data = layout(4), table(4)
    found = np.array([3, 0, 2, 1])
    columns = Columns.of(data)
    own = {span: codes for span, codes in columns.codes.items() if span != 2}
    with ShardWriter(Folder(tmp_path), made, key="k", by_code=True, places={0: places}) as writer:
        writer.write(Columns(4, own, {}, {0: found}))
        index = writer.finish()
    assert index.parts[0].bytes == 4 * 4, "two bytes, padding to a word"
    read = EncodedRows(tmp_path, index).take(slice(0, 4))
    assert read["codes"][:, 2].tolist() == [5, 0, 3, 0]
    assert read["values"][:, 0].tolist() == torch.tensor([0, -1, 0.5, 1 / 3]).tolist()
    assert torch.equal(read["codes"][:, :2], data["codes"][:, :2])


def test_rows_are_found_by_their_codes(tmp_path: Path) -> None:
    """Over the borders of parts, and of the stretches in which rows are numbered with two bytes."""
    count = 150_000
    data = table(count)
    rows = EncodedRows(tmp_path, written(Folder(tmp_path), data, layout(count), part_rows=140_000))
    for span, first in ((0, 0), (1, 3)):
        order = data["codes"][:, span].argsort(stable=True)
        code = data["codes"][order, span].numpy()
        number = np.arange(count) - np.searchsorted(code, code)
        assert rows.having(first + code, number).tolist() == order.tolist()
    assert rows.counts_PF.sum(0)[:3].tolist() == torch.bincount(data["codes"][:, 0], minlength=3).tolist()
    assert rows.index.orders[0].bytes == 2 * 140_000 * 2, "two bytes a row and column"
    assert rows.index.counts.bytes == (3 + 1) * 7 * 4, "each code of each stretch"


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
            writer.write(Columns.of(table(1500)))
            assert folder.exists("part-00000.records")
            raise ZeroDivisionError
    assert folder.list() == []


def test_a_disk_that_is_too_small_is_known_before_a_row_is_encoded(tmp_path: Path) -> None:
    room_for(Folder(tmp_path / "new" / "folder"), layout(), 1000, by_code=True)
    with pytest.raises(
        StorageError, match=r"encoded rows need .* GiB in .*new, where .* are free; make room"
    ):
        room_for(Folder(tmp_path / "new"), layout(), 10**15, by_code=True)


def test_a_table_without_categories_has_nothing_to_count(tmp_path: Path) -> None:
    spans = (DiscreteSpan(column="x", role="segment", width=6),)
    numeric = (NumericSpan(column="x", discrete=0, segments=5),)
    data = Batch(codes=table(ROWS)["codes"][:, 2:], values=table(ROWS)["values"])
    index = written(Folder(tmp_path), data, MixedLayout(discrete=spans, numeric=numeric, rows=ROWS))
    rows = EncodedRows(tmp_path, index)
    assert rows.counts_PF.shape == (3, 0)
    assert same(rows.take(slice(0, ROWS)), data)
