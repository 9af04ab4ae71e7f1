"""Parts that tasks encode are those that one process encodes."""

from pathlib import Path

import pytest

from odd_tables import check_same, odd_table, prepared, uneven_table
from synthmill.data import shards
from synthmill.data.codecs.mixed import MixedCodec
from synthmill.runtime import encode
from synthmill.runtime.encode import encode_rows
from synthmill.storage.folder import Folder


def test_tasks_write_the_same_bytes(local_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(shards.ShardWriter.__init__.__kwdefaults__, "part_rows", 1500)
    made, runs = (
        prepared(odd_table(), tmp_path, "ctgan"),
        [Folder(tmp_path / name) for name in ("one", "two")],
    )
    used = []
    here = encode.encode_in_tasks
    monkeypatch.setattr(encode, "encode_in_tasks", lambda *all: used.append(all[-1]) or here(*all))
    indices = []
    for run, least in zip(runs, (8, 2), strict=True):
        monkeypatch.setattr(encode, "LEAST_PARTS", least)
        indices.append(encode_rows(made, run))
    assert len(used) == 1
    assert indices[0] == indices[1]
    one, two = ({file.path: run.read_bytes(file.path) for file in run.list()} for run in runs)
    assert one == two
    assert len(one) == 3 * 2 + 3


def test_a_task_that_meets_an_uneven_cell_begins_again(
    local_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(shards.ShardWriter.__init__.__kwdefaults__, "part_rows", 1500)
    monkeypatch.setattr(encode, "LEAST_PARTS", 2)
    made, run = prepared(uneven_table(), tmp_path, "tvae"), Folder(tmp_path / "run")
    places = MixedCodec.places
    monkeypatch.setattr(MixedCodec, "places", lambda codec, sample: places(codec, sample.slice(0, 100)))
    index = encode_rows(made, run)
    assert index is not None
    check_same(made, run, index)
