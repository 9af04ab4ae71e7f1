"""What every format of a table's file does. One file a format; its name is its registry entry.

A format is chosen by what a file holds, not by what its name ends in: a name can be wrong, the first bytes of
Parquet, Arrow, ORC, Avro and Excel files can't.
"""

import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

import pyarrow as pa

from synthmill.errors import DataError
from synthmill.storage.uri import redact

FIELD = "data.source"
BLOCK_ROWS = 65_536
CELL_BYTES = 84
"""What training holds for each cell of a table that it reads whole, as measured (docs/scale.md)."""
TEXT_BYTES = 12
"""The same for each byte of a file of text."""
PACKED = 5
"""About so many bytes come of one that is compressed."""
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the recipe says of how files are written; null: seen from the file."""

    header: bool | None = None
    """Whether the first line holds column names."""
    columns: tuple[str, ...] | None = None
    """Names of the columns of a file without a header, or in place of its own."""
    delimiter: str | None = None
    encoding: str | None = None
    footer_rows: int | None = None
    """Lines at the end that are no rows."""
    sheet: str | None = None


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """The table in a file, as written."""

    table: pa.Table
    """The schema's metadata is the file's own."""
    cells: frozenset[str] = frozenset()
    """String columns whose type the format does not say, as in CSV: it follows from their values."""
    notes: tuple[str, ...] = ()
    """What was decided that a person might want otherwise."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """How a format is named in messages."""

    name: str
    """As in `x.csv is a Parquet file`."""
    extra: str | None = None
    """The extra of the package that brings its library."""
    endings: tuple[str, ...] = field(default=())


class File(ABC):
    """A file that is read in blocks, as often as it takes."""

    name: str
    num_bytes: int
    """As stored."""
    head: bytes
    """The first bytes, unpacked."""
    is_packed: bool
    """Whether it is compressed as a whole, so that it can only be read from its beginning."""

    @abstractmethod
    def chunks(self) -> Iterator[bytes]:
        """The bytes in order, unpacked; each pass hashes what is stored.

        Raises:
            DataError: damaged.
        """

    @abstractmethod
    def open(self) -> Any:
        """A seekable PyArrow file of the bytes as stored, none of which is hashed."""


class Blocks(ABC):
    """A file's rows, block by block, as written: what `Format.parse` gives, never all at once."""

    schema: pa.Schema
    """Columns of the blocks, and the file's own metadata."""
    cells: frozenset[str] = frozenset()
    num_rows: int | None = None
    """Where it is known before they are read."""
    reads_stored: bool = False
    """Whether reading the blocks reads every stored byte through `File.chunks`."""
    groups: tuple[int, ...] | None = None
    """Rows of each stretch that can be read without those before it; None: only the file's first row can."""

    @property
    @abstractmethod
    def weight_bytes(self) -> int:
        """About what `Format.parse` and all that follows would hold in memory."""

    @abstractmethod
    def read(self, names: list[str] | None = None) -> Iterator[pa.Table]:
        """The blocks in order, with some of the columns at least."""

    def read_groups(self, first: int, stop: int) -> Iterator[pa.Table]:
        """The blocks of some of the `groups`, from one up to another."""
        raise NotImplementedError("only files with `groups`")

    def left_out(self) -> tuple[frozenset[str], tuple[str, ...]]:
        """Columns without name or value, and what a person should know; asked for after the first pass, which
        later ones heed."""
        return frozenset(), ()


class WholeError(Exception):
    """A file can't be read in blocks; says why, in words that follow `because`."""


class Format(ABC):
    """One format of files that hold tables."""

    shown: ClassVar[Shown]
    whole_bytes: ClassVar[int] = TEXT_BYTES
    """About what training holds for each byte of a file that it reads whole."""

    @classmethod
    @abstractmethod
    def is_in(cls, data: bytes) -> bool:
        """Whether the bytes begin as the format's files do."""

    @classmethod
    @abstractmethod
    def parse(cls, data: bytes, name: str, options: Options) -> Parsed:
        """The table in a file's bytes.

        Raises:
            DataError: one line that names the file, and where it can the line in it and the fix.
        """

    @classmethod
    def blocks(cls, file: File, options: Options) -> Blocks:
        """The file's rows in blocks.

        Raises:
            WholeError: files of this format, or this one, can only be read whole.
            DataError: as `parse`.
        """
        raise WholeError(f"{cls.shown.name} files are read whole")


class ChunkReader(io.RawIOBase):
    """Bytes that come in chunks, as a file that is read from the first to the last; an `io.BufferedReader`
    around it gives as many at a time as are asked for."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest and (chunk := next(self._chunks, None)) is not None:
            self._rest = memoryview(chunk)
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


def guarded(read: Callable[[], T], name: str, kind: str) -> T:
    """What `read` returns; Arrow's faults become one line."""
    try:
        return read()
    except (pa.ArrowException, OSError, EOFError, ValueError, OverflowError) as fault:
        text = redact(str(fault) or type(fault).__name__)
        raise DataError(f"{name} can't be read as {kind} ({text[:120]})", field=FIELD) from None


def check_names(names: list[str], name: str) -> None:
    """Refuse two columns of one name."""
    twice = next((column for i, column in enumerate(names) if column in names[:i]), None)
    if twice is not None:
        raise DataError(f"{name} has two columns named {twice!r}; rename one", field=FIELD)


def missing_library(shown: Shown, name: str) -> DataError:
    """The error for a format whose library is not installed."""
    return DataError(
        f"{name} is {shown.name}, which needs another library; pip install 'synthmill[{shown.extra}]', or"
        " save it as Parquet or CSV",
        field=FIELD,
    )
