"""Our PNG files are PNG files, and always the same."""

import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from pictures import file_of
from synthmill.data import png


@pytest.mark.parametrize("shape", [(8, 8), (1, 1), (5, 7, 3)])
def test_pillow_reads_what_we_write(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    data = png.encode(pixels, xmp=b"<x/>")
    image = Image.open(io.BytesIO(data))
    assert np.array_equal(np.asarray(image), pixels)
    assert image.info["xmp"] == b"<x/>"
    found = png.decode(data)
    assert found is not None
    assert np.array_equal(found, pixels)
    assert png.xmp_of(data) == b"<x/>"
    assert png.xmp_of(png.encode(pixels)) is None


def test_everything_but_the_compressed_pixels_is_fixed() -> None:
    data = png.encode(np.zeros((2, 2), np.uint8), xmp=b"<x/>")
    head = data[: data.index(b"IDAT") - 4]
    assert hashlib.sha256(head).hexdigest() == "877e5cd1a55c5967c29f1559def29b2a095fec3c4adbdafea1ff42db04b84dea"


@pytest.mark.parametrize("data", [b"", b"GIF89a", file_of(Image.new("RGBA", (4, 4))), file_of(Image.new("P", (4, 4)))])
def test_other_files_are_left_to_others(data: bytes) -> None:
    assert png.decode(data) is None


def test_damage_is_seen() -> None:
    data = png.encode(np.arange(64, dtype=np.uint8).reshape(8, 8))
    assert png.decode(data[: len(data) // 2]) is None
