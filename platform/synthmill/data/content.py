"""What a file's bytes are: unpacked, and of which format."""

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable

import pyarrow as pa

from synthmill import registry
from synthmill.data.formats.base import FIELD, Format
from synthmill.errors import DataError

FOLDER = "data/formats"
TEXT = "csv"
"""The format of text that no other format claims."""
_PACKED_TWICE = 3
PACKED_ENDINGS = (".gz", ".gzip", ".bz2", ".zst", ".zstd", ".xz", ".lz4", ".zip")
_PACKERS: tuple[tuple[bytes, str, Callable[[bytes], bytes]], ...] = (
    (b"\x1f\x8b", "gzip", gzip.decompress),
    (b"BZh", "bzip2", bz2.decompress),
    (b"\xfd7zXZ\0", "xz", lzma.decompress),
    (b"\x28\xb5\x2f\xfd", "zstd", lambda data: _by_arrow(data, "zstd")),
    (b"\x04\x22\x4d\x18", "lz4", lambda data: _by_arrow(data, "lz4")),
)
_FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"SQLite format 3\0", "an SQLite database; write sqlite:///PATH?table=NAME"),
    (b"\x89PNG\r\n", "a PNG image; set data.kind: image"),
    (b"\xff\xd8\xff", "a JPEG image; set data.kind: image"),
    (b"FEA1", "a Feather file of version 1; write it again, as version 2"),
    (b"%PDF-", "a PDF document; export its table as CSV"),
    (b"\x89HDF\r\n", "an HDF5 file; save it as Parquet"),
    (b"<stata_dta>", "a Stata file; save it as Parquet or CSV"),
    (b"$FL2", "an SPSS file; save it as Parquet or CSV"),
    (b"RDX", "a file of R's save(); write it with arrow::write_parquet or write.csv"),
    (b"version https://git-lfs", "a pointer of Git LFS; run git lfs pull"),
    (b"\x80\x03", "a Python pickle, which can run code; save it as Parquet"),
    (b"\x80\x04", "a Python pickle, which can run code; save it as Parquet"),
    (b"\x80\x05", "a Python pickle, which can run code; save it as Parquet"),
    (b"\x93NUMPY", "a NumPy array; save it as Parquet or CSV"),
    (b"<!doctype html", "a web page; download the file that it shows"),
    (b"<html", "a web page; download the file that it shows"),
    (b"<?xml", "an XML document; save its table as CSV"),
)
"""Beginnings, in lower case where they are text, and what has them."""


def unpack(data: bytes, name: str) -> tuple[bytes, str]:
    """The bytes without compression, whatever the name ends in, and the name without its ending.

    Raises:
        DataError: damaged, or a ZIP archive of several files.
    """
    for _ in range(_PACKED_TWICE):
        packer = next((packer for packer in _PACKERS if data.startswith(packer[0])), None)
        if packer is None and (data[:4] != b"PK\x03\x04" or claimed(data) is not None):
            break
        kind = packer[1] if packer else "zip"
        try:
            data = packer[2](data) if packer else _only_member(data, name)
        except (OSError, EOFError, ValueError, RuntimeError, zlib.error, lzma.LZMAError, pa.ArrowException,
                zipfile.BadZipFile) as fault:  # fmt: skip
            raise DataError(
                f"{name} can't be read as {kind} ({str(fault).splitlines()[0][:100]})", field=FIELD
            ) from None
        name = _without(name)
    return data, name


def packer_of(begin: bytes) -> str | None:
    """How a file that begins so is compressed, `zip` among the ways; None: it is not."""
    if begin[:4] == b"PK\x03\x04":
        return "zip"
    return next((kind for magic, kind, _ in _PACKERS if begin.startswith(magic)), None)


def format_of(data: bytes, name: str) -> tuple[type[Format], tuple[str, ...]]:
    """The format that the bytes have, and a note where the name says another.

    Raises:
        DataError: no table; says what it is and what to do.
    """
    if not data.strip():
        raise DataError(f"{name} is empty; it needs a header line and rows", field=FIELD)
    begin = data[:64].lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    what = next((what for magic, what in _FOREIGN if data.startswith(magic) or begin.startswith(magic)), None)
    if what is not None:
        raise DataError(f"{name} is {what}", field=FIELD)
    said, found = named_format(name), claimed(data)
    if found is None and said is not None and said is not text_format() and not _is_text(data):
        raise DataError(
            f"{name} can't be read as {said.shown.name} (it begins with {data[:4].hex()}); check where it"
            " comes from",
            field=FIELD,
        )
    found = found or text_format()
    if said is None or said is found:
        return found, ()
    return found, (f"{name} holds {found.shown.name}, not {said.shown.name}, and is read as that; rename it",)


def formats() -> list[type[Format]]:
    """Every format, the one of plain text last."""
    names = sorted(registry.names(FOLDER), key=lambda name: (name == TEXT, name))
    return [registry.load(FOLDER, name, Format) for name in names]


def text_format() -> type[Format]:
    """What text is read as that no format claims."""
    return registry.load(FOLDER, TEXT, Format)


def named_format(name: str) -> type[Format] | None:
    """The format that the name's ending says, without the ending of a compression."""
    plain = _without(name).lower()
    return next((found for found in formats() if plain.endswith(found.shown.endings)), None)


def claimed(data: bytes) -> type[Format] | None:
    """The format whose mark the bytes begin with."""
    return next((found for found in formats() if found.is_in(data)), None)


def _without(name: str) -> str:
    lower = name.lower()
    return next((name[: -len(end)] for end in PACKED_ENDINGS if lower.endswith(end)), name)


def _is_text(data: bytes) -> bool:
    # UTF-16 has a mark or zeros in every other byte; the text format looks closer.
    return b"\0" not in data[:4096] or data[:2] in (b"\xff\xfe", b"\xfe\xff")


def _by_arrow(data: bytes, kind: str) -> bytes:
    content: bytes = pa.CompressedInputStream(pa.BufferReader(data), kind).read()
    return content


def _only_member(data: bytes, name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [
            member for member in archive.infolist()
            if not member.is_dir() and not member.filename.startswith("__MACOSX/")
        ]  # fmt: skip
        if len(members) != 1:
            some = ", ".join(member.filename for member in members[:5]) or "nothing"
            raise DataError(
                f"{name} holds {len(members)} files ({some}); unpack it and name one", field=FIELD
            )
        return archive.read(members[0])
