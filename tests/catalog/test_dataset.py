"""Datasets: parts with receipts, verified reading, copies for readers that know nothing of us."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from synthmill.catalog.dataset import finished_shards, iter_parts, pull, read_dataset, write_shard
from synthmill.catalog.store import Store
from synthmill.errors import IntegrityError, RecipeError, StorageError
from synthmill.storage.folder import Folder
from versions import TABLE, draft_of, publish_dataset, publish_model


def test_rows_come_back_in_order(every_store: str) -> None:
    version = publish_dataset(Store(every_store), "d")
    whole = pa.concat_tables([TABLE, TABLE.slice(0, 1)])
    assert read_dataset(version) == whole
    assert read_dataset(version, ["income"]) == whole.select(["income"])
    assert [part.num_rows for part in iter_parts(version)] == [4, 1]
    with pytest.raises(StorageError, match="has no column 'nope'"):
        read_dataset(version, ["nope"])


def test_a_changed_part_is_refused(every_store: str) -> None:
    version = publish_dataset(Store(every_store), "d")
    data = bytearray(version.folder.read_bytes("part-00001.parquet"))
    data[20] ^= 1
    version.folder.write_bytes("part-00001.parquet", bytes(data))
    with pytest.raises(IntegrityError, match=r"d/1/part-00001\.parquet"):
        read_dataset(version)


def test_a_part_counts_only_with_its_receipt_and_its_size(every_store: str) -> None:
    draft = draft_of(Store(every_store), "d")
    entries = [
        write_shard(draft.folder, shard, [TABLE], TABLE.schema, footer={}, run_key="k") for shard in range(4)
    ]
    draft.folder.delete("_receipts/part-00000.json")
    draft.folder.write_bytes("part-00001.parquet", b"cut")
    draft.folder.delete("part-00002.parquet")
    assert finished_shards(draft.folder, "k") == {3: (entries[3],)}
    assert finished_shards(draft.folder, "another") == {}


def test_an_empty_dataset_has_its_schema(tmp_path) -> None:
    version = publish_dataset(Store(tmp_path), "d", table=TABLE.slice(0, 0))
    assert read_dataset(version, ["age"]) == TABLE.slice(0, 0).select(["age"])


def test_pulled_data_is_for_any_reader(every_store: str, tmp_path: Path) -> None:
    version = publish_dataset(Store(every_store), "d")
    target = pull(version, tmp_path / "copy")
    assert sorted(path.name for path in target.iterdir()) == [
        "_manifest.json",
        "part-00000.parquet",
        "part-00001.parquet",
    ]
    assert pd.read_parquet(target)["income"].tolist()[:2] == ["<=50K", ">50K"]


def test_pull_goes_on_where_it_was_cut(
    every_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version, target, fetched = publish_dataset(Store(every_store), "d"), tmp_path / "copy", []
    pull(version, target)
    (target / "part-00001.parquet").write_bytes(b"half")
    download = Folder.download

    def spy(folder: Folder, path: str, local: Path, *, sha256: str | None = None) -> None:
        fetched.append(path)
        download(folder, path, local, sha256=sha256)

    monkeypatch.setattr(Folder, "download", spy)
    pull(version, target)
    assert fetched == ["part-00001.parquet"]
    assert len(pd.read_parquet(target)) == 5


def test_pull_does_not_mix_versions(every_store: str, tmp_path: Path) -> None:
    store = Store(every_store)
    pull(publish_dataset(store, "d"), tmp_path)
    with pytest.raises(StorageError, match="holds another version already"):
        pull(publish_dataset(store, "d", run_key="other"), tmp_path)


def test_pull_does_not_mix_files(every_store: str, tmp_path: Path) -> None:
    (tmp_path / "part-00002.parquet").write_bytes(b"left from a pull that was cut")
    with pytest.raises(
        StorageError, match=r"holds 'part-00002\.parquet', which is not part of d@1; choose an empty folder"
    ):
        pull(publish_dataset(Store(every_store), "d"), tmp_path)


def test_a_dataset_of_no_rows_has_its_columns_and_no_others(tmp_path) -> None:
    schema = pa.schema([("x", pa.int64())])
    with draft_of(Store(tmp_path), "d") as draft:
        version = draft.commit(draft.manifest(files=(), schema=schema))
    assert read_dataset(version, ["x"]) == schema.empty_table()
    with pytest.raises(StorageError, match="has no column 'nope'"):
        read_dataset(version, ["nope"])


def test_a_model_is_no_dataset(tmp_path) -> None:
    with pytest.raises(StorageError, match="not a dataset"):
        read_dataset(publish_model(Store(tmp_path), "m"))


def test_the_local_folder_of_pull_can_be_written_in_any_way(
    every_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = publish_dataset(Store(every_store), "d")
    monkeypatch.setenv("HOME", str(tmp_path))
    for given in ((tmp_path / "a b").as_uri(), "~/home", str(tmp_path / "plain")):
        local = pull(version, given)
        assert local.parent == tmp_path
        assert (local / "part-00000.parquet").stat().st_size == version.manifest.files[0].bytes
    with pytest.raises(
        RecipeError, match="folder: s3://bucket/copy is not a folder of this machine; give a path"
    ):
        pull(version, "s3://bucket/copy")
