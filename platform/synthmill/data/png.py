"""PNG files of 8-bit gray or RGB pixels, written the same way every time (ISO/IEC 15948:2004, W3C PNG third
edition).

A writer of our own because its bytes must not change with an imaging library's version, and because a 28x28
image costs it a third of the time. Files have one IDAT chunk, row filter 0 and no timestamp. Pillow
reads them back, as it reads all others.
"""

import struct
import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
XMP_KEYWORD = b"XML:com.adobe.xmp"
_XMP_HEAD = XMP_KEYWORD + b"\x00\x00\x00\x00\x00"
_LEVEL = 6
_SMALL, _SMALL_WINDOW, _SMALL_MEMORY = 4_096, 12, 4
"""Bytes up to which only runs are looked for, in small tables: for images like digits a third faster and no
larger."""
_GRAY, _RGB = 0, 2
_IEND = b"\x00\x00\x00\x00IEND\xaeB\x60\x82"


def encode(pixels: Pixels, *, xmp: bytes | None = None) -> bytes:
    """A PNG file of pixels (H, W) or (H, W, 3), with an XMP packet in an uncompressed iTXt chunk before the
    pixels."""
    return encode_all(pixels[None], None if xmp is None else [xmp])[0]


def encode_all(pixels: Pixels, xmp: Sequence[bytes] | None = None) -> list[bytes]:
    """PNG files of pixels (N, H, W) or (N, H, W, 3), each the same whichever others there are."""
    assert pixels.dtype == np.uint8, f"cannot write {pixels.dtype}"
    assert pixels.ndim == 3 or pixels.shape[3] == 3, f"cannot write {pixels.shape}"
    count, height, width = pixels.shape[:3]
    rows = np.zeros((count, height, 1 + pixels[0, 0].size), np.uint8)
    rows[..., 1:] = pixels.reshape(count, height, -1)
    head = SIGNATURE + _chunk(
        b"IHDR", struct.pack(">IIBBBBB", width, height, 8, _GRAY if pixels.ndim == 3 else _RGB, 0, 0, 0)
    )
    size = rows[0].size
    small, flat = size <= _SMALL, memoryview(rows.tobytes())
    files = []
    for i in range(count):
        label = _chunk(b"iTXt", _XMP_HEAD + xmp[i]) if xmp is not None else b""
        files.append(
            b"".join((head, label, _chunk(b"IDAT", _deflate(flat[i * size : (i + 1) * size], small)), _IEND))
        )
    return files


def _deflate(data: memoryview, small: bool) -> bytes:
    if not small:
        return zlib.compress(data, _LEVEL)
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _SMALL_WINDOW, _SMALL_MEMORY, zlib.Z_RLE)
    return packer.compress(data) + packer.flush()


def xmp_of(data: bytes) -> bytes | None:
    """The XMP packet of a PNG file; None when it has none."""
    at = 8
    while data[:8] == SIGNATURE and at + 8 <= len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + size]
        if kind == b"iTXt" and body.startswith(XMP_KEYWORD + b"\x00"):
            return body[len(XMP_KEYWORD) + 5 :]
        at += 12 + size
    return None


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))
