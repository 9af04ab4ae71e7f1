from pathlib import Path

import pytest
import torch

from encoded import layout, table
from synthmill.data.records import Columns
from synthmill.data.scratch import opened_shards
from synthmill.data.shards import ShardIndex, ShardWriter
from synthmill.errors import IntegrityError
from synthmill.storage.folder import Folder


def written(uri: str) -> tuple[Folder, ShardIndex]:
    folder = Folder(uri).child("shards")
    with ShardWriter(folder, layout(), key="abc", by_code=False, part_rows=800) as writer:
        writer.write(Columns.of(table()))
        return folder, writer.finish()


def test_shards_of_a_local_store_are_read_where_they_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SYNTHMILL_SCRATCH", raising=False)
    folder, index = written(str(tmp_path))
    with opened_shards(folder, index) as rows:
        assert torch.equal(rows.take(slice(0, 2000))["codes"], table()["codes"])
    assert folder.exists("index.json")


def test_others_are_fetched_once_and_removed_when_training_is_done(
    every_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNTHMILL_SCRATCH", str(tmp_path / "scratch"))
    folder, index = written(every_store)
    with pytest.raises(ZeroDivisionError), opened_shards(folder, index):
        raise ZeroDivisionError
    [copy] = (tmp_path / "scratch").glob("synthmill-shards-*")
    assert copy.stat().st_mode & 0o077 == 0
    # Another attempt follows, and finds what is whole; what is not is fetched again.
    (copy / "part-00001.records").write_bytes(b"half")
    kept = (copy / "part-00000.records").stat().st_mtime_ns
    with opened_shards(folder, index) as rows:
        assert (copy / "part-00000.records").stat().st_mtime_ns == kept
        assert torch.equal(rows.take(slice(0, 2000))["values"], table()["values"])
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_damaged_shard_is_named_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SYNTHMILL_SCRATCH", raising=False)
    folder, index = written(str(tmp_path))
    path = tmp_path / "shards" / "part-00002.records"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(IntegrityError, match=r"part-00002\.records"), opened_shards(folder, index):
        raise AssertionError("not reached")
