"""Where rows are written: Hive folders, row groups, sizes of files, and versions that share files."""

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from synthmill import api
from synthmill.catalog import admin
from synthmill.catalog.dataset import finished_shards, pull, read_dataset
from synthmill.catalog.store import Store, Version
from synthmill.cli import run
from synthmill.errors import IntegrityError, NotFoundError, UserError

ROWS = 4 * 1024 + 300


def store_of(version: Version) -> str:
    return version.uri.rsplit("/models/", 1)[0]


def publish(trained: Version, name: str, **options: object) -> Version:
    settings: dict[str, object] = {"rows": ROWS, "seed": 7, "shard_rows": 1024, "workers": 2, **options}
    return api.augment(trained.ref, dataset=name, store=store_of(trained), **settings)  # type: ignore[arg-type]


def folder_of(version: Version) -> Path:
    return Path(version.uri.removeprefix("file://"))


def test_folders_hold_every_row_once_whatever_the_workers(trained: Version) -> None:
    plain = read_dataset(publish(trained, "whole"))
    versions = [
        publish(trained, "folders", workers=workers, partition_by=("plan", "churned")) for workers in (1, 3)
    ]
    assert versions[0].manifest.content_digest == versions[1].manifest.content_digest
    assert versions[0].manifest.rows == ROWS
    paths = [entry.path for entry in versions[0].manifest.files]
    assert all(path.startswith("plan=") and "/churned=" in path for path in paths)
    # Our own reader, with types and order of columns as they are published without folders.
    back = read_dataset(versions[0])
    assert back.schema == plain.schema
    keys = [(name, "ascending") for name in back.column_names]
    assert back.sort_by(keys).equals(plain.sort_by(keys))
    # A file has what is left of the columns, and an id of its own.
    footers = [
        pq.read_metadata(folder_of(versions[0]) / path).metadata[b"synthmill.provenance"] for path in paths
    ]
    assert len({json.loads(text)["produce_id"] for text in footers}) == len(paths)


def test_readers_that_know_nothing_of_us_see_the_folders(trained: Version) -> None:
    version = publish(trained, "readers", partition_by="plan")
    plain = read_dataset(version)
    frame = pd.read_parquet(folder_of(version))
    assert sorted(frame.columns) == sorted(plain.column_names)
    assert (
        frame["plan"].astype(str).value_counts().to_dict()
        == plain["plan"].to_pandas().value_counts().to_dict()
    )
    found = ds.dataset(folder_of(version), partitioning="hive")
    some = found.to_table(filter=ds.field("plan") == "pro")
    assert some.num_rows == plain["plan"].to_pylist().count("pro")
    assert (
        api.evaluate_dataset(version.ref, store=store_of(trained), profile="quick")
        .report.metrics["schema.valid_share"]
        .n["synthetic"]
        == ROWS
    )


def test_a_job_goes_on_with_the_folders_that_have_a_receipt(trained: Version) -> None:
    version = publish(trained, "resumed", partition_by="plan")
    folder = version.folder
    done = finished_shards(folder, version.manifest.run_key)
    assert sorted(done) == [0, 1, 2, 3, 4]
    # As a job leaves it that was killed while it wrote part 3: no manifest, no receipt, one file of three.
    for path in ("_manifest.json", "_receipts/part-00003.json", done[3][0].path):
        folder.delete(path)
    kept = {entry.path: folder.entry(entry.path).modified for entry in done[2]}
    folder.write_json("_heartbeat.1.json", {"format": "synthmill.heartbeat/1", "released": True})
    again = publish(trained, "resumed", partition_by="plan")
    assert again.ref == version.ref
    assert again.manifest.content_digest == version.manifest.content_digest
    assert kept == {path: folder.entry(path).modified for path in kept}
    assert admin.verify(again.uri) == []


def test_row_groups_and_files_have_the_size_that_was_asked_for(
    trained: Version, capsys: pytest.CaptureFixture[str]
) -> None:
    version = publish(trained, "groups", row_group_rows=500)
    metadata = pq.read_metadata(folder_of(version) / "part-00000.parquet")
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [500, 500, 24]
    from jobs import command

    arguments = [
        "--model",
        trained.ref,
        "--store",
        store_of(trained),
        "--rows",
        "60000",
        "--dataset",
        "sized",
    ]
    code, line, _ = command(capsys, "augment", *arguments, "--file-size", "200KB", "--seed", "3")
    assert (code, line["rows"]) == (0, 60000)
    entries = Store(store_of(trained)).resolve("datasets", "sized", field="x").manifest.files
    assert len(entries) > 2
    assert 140_000 < entries[0].bytes < 260_000


def test_rows_are_appended_as_a_version_that_shares_files(
    trained: Version, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(store_of(trained))
    first = publish(trained, "grows", partition_by="plan")
    second = publish(trained, "grows", partition_by="plan", append=True, seed=8, rows=1500)
    third = publish(trained, "grows", partition_by="plan", append=True, seed=9, rows=100)
    assert (first.number, second.number, third.number) == (1, 2, 3)
    assert third.manifest.rows == ROWS + 1600
    shared = [entry for entry in third.manifest.files if entry.version is not None]
    assert {entry.version for entry in shared} == {1, 2}
    assert third.manifest.format == "synthmill.manifest/2"
    assert first.manifest.format == "synthmill.manifest/1"
    # Nothing was copied, and identifiers go on.
    assert not any((folder_of(third) / entry.path).exists() for entry in shared)
    rows = read_dataset(third)
    assert rows.slice(0, ROWS).equals(read_dataset(first))
    assert len(set(rows["customer"].to_pylist())) == rows.num_rows
    assert admin.verify(third.uri) == []
    report = api.evaluate_dataset(third.ref, store=store_of(trained), profile="quick").report
    assert report.metrics["schema.valid_share"].n["synthetic"] == ROWS + 1600
    assert run(["datasets", "files", third.ref, "--store", store_of(trained)]) == 0
    listed = capsys.readouterr().out.strip().splitlines()[-len(third.manifest.files) :]
    assert len(pd.read_parquet(listed)) == rows.num_rows
    copy = pull(third, tmp_path / "copy")
    assert len(pd.read_parquet(copy)) == rows.num_rows
    assert admin.verify(str(copy)) == []
    with pytest.raises(UserError, match=r"grows@1 is what datasets/grows@2, datasets/grows@3"):
        admin.delete(store, "datasets/grows@1")
    # Its report goes with it; the files that it shared stay.
    assert third.uri in admin.delete(store, "datasets/grows@3", cascade=True)
    assert admin.verify(second.uri) == []
    # What another version holds is watched as well.
    entry = first.manifest.files[0]
    (folder_of(first) / entry.path).write_bytes(b"x")
    assert any(entry.path in problem for problem in admin.verify(second.uri))
    with pytest.raises(IntegrityError):
        read_dataset(second)


def test_appending_again_finds_what_is_done(trained: Version) -> None:
    publish(trained, "twice", rows=1000)
    once = publish(trained, "twice", append=True, seed=8, rows=500, if_exists="reuse")
    again = publish(trained, "twice", append=True, seed=8, rows=500, if_exists="reuse")
    assert (once.number, again.number) == (2, 2)


def test_a_base_that_is_deleted_meanwhile_is_not_built_on(trained: Version) -> None:
    from synthmill.storage.publish import TOMBSTONE

    store, base = Store(store_of(trained)), publish(trained, "gone", rows=1000)
    with store.begin("datasets", "gone", run_key="k", run_id="r") as draft:
        base.folder.create(TOMBSTONE, b"{}")
        entry = base.manifest.files[0].model_copy(update={"version": 1})
        with pytest.raises(
            Exception, match=r"gone/1 was deleted while gone@2 was made from it; not committed"
        ):
            draft.commit(draft.manifest(files=(entry,), schema=pa.schema([])))
    base.folder.delete(TOMBSTONE)
    assert store.versions("datasets", "gone") == [1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"partition_by": "plam"}, r"--partition-by: no column 'plam' is published; did you mean 'plan'\?"),
        ({"partition_by": "age"}, r"--partition-by: 'age' has no fixed set of values"),
        ({"partition_by": ("plan", "plan")}, r"--partition-by: names a column twice"),
        ({"partition_by": "plan", "columns": ("plan",)}, r"--partition-by: leaves no column for the files"),
        ({"row_group_rows": 0}, r"--row-group-rows: must be at least 1, got 0"),
        ({"append": True}, r"--append: no dataset named 'mistake' .*; leave --append out"),
        ({"append": True, "mix_real": True}, r"--mix-real: can't be given with --append"),
    ],
)
def test_mistakes_are_one_line(trained: Version, options: dict[str, object], message: str) -> None:
    with pytest.raises((UserError, NotFoundError), match=message) as caught:
        publish(trained, "mistake", **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"--seed: appended@1 has rows of this model and seed already; give another seed"),
        ({"seed": 8, "columns": ("age", "plan")}, r"--append: appended@1 has other columns or types"),
        ({"seed": 8, "partition_by": "plan"}, r"--partition-by: appended@1 lies in other folders; leave"),
    ],
)
def test_rows_that_do_not_go_with_those_there_are_refused(
    trained: Version, options: dict[str, object], message: str
) -> None:
    if not Store(store_of(trained)).versions("datasets", "appended"):
        publish(trained, "appended", rows=500)
    with pytest.raises(UserError, match=message):
        publish(trained, "appended", append=True, **options)
