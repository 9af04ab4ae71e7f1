"""Lineage, verify, delete, gc."""

import os
from datetime import timedelta

import pytest

from synthmill.catalog.admin import delete, find, gc, verify
from synthmill.catalog.lineage import ancestors, descendants, parents
from synthmill.catalog.manifest import Parent
from synthmill.catalog.store import Store
from synthmill.errors import NotFoundError, RecipeError, UserError
from synthmill.storage.publish import Timing
from versions import draft_of, parent_of, publish_dataset, publish_model

FUTURE = timedelta(days=-1)
"""Everything is older than a day from now."""


@pytest.fixture
def family(every_store: str):
    """A store with source -> dataset d@1 -> model m@1 -> dataset s@1 -> model m@2, and a stranger."""
    store = Store(every_store, timing=Timing(stale_seconds=-10.0))
    source = Parent(kind="source", ref="file:///x.csv", digest="0")
    d = publish_dataset(store, "d", parents=[source])
    m = publish_model(store, "m", parents=[parent_of(d), Parent(kind="recipe", ref="m", digest="1")])
    s = publish_dataset(store, "s", parents=[parent_of(m)])
    m2 = publish_model(store, "m", run_key="2", parents=[parent_of(s)])
    publish_dataset(store, "m", run_key="stranger")
    return store, d, m, s, m2


def test_lineage(family) -> None:
    store, d, m, s, m2 = family
    assert ancestors(store, m2) == [s, m, d]
    assert descendants(store, d) == [m, s, m2]
    assert descendants(store, m2) == []
    assert [(parent.kind, version) for parent, version in parents(store, m)] == [
        ("dataset", d),
        ("recipe", None),
    ]


def test_delete_refuses_while_something_descends(family) -> None:
    store, _, m, s, m2 = family
    with pytest.raises(UserError, match=r"REF: m@1 is what datasets/s@1, models/m@2 came from; .*--cascade"):
        delete(store, "models/m@1")
    assert delete(store, "models/m@1", cascade=True) == [m2.uri, s.uri, m.uri]
    assert store.versions("models", "m") == store.versions("datasets", "s") == []
    assert store.versions("datasets", "d") == [1]


def test_gc_finishes_a_deletion_that_was_interrupted_after_its_first_step(every_store: str) -> None:
    store = Store(every_store)
    version = publish_dataset(store, "d")
    version.folder.write_json("_tombstone.json", {"format": "synthmill.tombstone/1"})
    assert store.versions("datasets", "d") == []
    assert gc(store, FUTURE) == [version.uri]
    assert [entry.path for entry in version.folder.list()] == ["_tombstone.json"]


def test_a_deleted_number_is_never_used_again(every_store: str) -> None:
    store = Store(every_store)
    version = publish_dataset(store, "d")
    assert delete(store, "d@1") == [version.uri]
    assert [entry.path for entry in version.folder.list()] == ["_tombstone.json"]
    assert version.folder.read_json("_tombstone.json")["content_digest"] == version.manifest.content_digest
    assert store.names("datasets") == []
    gc(store, FUTURE)
    with draft_of(store, "d") as draft:
        assert (draft.number, draft.taken_over) == (2, False)
    with pytest.raises(NotFoundError, match="dataset d@1 was deleted"):
        delete(store, "datasets/d@1")


def test_references_to_delete(family) -> None:
    store, *_ = family
    with pytest.raises(RecipeError, match="ambiguous; write datasets/m@1 or models/m@1"):
        find(store, "m@1")
    with pytest.raises(RecipeError, match="say which version, such as d@1"):
        find(store, "d")
    with pytest.raises(RecipeError, match="expected one of datasets, models, reports"):
        find(store, "runs/d@1")
    with pytest.raises(NotFoundError, match="no dataset, model or report x@1"):
        find(store, "x@1")
    assert find(store, "d@1").kind == "datasets"


def test_verify_names_every_problem(every_store: str) -> None:
    version = publish_dataset(Store(every_store), "d")
    assert verify(version.uri) == verify(version.uri + "/_manifest.json") == []
    folder = version.folder
    folder.write_bytes("part-00002.parquet", b"extra")
    data = bytearray(folder.read_bytes("part-00000.parquet"))
    data[30] ^= 1
    folder.write_bytes("part-00000.parquet", bytes(data))
    folder.delete("part-00001.parquet")
    assert verify(version.uri) == [
        f"{version.uri}/part-00000.parquet: the bytes do not match the manifest's SHA-256",
        f"{version.uri}/part-00001.parquet: is missing",
        f"{version.uri}/part-00002.parquet: is not in the manifest",
    ]
    folder.write_bytes("part-00000.parquet", b"short")
    assert verify(version.uri)[0].startswith(
        f"{version.uri}/part-00000.parquet: has 5 bytes, the manifest says "
    )
    with pytest.raises(NotFoundError, match="no committed version"):
        verify(version.uri + "0")


def test_verify_models(every_store: str) -> None:
    version = publish_model(Store(every_store), "m")
    assert verify(version.uri) == []
    version.folder.write_bytes("card.md", b"# B card\n")
    assert verify(version.uri) == [f"{version.uri}/card.md: the bytes do not match the manifest's SHA-256"]


def test_gc_removes_what_is_dead_and_old(family) -> None:
    store, *_ = family
    committed = sorted(entry.path for entry in store.root.list())
    dead = draft_of(store, "d", run_key="dead")
    dead.folder.write_bytes("part-00000.parquet", b"x")
    with draft_of(store, "d", run_key="refused") as draft:
        quarantined = draft.quarantine("because")
    store.run_folder("old-run").write_bytes("step-1/weights", b"x")
    before = sorted(entry.path for entry in store.root.list())
    assert gc(store, timedelta(days=7)) == []
    assert sorted(entry.path for entry in store.root.list()) == before
    removed = gc(store, FUTURE)
    assert set(removed) == {dead.folder.uri, draft.folder.uri, quarantined, store.run_folder("old-run").uri}
    assert sorted(entry.path for entry in store.root.list()) == committed
    assert gc(store, FUTURE) == []


def test_gc_takes_what_was_written_in_the_same_tick_of_the_stores_clock(
    every_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A local disk's clock ticks every few milliseconds and S3's every second: no age at all must count as
    `0m`."""
    store = Store(every_store)
    store.run_folder("run").write_bytes("step-1/weights", b"x")
    written = store.run_folder("run").list()[0].modified
    monkeypatch.setattr("synthmill.storage.folder.Folder.now", lambda _: written)
    assert gc(store, timedelta(microseconds=1)) == []
    assert gc(store, timedelta(0)) == [store.run_folder("run").uri]


def search_of(store: Store, name: str, source: str) -> str:
    """A search that has ended, about rows of that name."""
    store.root.child("sources").write_bytes(source, b"rows")
    with store.begin_run(name, run_key=name, run_id="r", kind="tunes") as lease:
        settings = {"recipe": {"data": {"source": f"file:///moved/since/sources/{source}"}}}
        lease.folder.child("events").write_json("00000000.json", {"event": "begin", "settings": settings})
        lease.folder.write_bytes("trials/00000/weights.safetensors", b"x")
        return lease.folder.uri


def test_gc_removes_searches_and_their_rows_but_never_where_a_model_came_from(every_store: str) -> None:
    store = Store(every_store)
    dead, origin = search_of(store, "t-dead", "dead.parquet"), search_of(store, "t-origin", "o.parquet")
    with draft_of(store, "m", kind="models") as draft:
        draft.commit(draft.manifest(files=(), details={"tune": {"search": "t-origin/1"}}))
    sources = store.root.child("sources")
    with store.begin_run("t-live", run_key="k", run_id="r", kind="tunes") as lease:
        assert gc(store, timedelta(days=7)) == []
        # A search that has yet to say which rows it is about may be about any.
        assert gc(store, FUTURE) == [dead]
        assert sources.exists("dead.parquet")
        assert lease.folder.list()
    live = lease.folder.uri
    assert gc(store, FUTURE) == [live, sources.uri_of("dead.parquet")]
    assert sources.exists("o.parquet")
    delete(store, "models/m@1")
    assert set(gc(store, FUTURE)) == {origin, sources.uri_of("o.parquet")}


def test_gc_leaves_living_owners_alone(every_store: str) -> None:
    store = Store(every_store)
    with draft_of(store, "d") as draft:
        draft.folder.write_bytes("part-00000.parquet", b"x")
        assert gc(store, FUTURE) == []
        assert draft.folder.exists("part-00000.parquet")


def test_gc_finishes_a_deletion_that_was_cut(every_store: str) -> None:
    store = Store(every_store)
    version = publish_dataset(store, "d")
    version.folder.write_json("_tombstone.json", {"format": "synthmill.tombstone/1"})
    version.folder.delete("_manifest.json")
    assert gc(store, timedelta(days=7)) == [version.uri]
    assert [entry.path for entry in version.folder.list()] == ["_tombstone.json"]


def test_gc_removes_temporary_files(tmp_path) -> None:
    store = Store(tmp_path)
    version = publish_dataset(store, "d")
    young, old = (tmp_path / "datasets" / "d" / "1" / f"_tmp.{name}" for name in ("young", "old"))
    for path in (young, old):
        path.write_bytes(b"half")
    two_hours_ago = old.stat().st_mtime - 7200
    os.utime(old, (two_hours_ago, two_hours_ago))
    assert gc(store, timedelta(days=7)) == []
    # The young one may belong to somebody who is writing at this moment.
    assert gc(store, FUTURE) == [version.folder.uri_of("_tmp.old")]
    assert young.exists()


def test_gc_leaves_a_run_alone_while_its_owner_lives(every_store: str) -> None:
    store = Store(every_store)
    with store.begin_run("adult-1", run_key="key", run_id="a") as run:
        run.folder.write_bytes("checkpoints/step-1/state", b"x")
        assert [(each.ref, each.running) for each in store.runs()] == [("adult-1/1", True)]
        assert gc(store, FUTURE) == []
        assert run.folder.exists("checkpoints/step-1/state")
    assert [(each.ref, each.running) for each in store.runs("adult-1")] == [("adult-1/1", False)]
    assert gc(store, FUTURE) == [run.folder.uri]
    assert store.runs() == []
