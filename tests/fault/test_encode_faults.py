"""A disk that fills up, for real, while rows are encoded: one line, and no shard left behind."""

import contextlib
import resource
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fault.test_storage_faults import small_disk
from synthmill.config import load_recipe
from synthmill.data import shards
from synthmill.data.scan.division import Divided
from synthmill.errors import StorageError
from synthmill.runtime.encode import encode_rows
from synthmill.runtime.prepare import Prepared, prepare
from synthmill.storage.folder import Folder

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

ROWS = 60_000
PART_ROWS = 8_000


def streamed(folder: Path) -> Prepared:
    """Four columns of noise and one of plans, in row groups of 5,000."""
    rng = np.random.default_rng(0)
    table = pa.table(
        {**{f"x{i}": rng.normal(size=ROWS) for i in range(4)}, "plan": rng.choice(["a", "b"], ROWS)}
    )
    pq.write_table(table, folder / "source.parquet", row_group_size=5_000)
    said = (f"data.source={folder / 'source.parquet'}", "data.stream=always", "data.target=plan")
    return prepare(load_recipe("table", ("name=full", "model.name=ctgan", *said)), str(folder / "store"))


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Another program takes what is left of the disk."""
    with contextlib.suppress(OSError), (disk / "ballast").open("wb") as ballast:
        while True:
            ballast.write(b"x" * 4096)
            ballast.flush()
    yield
    (disk / "ballast").unlink()


@contextmanager
def limited() -> Iterator[None]:
    """No file may have more than 64 KiB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def encode_until_it_fails(
    made: Prepared, run: Folder, trouble: AbstractContextManager[None], monkeypatch: pytest.MonkeyPatch
) -> str:
    """The error's one line; the trouble begins once a part is written."""
    coded = Divided.coded

    def troubled(self: Divided, names: list[str]) -> Iterator[pa.Table]:
        for number, table in enumerate(coded(self, names)):
            if number == 4:
                assert list(run.child("shards").list()), "a part was written before"
                stack.enter_context(trouble)
            yield table

    monkeypatch.setattr(Divided, "coded", troubled)
    monkeypatch.setitem(shards.ShardWriter.__init__.__kwdefaults__, "part_rows", PART_ROWS)
    with contextlib.ExitStack() as stack, pytest.raises(StorageError) as raised:
        encode_rows(made, run)
    line = str(raised.value)
    assert "\n" not in line
    return line


def test_a_disk_that_fills_up_while_encoding_leaves_no_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = streamed(tmp_path)
    with small_disk(tmp_path / "disk", "size=4m") as disk:
        run = Folder(disk / "runs" / "full")
        line = encode_until_it_fails(made, run, filled(disk), monkeypatch)
        assert line.startswith("after ")
        assert f"of {made.rows.train_rows:,} rows were encoded: {run.uri}/shards/part-0000" in line
        assert "the disk is full" in line
        assert [path for path in disk.rglob("*") if path.is_file()] == [], (
            "shards, or temporary files, were left"
        )
        # With room again the same run begins anew.
        monkeypatch.undo()
        index = encode_rows(made, run)
        assert index is not None
        assert index.rows == made.rows.train_rows


def test_a_file_that_may_not_grow_leaves_no_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As above, by the limit of a process: where nothing can be mounted."""
    made, run = streamed(tmp_path), Folder(tmp_path / "run")
    line = encode_until_it_fails(made, run, limited(), monkeypatch)
    assert "the file is larger than this process or file system allows" in line
    assert not list((tmp_path / "run").rglob("*"))
