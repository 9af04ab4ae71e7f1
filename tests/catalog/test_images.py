"""Datasets of images as files."""

import errno
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest

from image_cases import digits
from synthmill.catalog.images import empty_folder, export_images, safe_name
from synthmill.config import DataConfig, parse_model
from synthmill.data import png
from synthmill.data.mark import label_packet
from synthmill.data.readers.base import read_source
from synthmill.errors import DataError, StorageError, UserError


class Version:
    """What an export reads of a catalog version."""

    ref = "images@1"
    manifest = SimpleNamespace(arrow_schema=None)


def exported(monkeypatch: pytest.MonkeyPatch, folder: Path, *tables: pa.Table) -> int:
    monkeypatch.setattr("synthmill.catalog.images.iter_parts", lambda version: iter(tables))
    return export_images(Version(), empty_folder(folder))  # type: ignore[arg-type]


def table(labels: list[object], **columns: list[object]) -> pa.Table:
    pixels = digits(len(labels))[0][:, 0]
    cells = [
        {"bytes": png.encode(image, xmp=label_packet(image)), "path": f"{i}.png"}
        for i, image in enumerate(pixels)
    ]
    return pa.table({"image": cells, "label": labels, **columns})


def test_every_file_is_labelled_and_the_folder_is_a_source(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert exported(monkeypatch, tmp_path / "out", table(["cat", "dog"]), table(["cat", "cat", "dog"])) == 5
    files = sorted(
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png")
    )
    assert files == [
        "cat/000000000.png",
        "cat/000000002.png",
        "cat/000000003.png",
        "dog/000000001.png",
        "dog/000000004.png",
    ]
    for file in files:
        packet = png.xmp_of((tmp_path / "out" / file).read_bytes())
        assert packet is not None
        assert b"trainedAlgorithmicMedia" in packet
        assert b"TC260:AIGC" in packet
    source = read_source(parse_model(DataConfig, {"source": str(tmp_path / "out"), "kind": "image"}))
    assert sorted(source.table["label"].to_pylist()) == ["cat", "cat", "cat", "dog", "dog"]


def test_images_without_classes_lie_in_the_folder_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert exported(monkeypatch, tmp_path, table([0, 1]).drop_columns(["label"])) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000000.png", "000000001.png"]


def test_real_images_of_a_mixed_dataset_can_be_told_apart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    exported(monkeypatch, tmp_path, table([3, 3], is_synthetic=[True, False]))
    assert sorted(path.name for path in (tmp_path / "3").iterdir()) == ["000000000.png", "real-000000001.png"]


def test_a_class_can_not_leave_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    exported(monkeypatch, tmp_path / "out", table(["../up", "a/b", "..", "", ".hidden"]))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert len(list((tmp_path / "out").rglob("*.png"))) == 5
    assert [safe_name(label) for label in ("../up", "..", "", "T-shirt 1")] == [
        "_._up",
        "_.",
        "_",
        "T-shirt 1",
    ]


def test_classes_of_like_names_keep_their_own_folders(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    labels = ["a/b", "a:b", "a/b", "a_b-2", "a*b", "a:b"]
    exported(monkeypatch, tmp_path, table(labels[:3]), table(labels[3:]))
    found = {int(path.stem): path.parent.name for path in tmp_path.rglob("*.png")}
    assert [found[i] for i in range(6)] == ["a_b", "a_b-2", "a_b", "a_b-2-2", "a_b-3", "a_b-2"]


def test_a_folder_with_something_in_it_and_a_table_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(UserError, match=r"--export: .* is not empty \(it has 'mine\.txt'\)"):
        empty_folder(tmp_path)
    with pytest.raises(UserError, match="can't be used"):
        empty_folder(tmp_path / "mine.txt")
    with pytest.raises(DataError, match=r"images@1 has no column of images; it has age"):
        exported(monkeypatch, tmp_path / "out", pa.table({"age": [1, 2]}))


def test_a_full_disk_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageError, match=r"out/cat/000000000\.png: the disk is full"):
        exported(monkeypatch, tmp_path / "out", table(["cat"]))
