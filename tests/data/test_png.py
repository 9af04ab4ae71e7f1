"""Our PNG files are PNG files, and always the same."""

import contextlib
import hashlib
import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from synthmill.config import ImageConfig
from synthmill.data import png
from synthmill.data.image_file import BrokenImageError, read_image


@pytest.mark.parametrize("shape", [(8, 8), (1, 1), (5, 7, 3)])
def test_pillow_reads_what_we_write(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    data = png.encode(pixels, xmp=b"<x/>")
    image = Image.open(io.BytesIO(data))
    assert np.array_equal(np.asarray(image), pixels)
    assert image.info["xmp"] == b"<x/>"
    assert np.array_equal(read_image(data, ImageConfig()), pixels)
    assert png.xmp_of(data) == b"<x/>"
    assert png.xmp_of(png.encode(pixels)) is None


def test_everything_but_the_compressed_pixels_is_fixed() -> None:
    data = png.encode(np.zeros((2, 2), np.uint8), xmp=b"<x/>")
    head = data[: data.index(b"IDAT") - 4]
    assert (
        hashlib.sha256(head).hexdigest() == "877e5cd1a55c5967c29f1559def29b2a095fec3c4adbdafea1ff42db04b84dea"
    )


def file_with(width: int, height: int, packed: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG file of 8-bit gray, whether its pixels are right or not."""
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        *chunks,
        (b"IDAT", packed),
        (b"IEND", b""),
    ]
    return png.SIGNATURE + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts
    )


@pytest.mark.parametrize("size", [8, 10, 16, 20, 28, 30, 33, 40])
def test_a_file_cut_in_its_head_is_broken(size: int) -> None:
    data = png.encode(np.zeros((8, 8), np.uint8))[:size]
    with pytest.raises(BrokenImageError):
        read_image(data, ImageConfig())


@pytest.mark.parametrize(("width", "height"), [(0, 0), (0, 5), (5, 0), (1 << 31, 1 << 31), (60_000, 60_000)])
def test_a_size_that_no_image_has_is_broken(width: int, height: int) -> None:
    data = file_with(width, height, zlib.compress(b"\0" * height if height < 9 else b""))
    with pytest.raises(BrokenImageError):
        read_image(data, ImageConfig(size=4))


def test_no_more_is_unpacked_than_the_image_takes() -> None:
    data = file_with(2, 2, zlib.compress(bytes(30_000_000), 9))
    tracemalloc.start()
    try:
        with contextlib.suppress(BrokenImageError):
            read_image(data, ImageConfig())
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_pixels_that_end_early_are_broken() -> None:
    data = png.encode(np.arange(64, dtype=np.uint8).reshape(8, 8))
    with pytest.raises(BrokenImageError):
        read_image(data[: len(data) // 2], ImageConfig())
    with pytest.raises(BrokenImageError):
        read_image(file_with(2, 2, b""), ImageConfig())


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


@pytest.mark.parametrize(
    "chunk",
    [
        (b"eXIf", b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"),
        (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
        (b"iTXt", b"XML:com.adobe.xmp\0\x01\0\0\0" + zlib.compress(XMP)),
    ],
    ids=["exif", "xmp", "packed-xmp"],
)
def test_a_image_that_lies_on_its_side_is_turned(chunk: tuple[bytes, bytes]) -> None:
    rows = np.array([[0, 1, 2], [0, 3, 4]], np.uint8)
    data = file_with(2, 2, zlib.compress(rows.tobytes()), chunk)
    assert read_image(data, ImageConfig()).tolist() == [[3, 1], [4, 2]]
