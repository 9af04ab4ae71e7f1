"""One class for every scheme: the same calls, the same results."""

import errno
import os
import pickle
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

import pyarrow.dataset
import pyarrow.fs
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pythons import run_python
from synthmill.config import StorageConfig
from synthmill.errors import IntegrityError, MissingError, RecipeError, StorageError
from synthmill.storage import local, s3_client
from synthmill.storage.folder import Folder, is_uri
from synthmill.storage.s3 import S3Backend
from synthmill.storage.uri import check_path, parse, redact


def test_bytes_and_json_come_back(every_store: str) -> None:
    folder = Folder(every_store)
    folder.write_bytes("a/b.bin", b"\x00\xff" * 1000)
    folder.write_json("c.json", {"z": 1, "a": [None, "\u00e4"]})
    assert folder.read_bytes("a/b.bin") == b"\x00\xff" * 1000
    assert folder.read_json("c.json") == {"z": 1, "a": [None, "\u00e4"]}
    folder.write_bytes("a/b.bin", b"new")
    assert folder.child("a").read_bytes("b.bin") == b"new"
    with folder.open_input("a/b.bin") as source:
        source.seek(1)
        assert source.read() == b"ew"


def test_create_lets_the_first_win(every_store: str) -> None:
    folder = Folder(every_store)
    assert folder.create("x/claim.json", b"first")
    assert not folder.create("x/claim.json", b"second")
    assert folder.read_bytes("x/claim.json") == b"first"


def test_listing(every_store: str) -> None:
    folder = Folder(every_store)
    for path in ["top", "a/1", "a/2", "a/deep/3", "ab/4"]:
        folder.write_bytes(path, path.encode())
    assert [entry.path for entry in folder.list()] == ["a/1", "a/2", "a/deep/3", "ab/4", "top"]
    assert [entry.path for entry in folder.list("a/")] == ["a/1", "a/2", "a/deep/3"]
    assert [entry.path for entry in folder.list("a/", recursive=False)] == ["a/1", "a/2"]
    assert [entry.path for entry in folder.list("t", recursive=False)] == ["top"]
    assert folder.children() == ["a", "ab"]
    assert folder.child("nothing").children() == folder.child("nothing").list() == []
    entry = folder.entry("a/deep/3")
    assert (entry.path, entry.bytes) == ("a/deep/3", 8)
    assert abs(entry.modified - datetime.now(UTC)) < timedelta(minutes=5)


def test_missing_files(every_store: str) -> None:
    folder = Folder(every_store)
    folder.write_bytes("there/x", b"1")
    assert folder.exists("there/x")
    assert not folder.exists("there")
    assert not folder.exists("gone")
    assert folder.age_seconds("gone") is None
    folder.delete("gone")
    for read in (folder.read_bytes, folder.read_json, folder.size, folder.digest, folder.open_input):
        with pytest.raises(MissingError, match="gone: there is no such file"):
            read("gone")


def test_ages_are_measured_by_the_stores_clock(every_store: str) -> None:
    folder = Folder(every_store)
    folder.write_bytes("x", b"1")
    age = folder.age_seconds("x")
    assert age is not None
    assert -2 <= age < 60
    assert abs(folder.now() - folder.entry("x").modified) < timedelta(seconds=60)


def test_delete_tree_leaves_its_neighbours(every_store: str) -> None:
    folder = Folder(every_store)
    for path in ["1/a", "1/b/c", "10/a"]:
        folder.write_bytes(path, b"x")
    folder.delete_tree("1")
    assert [entry.path for entry in folder.list()] == ["10/a"]
    assert folder.children() == ["10"]
    folder.child("10").delete_tree()
    assert folder.list() == []
    folder.write_bytes("1/again", b"x")


def test_upload_download_move(every_store: str, tmp_path: Path) -> None:
    folder, local = Folder(every_store), tmp_path / "part"
    local.write_bytes(b"0123456789" * 300_000)
    sha256, size = Folder(tmp_path).digest("part")
    folder.upload(local, "d/part", sha256=sha256)
    assert folder.digest("d/part") == (sha256, size) == (sha256, 3_000_000)
    folder.move("d/part", folder.child("e", "f"), "moved")
    assert not folder.exists("d/part")
    folder.download("e/f/moved", tmp_path / "new" / "copy", sha256=sha256)
    assert (tmp_path / "new" / "copy").read_bytes() == local.read_bytes()
    with pytest.raises(IntegrityError, match="e/f/moved"):
        folder.download("e/f/moved", tmp_path / "wrong", sha256="0" * 64)
    assert not (tmp_path / "wrong").exists()


def test_probe_leaves_nothing(every_store: str) -> None:
    folder = Folder(every_store)
    folder.probe_write()
    assert folder.list() == []


def test_any_reader_reads_what_was_written(every_store: str, tmp_path: Path) -> None:
    table = pyarrow.table({"a": [1, 2, 3]})
    pyarrow.parquet.write_table(table, tmp_path / "p.parquet")
    folder = Folder(every_store)
    folder.upload(tmp_path / "p.parquet", "data/part-00000.parquet")
    filesystem, root = folder.child("data").filesystem()
    assert pyarrow.dataset.dataset(root, filesystem=filesystem, format="parquet").to_table() == table


def test_a_folder_travels_without_secrets_or_connections(every_store: str) -> None:
    folder = Folder(every_store).child("x y")
    folder.write_bytes("a", b"1")
    text = pickle.dumps(folder)
    assert b"testing" not in text
    again = pickle.loads(text)
    assert again == folder
    assert again.read_bytes("a") == b"1"


def test_bad_json_is_named(every_store: str) -> None:
    folder = Folder(every_store)
    folder.write_bytes("x.json", b"{")
    with pytest.raises(StorageError, match=r"x\.json: not valid JSON"):
        folder.read_json("x.json")
    with pytest.raises(ValueError, match="Out of range float"):
        folder.write_json("y.json", float("nan"))


def test_stray_temporary_files_are_hidden_and_removed(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write_bytes("a/kept", b"1")
    (tmp_path / "a" / "_tmp.dead").write_bytes(b"half")
    assert [entry.path for entry in folder.list()] == ["a/kept"]
    assert folder.remove_strays(folder.now() - timedelta(days=1)) == []
    assert folder.remove_strays(folder.now() + timedelta(days=1)) == ["a/_tmp.dead"]
    assert os.listdir(tmp_path / "a") == ["kept"]  # noqa: PTH208


def test_stray_multipart_uploads_are_removed(s3_store: str, s3) -> None:
    folder, client, key = Folder(s3_store), s3.client(), f"{s3_store.rpartition('/')[2]}/big"
    client.create_multipart_upload(Bucket=s3.bucket, Key=key)
    assert folder.remove_strays(datetime(2000, 1, 1, tzinfo=UTC)) == []
    assert folder.remove_strays(folder.now() + timedelta(days=1)) == ["big"]
    assert not client.list_multipart_uploads(Bucket=s3.bucket, Prefix=key).get("Uploads")


def test_create_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    folder = Folder(tmp_path)
    assert folder.create("x", b"1")
    assert not folder.create("x", b"2")
    assert folder.read_bytes("x") == b"1"


def test_canonical_uris(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert (
        Folder("store/").uri
        == Folder(f"file://{tmp_path}/store").uri
        == Folder(tmp_path / "x" / ".." / "store").uri
    )
    assert Folder("s3://bucket/a/b/").uri == "s3://bucket/a/b"
    assert Folder("s3://bucket").child("a").uri_of("b.c") == "s3://bucket/a/b.c"
    assert Folder(Folder(tmp_path / "a b%20c").uri).uri_of("x").endswith("/a%20b%2520c/x")


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("s3://key:hidden@bucket/x", "credentials come from the environment"),
        ("s3://bucket/x?secret_key=hidden", "credentials come from the environment"),
        ("gs://bucket/x", "no storage for 'gs://'"),
        ("s3:///x", "is not a bucket name"),
        ("s3://bucket/a//b", "is not a path inside a store"),
        ("s3://bucket/../b", "is not a path inside a store"),
        ("file://host/x", "names the host 'host'"),
        ("", "is not a path"),
    ],
)
def test_bad_uris_are_one_line_without_secrets(uri: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words) as caught:
        Folder(uri)
    assert "hidden" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_is_uri() -> None:
    assert is_uri("s3://b/x")
    assert is_uri("sklearn://digits")
    assert not is_uri("a/b.csv")
    assert not is_uri("/a://b")


def test_redact_cuts_secrets_from_urls_only() -> None:
    assert redact("at http://u:p@h/x?sig=1, who?\nme@home") == "at http://h/x who? me@home"


@given(st.text())
def test_no_path_escapes(path: str) -> None:
    try:
        check_path(path)
    except RecipeError:
        return
    root = Path("/root/store")
    assert root in Path(os.path.normpath(root / path)).parents


@given(st.text(alphabet=st.characters(exclude_characters="\x00", exclude_categories=("Cs",)), min_size=1))
def test_parsing_is_idempotent(text: str) -> None:
    try:
        uri = parse(text).uri
    except RecipeError:
        return
    assert parse(uri).uri == uri


def test_importing_makes_no_connection_and_sets_no_variable() -> None:
    code = (
        "import os; before = dict(os.environ)\n"
        "import synthmill.storage.folder, synthmill.catalog.admin\n"
        "from synthmill.storage import s3_client\n"
        "assert dict(os.environ) == before and not s3_client._clients"
    )
    run_python(code)


def test_a_temporary_file_that_its_writer_removes_meanwhile_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "_tmp.gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "_tmp.old").write_bytes(b"")
    later = datetime.now(UTC) + timedelta(minutes=1)
    assert Folder(tmp_path).remove_strays(later) == ["_tmp.old"]


def test_an_upload_that_its_writer_ends_meanwhile_is_no_error(
    s3_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = {"Key": "x", "UploadId": "ended", "Initiated": datetime.now(UTC)}
    monkeypatch.setattr(S3Backend, "_uploads", lambda self, prefix: iter([upload]))
    assert Folder(s3_store).remove_strays(datetime.now(UTC)) == []


def test_a_create_that_fails_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = iter([False, True])

    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    def sync(out: IO[bytes]) -> None:
        out.flush()
        if next(full):
            raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "link", no_links)
    monkeypatch.setattr(local, "_sync", sync)
    with pytest.raises(StorageError, match="the disk is full"):
        Folder(tmp_path).create("claim", b"1")
    assert list(tmp_path.iterdir()) == []


def test_a_client_asked_for_while_a_filesystem_is_made_sees_the_environment_as_it_was(
    s3_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = StorageConfig(read_seconds=59.0)
    asked: list[threading.Thread] = []

    def slow_filesystem(**_: object) -> str:
        asked.append(threading.Thread(target=s3_client.client, args=(settings,)))
        asked[0].start()
        asked[0].join(0.5)
        return "filesystem"

    monkeypatch.setattr(pyarrow.fs, "S3FileSystem", slow_filesystem)
    monkeypatch.setattr(s3_client, "_filesystems", {})
    clients: dict[object, object] = {}
    monkeypatch.setattr(s3_client, "_clients", clients)
    for name in s3_client.CHECKSUM_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert s3_client.filesystem(settings, "bucket") == "filesystem"
    asked[0].join()
    assert len(clients) == 1


def test_markers_are_found_by_their_depth(every_store: str) -> None:
    folder = Folder(every_store)
    paths = ["a/1/_claim.1.json", "a/1/_manifest.json", "b/7/_tombstone.json", "b/_note", "_top"]
    for path in [*paths, "a/1/_receipts/part-0.json", "a/1/part-0.parquet", "a/1/Sex=Male/part-0.parquet"]:
        folder.write_bytes(path, b"")
    assert folder.markers(2) == paths[:3]
    assert folder.markers(1) == ["b/_note"]
    assert folder.child("nothing").markers(1) == []
    assert folder.child("a").markers(1) == ["1/_claim.1.json", "1/_manifest.json"]


def test_markers_of_many_versions_come_in_pages_that_skip_their_parts(
    s3_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(s3_store)
    parts = ["_receipts/part-{i}.json", "part-{i}.parquet", "Sex=M/part-{i}"]
    names = ["_claim.1.json", "_manifest.json", *parts]
    expected = []
    for number in range(1, 5):
        for name in names:
            for i in range(6 if "{i}" in name else 1):
                folder.write_bytes(f"d/{number}/" + name.format(i=i), b"")
        expected += [f"d/{number}/_claim.1.json", f"d/{number}/_manifest.json"]
    client, pages = s3_client.client(folder.settings), []
    original = client.list_objects_v2

    def few(**arguments: object) -> object:
        pages.append(arguments)
        return original(**arguments, MaxKeys=4)

    monkeypatch.setattr(client, "list_objects_v2", few)
    assert folder.markers(2) == expected
    # 80 objects in pages of four would be 20.
    assert len(pages) <= 16
