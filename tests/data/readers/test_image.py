"""Where images come from, and every way in which files can be wrong."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from image_cases import class_folders, digits, file_of, idx_bytes, png_of
from synthmill.config import DataConfig, ImageConfig, SplitConfig, parse_model
from synthmill.data.image_file import read_image
from synthmill.data.readers.base import Source, read_source
from synthmill.data.split import split_table
from synthmill.errors import DataError


def read(source: object, **fields: object) -> Source:
    return read_source(parse_model(DataConfig, {"source": str(source), "kind": "image", **fields}))


def pixels(source: Source) -> list[np.ndarray]:
    found = [read_image(cell["bytes"], ImageConfig()) for cell in source.table["image"].to_pylist()]
    assert all(image is not None for image in found)
    return found  # type: ignore[return-value]


def test_class_folders_give_their_names_as_labels(tmp_path: Path) -> None:
    source = read(class_folders(tmp_path / "pets"))
    assert source.table.column_names == ["image", "label"]
    assert source.table["label"].to_pylist() == ["cat"] * 4 + ["dog"] * 4
    assert source.table["image"][0].as_py()["path"] == "cat/0.png"
    assert len(pixels(source)) == 8
    assert source.notes == ()


def test_images_without_a_class_folder_have_no_labels(tmp_path: Path) -> None:
    for i in range(3):
        (tmp_path / f"{i}.png").write_bytes(png_of(np.full((4, 4), i, np.uint8)))
    assert read(tmp_path).table.column_names == ["image"]


def test_some_labelled_and_some_not_is_refused(tmp_path: Path) -> None:
    class_folders(tmp_path / "pets")
    (tmp_path / "pets" / "stray.png").write_bytes(png_of(np.zeros((8, 8), np.uint8)))
    with pytest.raises(DataError, match=r"1 images have no label while others do, stray\.png first"):
        read(tmp_path / "pets")


def test_renaming_a_class_makes_another_source(tmp_path: Path) -> None:
    before = read(class_folders(tmp_path / "a")).sha256
    class_folders(tmp_path / "b", names=("cat", "fox"))
    assert read(tmp_path / "b").sha256 != before


def test_digits_are_images_for_image_models_and_a_table_otherwise() -> None:
    source = read("sklearn://digits")
    assert source.table.num_rows == 1797
    assert np.array_equal(pixels(source)[5], digits()[0][5, 0])
    assert source.table["label"].to_pylist()[:3] == [0, 1, 2]
    assert read_source(parse_model(DataConfig, {"source": "sklearn://digits"})).table.num_columns == 65
    with pytest.raises(DataError, match="no scikit-learn images named 'faces'"):
        read("sklearn://faces")


@pytest.mark.parametrize("packed", [False, True])
def test_idx_files_with_their_labels(tmp_path: Path, packed: bool) -> None:
    images, labels = digits(20)
    end = ".gz" if packed else ""
    (tmp_path / f"train-images-idx3-ubyte{end}").write_bytes(idx_bytes(images[:, 0], packed=packed))
    (tmp_path / f"train-labels-idx1-ubyte{end}").write_bytes(
        idx_bytes(labels.astype(np.uint8), packed=packed)
    )
    for source in (read(tmp_path), read(tmp_path / f"train-images-idx3-ubyte{end}")):
        assert source.table["label"].to_pylist() == labels.tolist()
        assert np.array_equal(np.stack(pixels(source)), images[:, 0])


def test_idx_files_that_lie_plain_and_packed_are_read_once(tmp_path: Path) -> None:
    """torchvision's MNIST/raw has each file twice."""
    images, labels = digits(20)
    for packed, end in ((False, ""), (True, ".gz")):
        (tmp_path / f"train-images-idx3-ubyte{end}").write_bytes(idx_bytes(images[:, 0], packed=packed))
        (tmp_path / f"train-labels-idx1-ubyte{end}").write_bytes(
            idx_bytes(labels.astype(np.uint8), packed=packed)
        )
    assert read(tmp_path).table["label"].to_pylist() == labels.tolist()
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    for source in (tmp_path, tmp_path / "train-images-idx3-ubyte"):
        assert read(source).table["label"].to_pylist() == labels.tolist()


def test_a_image_named_like_an_idx_file_is_a_image(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "pets")
    (root / "cat" / "0.png").rename(root / "cat" / "one-idx.png")
    assert read(root).table.num_rows == 8


def test_folders_that_begin_with_an_underscore_are_skipped_with_a_note(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "pets", names=("cat", "_background_", ".thumbnails"))
    source = read(root)
    assert source.table["label"].to_pylist() == ["cat"] * 4
    assert source.notes == (
        "4 images skipped because a name begins with `_` (_background_); rename to use them",
    )


def test_idx_with_the_wrong_magic_or_cut_off(tmp_path: Path) -> None:
    images = digits(20)[0][:, 0]
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(idx_bytes(images, magic=b"\x00\x00\x0d\x03"))
    with pytest.raises(
        DataError, match="is not an IDX file of unsigned bytes: it begins with 00000d03, not 00000803"
    ):
        read(path)
    path.write_bytes(idx_bytes(images)[:-10])
    with pytest.raises(DataError, match="cut off: its header says 1,280 bytes of values, 1,270 are there"):
        read(path)
    path.write_bytes(idx_bytes(images, packed=True)[:-30])
    with pytest.raises(DataError, match="damaged gzip"):
        read(path)
    path.write_bytes(idx_bytes(images[:, 0]))
    with pytest.raises(DataError, match="has 2 dimensions where 3 are needed"):
        read(path)


def test_idx_labels_of_another_length(tmp_path: Path) -> None:
    (tmp_path / "a-images-idx3-ubyte").write_bytes(idx_bytes(digits(20)[0][:, 0]))
    (tmp_path / "a-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(19, np.uint8)))
    with pytest.raises(DataError, match=r"has 20 images but .* has 19 labels"):
        read(tmp_path)


def test_parquet_with_image_structs(tmp_path: Path) -> None:
    images, labels = digits(6)
    cells = [{"bytes": png_of(image[0]), "path": None} for image in images]
    pq.write_table(
        pa.table({"id": range(6), "image": cells, "label": labels.tolist()}), tmp_path / "train.parquet"
    )
    source = read(tmp_path / "train.parquet")
    assert source.table["label"].to_pylist() == labels.tolist()
    assert source.table["image"].to_pylist()[2]["path"] == "train.parquet/000002"
    with pytest.raises(DataError, match=r"data\.target: train\.parquet has no column 'lable'"):
        read(tmp_path / "train.parquet", target="lable")
    pq.write_table(pa.table({"x": [1, 2]}), tmp_path / "train.parquet")
    with pytest.raises(DataError, match="no column of images"):
        read(tmp_path / "train.parquet")


def test_an_empty_folder_and_a_folder_of_other_things(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no images at .*empty"):
        read(tmp_path / "empty")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match="holds no images"):
        read(tmp_path)
    with pytest.raises(DataError, match=r"no images at .*nowhere"):
        read(tmp_path / "nowhere")


def test_one_class_is_a_class(tmp_path: Path) -> None:
    assert read(class_folders(tmp_path / "pets", names=("cat",))).table["label"].to_pylist() == ["cat"] * 4


def test_mixed_sizes_need_a_size(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "pets")
    (root / "cat" / "9.png").write_bytes(png_of(np.zeros((6, 10), np.uint8)))
    with pytest.raises(DataError, match=r"cat/0\.png is 8x8, cat/9\.png is 10x6\); set data\.image\.size"):
        read(root)
    assert {image.shape for image in pixels(read(root, image={"size": 6}))} == {(6, 6)}
    assert {image.shape for image in pixels(read(root, image={"size": [4, 6]}))} == {(4, 6)}


@pytest.mark.parametrize(("fit", "corner", "middle"), [("crop", 255, 0), ("pad", 7, 0), ("stretch", 255, 0)])
def test_how_another_shape_is_made_to_fit(tmp_path: Path, fit: str, corner: int, middle: int) -> None:
    """A wide image, white in the left and right quarter: cropped away, kept small, or squeezed."""
    wide = np.full((8, 16), 255, np.uint8)
    wide[:, 6:10] = 0
    for i in range(2):
        (tmp_path / f"{i}.png").write_bytes(png_of(wide))
    image = pixels(read(tmp_path, image={"size": 8, "fit": fit, "background": 7}))[0]
    assert abs(int(image[0, 0]) - corner) < 20
    assert abs(int(image[4, 4]) - middle) < 20
    assert (image[0] == 7).all() == (fit == "pad")


def test_modes_become_gray_or_colour(tmp_path: Path) -> None:
    """16 bits, palettes, alpha and one bit; gray as long as no image has colour."""
    gray = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    deep = Image.fromarray(gray.astype(np.uint16) * 257)
    files = {
        "deep.png": file_of(deep),
        "gray.png": png_of(gray),
        "palette.png": png_of(gray, "P"),
        "bit.png": png_of(gray, "1"),
        "alpha.png": file_of(
            Image.merge(
                "LA", [Image.fromarray(gray), Image.fromarray(np.where(gray < 128, 0, 255).astype(np.uint8))]
            )
        ),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    found = dict(zip(sorted(files), pixels(read(tmp_path)), strict=True))
    assert {image.shape for image in found.values()} == {(8, 8)}
    assert np.array_equal(found["deep.png"], gray)
    assert np.array_equal(found["palette.png"], gray)
    assert np.array_equal(found["alpha.png"], np.where(gray < 128, 255, gray)), (
        "transparent pixels show the background"
    )
    (tmp_path / "colour.png").write_bytes(png_of(np.stack([gray, gray // 2, gray * 0], 2)))
    assert {image.shape for image in pixels(read(tmp_path))} == {(8, 8, 3)}
    assert {image.shape for image in pixels(read(tmp_path, image={"channels": 1}))} == {(8, 8)}


@pytest.mark.parametrize("level", [200, 300])
def test_dark_pnm_files_of_16_bits_stay_dark(tmp_path: Path, level: int) -> None:
    for i in range(2):
        (tmp_path / f"{i}.pgm").write_bytes(b"P5 4 4 65535\n" + np.full((4, 4), level, ">u2").tobytes())
    assert {int(value) for value in pixels(read(tmp_path))[0].ravel()} == {1}


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_gray_palette_with_transparency_is_gray(tmp_path: Path, kind: str) -> None:
    gray = np.arange(64, dtype=np.uint8).reshape(8, 8)
    image = Image.fromarray(gray).convert("P")
    image.putpalette([value for level in range(256) for value in (level, level, level)])
    for i in range(2):
        (tmp_path / f"{i}.{kind.lower()}").write_bytes(file_of(image, kind, transparency=0))
    found = pixels(read(tmp_path))[0]
    assert found.shape == (8, 8)
    assert np.array_equal(found, np.where(gray == 0, 255, gray))
    image.putpalette([value for level in range(256) for value in (level, 0, 0)])
    (tmp_path / "red.png").write_bytes(file_of(image, transparency=0))
    assert pixels(read(tmp_path))[0].shape == (8, 8, 3)


def test_broken_files_are_counted_named_and_skipped_up_to_a_limit(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "pets", per_class=40)
    whole = (root / "cat" / "0.png").read_bytes()
    (root / "cat" / "0.png").write_bytes(whole[: len(whole) // 2])
    source = read(root)
    assert source.table.num_rows == 79
    assert len(source.notes) == 1
    assert source.notes[0].startswith("1 of 80 images can't be read: cat/0.png (")
    (root / "dog" / "1.png").write_bytes(b"")
    with pytest.raises(
        DataError, match=r"2 of 80 images can't be read: cat/0\.png .*, dog/1\.png \(empty file\)"
    ):
        read(root)
    assert read(root, image={"max_broken_share": 0.02}).table.num_rows == 78


def test_a_text_file_named_png_is_broken(tmp_path: Path) -> None:
    for i in range(2):
        (tmp_path / f"{i}.png").write_text("no image")
    with pytest.raises(DataError, match=r"2 of 2 images can't be read: 0\.png \(not an image\)"):
        read(tmp_path)


def test_equal_images_stay_on_one_side_of_a_split(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "pets", per_class=60)
    for i in range(30):
        (root / "cat" / f"copy{i}.png").write_bytes((root / "cat" / f"{i}.png").read_bytes())
    source = read(root)
    parts = split_table(source.table, SplitConfig(), sha256=source.sha256)
    sides = [
        {cell["bytes"] for cell in part["image"].to_pylist()}
        for part in (parts.train, parts.validation, parts.holdout)
    ]
    assert all(sides)
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]
