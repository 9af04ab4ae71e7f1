"""Names, references, drafts and what readers see of them."""

import pytest

from synthmill.catalog.manifest import FileEntry, Manifest, content_digest
from synthmill.catalog.store import Store
from synthmill.errors import ClaimLostError, MissingError, NotFoundError, RecipeError, StorageError
from synthmill.storage.publish import Timing
from versions import draft_of, publish_dataset

DEAD = Timing(stale_seconds=-10.0)


def test_a_version_exists_from_its_commit_on(every_store: str) -> None:
    store = Store(every_store)
    with draft_of(store, "adult") as draft:
        draft.folder.write_bytes("part-00000.parquet", b"half")
        assert store.names("datasets") == store.versions("datasets", "adult") == []
        with pytest.raises(NotFoundError, match="no dataset named 'adult'"):
            store.resolve("datasets", "adult", field="--dataset")
        version = publish_dataset(store, "adult")
    assert version.ref == "adult@2"
    assert version.uri == f"{store.uri}/datasets/adult/2"
    assert store.names("datasets") == ["adult"]
    assert store.versions("datasets", "adult") == [2]
    assert (
        store.resolve("datasets", "adult", field="x")
        == store.resolve("datasets", "adult@2", field="x")
        == version
    )


def test_the_newest_complete_version_is_meant(every_store: str) -> None:
    store = Store(every_store)
    publish_dataset(store, "a", run_key="1")
    publish_dataset(store, "a", run_key="2")
    draft_of(store, "a", run_key="3")
    assert store.resolve("datasets", "a", field="x").number == 2
    assert [version.ref for version in store.open_versions("datasets")] == ["a@1", "a@2"]


def test_folders_of_other_programs_are_no_versions(every_store: str) -> None:
    store = Store(every_store)
    publish_dataset(store, "a")
    store.root.write_bytes("datasets/a/\u00b2/notes", b"")
    store.root.write_bytes("datasets/a/9x/notes", b"")
    assert store.resolve("datasets", "a", field="x").number == 1
    assert store.resolve("datasets", "a@01", field="x").number == 1
    assert store.versions("datasets", "a") == [1]


def test_what_is_not_there_is_named_with_what_is(every_store: str) -> None:
    store = Store(every_store)
    publish_dataset(store, "adult")
    for ref, words in [
        ("adlt", "--dataset: no dataset named 'adlt' in .*; did you mean 'adult'"),
        ("adult@9", "no dataset adult@9 in .*; there is: adult@1"),
        ("adult@99999999", "no dataset adult@99999999"),
    ]:
        with pytest.raises(NotFoundError, match=words):
            store.resolve("datasets", ref, field="--dataset")


@pytest.mark.parametrize(
    "ref",
    [
        "",
        "@1",
        "adult@",
        "adult@0",
        "adult@00",
        "adult@\u0663",
        "adult@-1",
        "adult@x",
        "../adult",
        "Adult",
        "a/b",
        "adult\n",
        "adult@1\n",
    ],
)
def test_references_that_are_none(ref: str, tmp_path) -> None:
    with pytest.raises(RecipeError, match="--model: ") as caught:
        Store(tmp_path).resolve("models", ref, field="--model")
    assert "\n" not in str(caught.value)


def test_a_finished_key_makes_a_new_version_unless_reused(every_store: str) -> None:
    store = Store(every_store)
    first = publish_dataset(store, "a", run_key="k")
    second = publish_dataset(store, "a", run_key="k")
    assert (first.number, second.number) == (1, 2)
    assert first.manifest.content_digest == second.manifest.content_digest
    with store.begin("datasets", "a", run_key="k", run_id="again", if_exists="reuse") as draft:
        assert draft.finished == second
        assert (draft.number, draft.folder, draft.taken_over) == (2, second.folder, False)
    with store.begin("datasets", "a", run_key="other", run_id="again", if_exists="reuse") as draft:
        assert draft.finished is None
        assert draft.number == 3


def test_a_dead_run_is_taken_over_with_its_parts(every_store: str) -> None:
    store = Store(every_store, timing=DEAD)
    dead = draft_of(store, "a")
    dead.folder.write_bytes("part-00000.parquet", b"whole")
    with draft_of(store, "a") as draft:
        assert (draft.number, draft.taken_over) == (1, True)
        assert draft.folder.read_bytes("part-00000.parquet") == b"whole"
        draft.check_owned()
        with pytest.raises(ClaimLostError):
            dead.check_owned()


def _manifest(draft, **changes) -> Manifest:
    files = (FileEntry(path="part-00000.parquet", rows=1, bytes=5, sha256="0" * 64),)
    stated = {
        "kind": draft.kind,
        "name": draft.name,
        "number": draft.number,
        "run_id": draft.run_id,
        "run_key": draft.run_key,
    }
    rest = {
        "created": "2026-01-01T00:00:00+00:00",
        "code_version": "0",
        "files": files,
        "content_digest": content_digest(files, None),
    }
    return Manifest(**{**stated, **rest, **changes})


@pytest.mark.parametrize(("written", "words"), [(None, "is not there"), (b"four", "has 4 bytes")])
def test_a_manifest_must_be_true(every_store: str, written, words: str) -> None:
    store = Store(every_store)
    with draft_of(store, "a") as draft:
        if written:
            draft.folder.write_bytes("part-00000.parquet", written)
        with pytest.raises(
            StorageError, match=rf"part-00000\.parquet: {words}, its manifest says 5 bytes; not committed"
        ):
            draft.commit(_manifest(draft))
    assert store.versions("datasets", "a") == []


def test_somebody_elses_commit_is_not_ours(every_store: str) -> None:
    store = Store(every_store)
    with draft_of(store, "a") as draft:
        draft.folder.write_bytes("part-00000.parquet", b"12345")
        draft.folder.write_json("_manifest.json", {"run_id": "another"})
        with pytest.raises(ClaimLostError, match="committed this version first"):
            draft.commit(_manifest(draft))


def test_quarantine_leaves_no_version(every_store: str) -> None:
    store = Store(every_store)
    with draft_of(store, "a") as draft:
        draft.folder.write_bytes("part-00000.parquet", b"12345")
        draft.folder.write_bytes("_receipts/part-00000.json", b"{}")
        uri = draft.quarantine("gate privacy failed")
    assert uri == f"{store.uri}/quarantine/datasets/a/1.{draft.run_id}"
    moved = store.root.child("quarantine", "datasets", "a", f"1.{draft.run_id}")
    assert [entry.path for entry in moved.list()] == [
        "_reason.json",
        "_receipts/part-00000.json",
        "part-00000.parquet",
    ]
    assert moved.read_json("_reason.json")["reason"] == "gate privacy failed"
    assert store.versions("datasets", "a") == store.names("datasets") == []


def test_a_newer_manifest_is_refused_by_name(every_store: str) -> None:
    store = Store(every_store)
    version = publish_dataset(store, "a")
    raw = version.folder.read_json("_manifest.json")
    version.folder.write_json("_manifest.json", {**raw, "format": "synthmill.manifest/3", "new_field": 1})
    with pytest.raises(
        StorageError,
        match=r"a/1/_manifest\.json: has format 'synthmill\.manifest/3', newer than 'synthmill\.manifest/2'",
    ):
        store.resolve("datasets", "a", field="x")
    version.folder.write_json("_manifest.json", {**raw, "rows": "many"})
    with pytest.raises(StorageError, match=r"a/1/_manifest\.json: not a valid manifest"):
        store.resolve("datasets", "a", field="x")


def test_every_job_probes_the_store_once(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, probes = Store(tmp_path), []
    monkeypatch.setattr(type(store.root), "probe_write", lambda folder: probes.append(folder.uri))
    draft_of(store, "a")
    draft_of(store, "b")
    assert probes == [store.uri]


def test_run_folders(every_store: str) -> None:
    store = Store(every_store)
    assert store.run_folder("adult-1").uri == f"{store.uri}/runs/adult-1"
    with pytest.raises(RecipeError, match="run name"):
        store.run_folder("../x")
    with pytest.raises(MissingError):
        store.run_folder("adult-1").read_bytes("x")


def test_two_runs_of_one_key_at_a_time_have_a_folder_each_and_an_ended_one_is_taken_over(
    every_store: str,
) -> None:
    store = Store(every_store)
    with (
        store.begin_run("adult-1", run_key="k", run_id="a") as first,
        store.begin_run("adult-1", run_key="k", run_id="b") as second,
    ):
        assert [first.folder.name, second.folder.name] == ["1", "2"]
        first.folder.write_bytes("checkpoints/x", b"1")
        first.check()
        second.check()
    with store.begin_run("adult-1", run_key="k", run_id="c") as again:
        assert again.folder.name == "2"
        with store.begin_run("adult-1", run_key="k", run_id="d") as other:
            assert other.folder.name == "1"
            assert other.folder.read_bytes("checkpoints/x") == b"1"
    with store.begin_run("adult-2", run_key="other", run_id="e") as stranger:
        assert stranger.folder.uri.endswith("runs/adult-2/1")


def test_content_digest_sees_data_and_nothing_else() -> None:
    part = FileEntry(path="part-00000.parquet", rows=1, bytes=5, sha256="0" * 64)
    other = FileEntry(path="part-00001.parquet", rows=1, bytes=5, sha256="1" * 64)
    digest = content_digest([part, other], "schema")
    assert content_digest([other, part], "schema") == digest
    assert (
        content_digest([part, other, FileEntry(path="_card.md", bytes=1, sha256="2" * 64)], "schema")
        == digest
    )
    changed = [content_digest([part], "schema"), content_digest([part, other], "x")]
    changed += [
        content_digest([part, other.model_copy(update=update)], "schema")
        for update in ({"rows": 2}, {"sha256": "3" * 64}, {"path": "z"})
    ]
    assert digest not in changed
    assert len(set(changed)) == 5
