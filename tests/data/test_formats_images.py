"""Image files of every kind: endings and none, deep pixels, animations, and tables that only name files."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageChops, ImageOps

from image_cases import class_folders, file_of, png_of
from synthmill.config import DataConfig, ImageConfig, parse_model
from synthmill.data.codecs.base import codec_from_files
from synthmill.data.codecs.pixels import PixelCodec
from synthmill.data.image_file import read_image
from synthmill.data.readers.base import Source, read_source
from synthmill.errors import DataError

GRAY = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4


def read(source: object, **fields: object) -> Source:
    return read_source(parse_model(DataConfig, {"source": str(source), "kind": "image", **fields}))


def pixels(source: Source) -> list[np.ndarray]:
    return [read_image(cell["bytes"], ImageConfig()) for cell in source.table["image"].to_pylist()]  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.jfif", "JPEG"), ("a.jpe", "JPEG"), ("a.avif", "AVIF"), ("a.webp", "WEBP"), ("a", "PNG"),
     ("a.large", "JPEG"), ("a", "AVIF"), ("a", "WEBP"), ("a", "TIFF"), ("a", "BMP"), ("a", "GIF")],
)  # fmt: skip
def test_images_by_name_or_by_content(tmp_path: Path, name: str, kind: str) -> None:
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        (tmp_path / label / name).write_bytes(file_of(Image.fromarray(GRAY), kind))
    source = read(tmp_path)
    assert source.table["label"].to_pylist() == ["cat", "dog"]
    assert source.notes == ()
    assert np.abs(pixels(source)[0].astype(int).reshape(8, 8, -1)[..., 0] - GRAY).max() < 40


def test_what_is_skipped_is_counted_and_named(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "pets")
    for name in ("readme.txt", "cat/photo.heic", "cat/Thumbs.db", "notes"):
        (root / name).write_bytes(b"something else")
    assert read(root).notes == (
        "4 files are no image by name or content, and skipped: cat/Thumbs.db, cat/photo.heic, notes,"
        " readme.txt (1 HEIC: convert to PNG or JPEG)",
    )
    (root / "_other").mkdir()
    (root / "_other" / "a").write_bytes(png_of(GRAY))
    assert "1 images skipped because a name begins with `_` (_other)" in read(root).notes[0]
    (tmp_path / "heic").mkdir()
    (tmp_path / "heic" / "a.heic").write_bytes(b"something else")
    with pytest.raises(DataError, match=r"it has a\.heic \(1 HEIC: convert to PNG or JPEG\)"):
        read(tmp_path / "heic")


def deep(bits: int) -> "np.ndarray":
    """A ramp from black to white in so many bits."""
    return np.linspace(0, 2**bits - 1, 64).round().astype(np.uint16).reshape(8, 8)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_deep_pixels_are_scaled_to_their_range(tmp_path: Path, kind: str, bits: int) -> None:
    for name, image in (("bright", deep(bits)), ("dark", deep(bits) // 16)):
        (tmp_path / f"{name}.{kind.lower()}").write_bytes(file_of(Image.fromarray(image), kind))
    source = read(tmp_path)
    bright, dark = pixels(source)
    assert bright.max() == 255
    assert 14 <= dark.max() <= 17
    assert len(np.unique(bright)) == 64
    assert len(source.notes) == (bits < 16)
    if bits < 16:
        assert f"are read as {bits}-bit; set data.image.depth: 16 to keep them dark" in source.notes[0]
    kept = read(tmp_path, image={"depth": 16})
    assert pixels(kept)[0].max() == round(255 * (2**bits - 1) / 65_535)
    assert kept.notes == ()


def test_deep_and_other_images_together(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(file_of(Image.fromarray(deep(16))))
    (tmp_path / "b.png").write_bytes(png_of(GRAY))
    (tmp_path / "c.pgm").write_bytes(b"P5 8 8 65535\n" + np.full((8, 8), 300, ">u2").tobytes())
    a, b, c = pixels(read(tmp_path, image={"size": 8}))
    assert a.max() == 255
    assert np.array_equal(b, GRAY)
    assert {int(value) for value in c.ravel()} == {1}


def test_animations_give_their_first_frame_and_a_note(tmp_path: Path) -> None:
    frames = [Image.fromarray(GRAY), Image.fromarray(255 - GRAY)]
    (tmp_path / "a.gif").write_bytes(file_of(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    (tmp_path / "b.png").write_bytes(png_of(GRAY))
    source = read(tmp_path)
    assert source.notes == ("1 image has several frames, of which the first is read: a.gif",)
    assert np.array_equal(pixels(source)[0], GRAY)


def test_ink_is_turned_to_light(tmp_path: Path) -> None:
    red = Image.new("RGB", (8, 8), (250, 10, 10))
    (tmp_path / "a.jpg").write_bytes(file_of(red.convert("CMYK"), "JPEG", quality=95))
    (tmp_path / "b.tif").write_bytes(file_of(red.convert("CMYK"), "TIFF"))
    for image in pixels(read(tmp_path)):
        assert np.abs(image.astype(int) - np.array([250, 10, 10])).max() < 12


def test_cameras_that_were_turned(tmp_path: Path) -> None:
    upright = Image.fromarray(np.kron(GRAY, np.ones((4, 4), np.uint8)))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    for i in range(2):
        (tmp_path / f"{i}.jpg").write_bytes(file_of(turned, "JPEG", quality=95, exif=exif))
    found = Image.fromarray(pixels(read(tmp_path))[0])
    assert np.asarray(ImageChops.difference(found, ImageOps.grayscale(upright))).max() < 20


def test_rows_that_only_name_their_files(tmp_path: Path) -> None:
    root = tmp_path / "data"
    class_folders(root / "img")
    names = [f"img/{label}/{i}.png" for label in ("cat", "dog") for i in range(4)]
    cells = pa.array(
        [{"bytes": None, "path": name} for name in names],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    table = pa.table({"image": cells, "label": [0] * 4 + [1] * 4})
    pq.write_table(table, root / "train.parquet")
    source = read(root / "train.parquet")
    assert source.table["image"].to_pylist()[1]["path"] == "img/cat/1.png"
    assert np.array_equal(pixels(source)[5], np.asarray(Image.open(root / names[5])))
    assert source.sha256 == read(root / "train.parquet").sha256
    (root / names[5]).write_bytes(png_of(GRAY))
    assert source.sha256 != read(root / "train.parquet").sha256
    paths = pa.StructArray.from_arrays([pa.array(names)], names=["path"])
    pq.write_table(table.set_column(0, "image", paths), root / "train.parquet")
    assert read(root / "train.parquet").table.num_rows == 8


@pytest.mark.parametrize(
    ("path", "why"),
    [("img/none.png", "no such file beside train.parquet"), ("../out.png", "its path leads out of the table"),
     ("/etc/passwd", "its path leads out of the table")],
)  # fmt: skip
def test_rows_that_name_what_is_not_there(tmp_path: Path, path: str, why: str) -> None:
    (tmp_path / "out.png").write_bytes(png_of(GRAY))
    (tmp_path / "data").mkdir()
    cells = [
        {"bytes": png_of(GRAY), "path": None},
        {"bytes": png_of(GRAY), "path": None},
        {"bytes": None, "path": path},
    ]
    pq.write_table(pa.table({"image": cells}), tmp_path / "data" / "train.parquet")
    with pytest.raises(DataError, match=f"1 of 3 images can't be read: {path} .{why}"):
        read(tmp_path / "data" / "train.parquet", image={"max_broken_share": 0.0})


def hugging_face(path: Path, image: str, label: str, names: list[str]) -> Path:
    features = {image: {"_type": "Image"}, label: {"names": names, "_type": "ClassLabel"}}
    cells = [{"bytes": png_of(np.roll(GRAY, i)), "path": None} for i in range(12)]
    table = pa.table({"other": [b"x"] * 12, image: cells, label: [1, 0] * 6})
    said = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(table.replace_schema_metadata(said), path)
    return path


def test_classes_have_their_names_and_are_published_by_number(tmp_path: Path) -> None:
    source = read(hugging_face(tmp_path / "in.parquet", "image", "label", ["sick", "healthy"]))
    assert source.table["label"].to_pylist()[:2] == ["healthy", "sick"]
    assert source.notes == ()
    files = PixelCodec.fit(source.table, DataConfig(source="x")).to_files()
    codec = codec_from_files(json.loads(json.dumps(files[0])), files[1])
    assert codec.levels("label") == ["healthy", "sick"]
    rows = codec.decode(codec.encode(source.table), first_row=0)
    written = codec.form.write(rows)
    assert written["label"].to_pylist() == [1, 0] * 6
    said = json.loads(written.schema.metadata[b"huggingface"])["info"]["features"]
    assert said == {
        "image": {"_type": "Image"},
        "label": {"names": ["sick", "healthy"], "_type": "ClassLabel"},
    }
    assert codec.form.read(written).equals(rows.replace_schema_metadata(None))
    out = io.BytesIO()
    pq.write_table(written, out)
    (tmp_path / "again.parquet").write_bytes(out.getvalue())
    assert read(tmp_path / "again.parquet").table["label"].equals(source.table["label"])


def test_roles_of_columns_with_other_names(tmp_path: Path) -> None:
    source = read(hugging_face(tmp_path / "in.parquet", "img", "digit", ["sick", "healthy"]))
    assert source.table.column_names == ["image", "label"]
    assert source.table["label"].to_pylist()[:2] == ["healthy", "sick"]
    assert source.notes == ("column 'img' is published as 'image', 'digit' as 'label'",)
    assert np.array_equal(pixels(source)[1], np.roll(GRAY, 1))


def test_classes_that_are_called_by_their_numbers_stay_numbers(tmp_path: Path) -> None:
    source = read(hugging_face(tmp_path / "in.parquet", "image", "label", ["0", "1"]))
    assert source.table["label"].to_pylist()[:2] == [1, 0]
    assert "form" not in PixelCodec.fit(source.table, DataConfig(source="x")).to_files()[0]
