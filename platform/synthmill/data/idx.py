"""IDX files, the format of MNIST: big-endian magic (0, 0, type, dimensions), one size a dimension, then the
values; gzip too."""

import gzip
import struct
import zlib

import numpy as np
import numpy.typing as npt

from synthmill.errors import DataError

_UNSIGNED_BYTE = 0x08
_GZIP = b"\x1f\x8b"


def read_idx(data: bytes, *, name: str, dimensions: int) -> npt.NDArray[np.uint8]:
    """The array of unsigned bytes in an IDX file.

    Raises:
        DataError: another magic, cut off, or not `dimensions` dimensions; names the file.
    """
    if data[:2] == _GZIP:
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error):
            raise DataError(f"{name} is a damaged gzip file", field="data.source") from None
    if len(data) < 4 or data[:2] != b"\x00\x00" or data[2] != _UNSIGNED_BYTE:
        raise DataError(
            f"{name} is not an IDX file of unsigned bytes: it begins with {data[:4].hex()}, not"
            f" 000008{dimensions:02x}",
            field="data.source",
        )
    if data[3] != dimensions:
        raise DataError(f"{name} has {data[3]} dimensions where {dimensions} are needed", field="data.source")
    start = 4 + 4 * dimensions
    shape = struct.unpack(f">{dimensions}I", data[4:start]) if len(data) >= start else ()
    size = int(np.prod(shape, dtype=np.int64)) if shape else -1
    if len(data) - start != size:
        raise DataError(
            f"{name} is cut off: its header says {size:,} bytes of values, {max(0, len(data) - start):,} are"
            " there",
            field="data.source",
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)
