"""Encoded training rows on disk, for sources that are larger than memory: written once, in order, and
memory-mapped from then on.

A row is one record of narrow numbers (codes of one, two or four bytes, as their spans are wide; positions as
float32, so that what a step reads is what the codec made, to the bit). Records lie in parts of `PART_ROWS`
rows. With `by_code` each part has an index beside it: of each category span, the part's rows in order of
their codes. How often each code stands in each part is a file of its own. `index.json`, with sizes and
SHA-256 of all these, is written last: without it there are no shards.
"""

import contextlib
import hashlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from synthmill.config import FrozenModel, dump, parse_model
from synthmill.data.batch import Batch
from synthmill.data.columns import Int64
from synthmill.data.layout import MixedLayout
from synthmill.errors import IntegrityError, MissingError, StorageError
from synthmill.storage.folder import Folder

FORMAT = "synthmill.shards/1"
INDEX = "index.json"
COUNTS = "counts.bin"
BLOCK_ROWS = 4096
PART_ROWS = 256 * BLOCK_ROWS
"""1,048,576 rows: some 50 MB at 15 columns, all of which the writer holds in memory."""

Bytes: TypeAlias = npt.NDArray[np.uint8]


class ShardFile(FrozenModel):
    """One file as it was written."""

    name: str
    bytes: int
    sha256: str


class ShardIndex(FrozenModel):
    """`index.json`."""

    format: str = FORMAT
    key: str
    """Of what determines the records: shards of another key are not these."""
    rows: int
    part_rows: int
    """Rows of every part but the last."""
    layout: MixedLayout
    parts: tuple[ShardFile, ...]
    orders: tuple[ShardFile, ...]
    """The index of each part by code; () without one."""
    counts: ShardFile

    @property
    def files(self) -> tuple[ShardFile, ...]:
        return (*self.parts, *self.orders, self.counts)


@dataclass(frozen=True)
class Record:
    """Where the numbers of a row stand in its bytes; follows from the layout alone."""

    dtype: np.dtype[Any]
    codes: Mapping[str, list[int]]
    """Field -> the discrete spans whose codes it has, in order."""
    values: int
    spans: tuple[int, ...]
    """The category spans, which can be looked up by code."""
    widths: tuple[int, ...]
    """Number of codes of each of these."""

    @classmethod
    def of(cls, layout: MixedLayout) -> "Record":
        codes: dict[str, list[int]] = {"int32": [], "uint16": [], "uint8": []}
        for number, span in enumerate(layout.discrete):
            codes["uint8" if span.width <= 1 << 8 else "uint16" if span.width <= 1 << 16 else "int32"].append(
                number
            )
        values = len(layout.numeric)
        # The widest first, and a whole number of words: every number is aligned.
        fields = [("values", "<f4", (values,))] if values else []
        fields += [
            (name, np.dtype(name).newbyteorder("<").str, (len(of),)) for name, of in codes.items() if of
        ]
        size = np.dtype(fields).itemsize
        if size % 4:
            fields.append(("padding", "|u1", (4 - size % 4,)))
        spans = tuple(number for number, span in enumerate(layout.discrete) if span.role == "category")
        widths = tuple(layout.discrete[number].width for number in spans)
        return cls(np.dtype(fields), {name: of for name, of in codes.items() if of}, values, spans, widths)

    def write(self, batch: Batch, out: npt.NDArray[Any]) -> None:
        """The rows of a batch as records, into `out` (N,)."""
        codes, values = batch["codes"].numpy(), batch["values"].numpy()
        for name, spans in self.codes.items():
            out[name] = codes[:, spans]
        if self.values:
            out["values"] = values

    def read(self, records: Bytes) -> Batch:
        """The batch, as the codec made it, of the bytes of records (N, bytes of a record)."""
        rows = records.reshape(-1).view(self.dtype)
        codes = np.empty((len(rows), sum(map(len, self.codes.values()))), np.int64)
        for name, spans in self.codes.items():
            codes[:, spans] = rows[name]
        values = rows["values"] if self.values else np.zeros((len(rows), 0), np.float32)
        return Batch(codes=torch.from_numpy(codes), values=torch.from_numpy(np.ascontiguousarray(values)))


class ShardWriter:
    """Writes encoded batches in order; `finish` makes them count. Left by an error, it leaves nothing."""

    def __init__(
        self, folder: Folder, layout: MixedLayout, *, key: str, by_code: bool, part_rows: int = PART_ROWS
    ) -> None:
        """`by_code`: the rows will be looked up by their codes, too."""
        self._folder, self._layout, self._key, self._by_code = folder, layout, key, by_code
        self._record = Record.of(layout)
        self._part = np.zeros(part_rows, self._record.dtype)
        self._filled = 0
        self._rows = 0
        self._parts: list[ShardFile] = []
        self._orders: list[ShardFile] = []
        self._counts: list[Int64] = []

    def __enter__(self) -> Self:
        # What an earlier attempt left is of no use, and must not be taken for ours.
        self._folder.delete_tree()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            # Encoded rows are as private as the source; a store that fails now is why we are here.
            with contextlib.suppress(StorageError):
                self._folder.delete_tree()

    def write(self, batch: Batch) -> None:
        """The next rows."""
        done = 0
        while done < batch.num_rows:
            size = min(len(self._part) - self._filled, batch.num_rows - done)
            self._record.write(
                batch.take(slice(done, done + size)), self._part[self._filled : self._filled + size]
            )
            self._filled += size
            done += size
            if self._filled == len(self._part):
                self._end_part()

    def finish(self) -> ShardIndex:
        """Write the last part, and then the index.

        Raises:
            StorageError: a full disk, or a store that can't be written.
        """
        if self._filled:
            self._end_part()
        counts = np.stack(self._counts) if self._counts else np.zeros((0, sum(self._record.widths)), np.int64)
        index = ShardIndex(
            key=self._key,
            rows=self._rows,
            part_rows=len(self._part),
            layout=self._layout,
            parts=tuple(self._parts),
            orders=tuple(self._orders),
            counts=self._put(COUNTS, counts),
        )
        self._folder.write_json(INDEX, dump(index))
        return index

    def _end_part(self) -> None:
        rows, number = self._part[: self._filled], len(self._parts)
        self._parts.append(self._put(f"part-{number:05d}.records", rows))
        columns = [self._column(rows, span) for span in self._record.spans]
        counts = [
            np.bincount(column, minlength=width)
            for column, width in zip(columns, self._record.widths, strict=True)
        ]
        self._counts.append(np.concatenate([*counts, np.zeros(0, np.int64)]).astype(np.int64))
        if self._by_code:
            # Stable sorts of one or two bytes are radix sorts: one pass a byte.
            orders = [np.argsort(column, kind="stable").astype("<u4") for column in columns]
            self._orders.append(self._put(f"part-{number:05d}.order", np.concatenate(orders)))
        self._rows += self._filled
        self._filled = 0

    def _column(self, rows: npt.NDArray[Any], span: int) -> npt.NDArray[Any]:
        name = next(name for name, spans in self._record.codes.items() if span in spans)
        return np.ascontiguousarray(rows[name][:, self._record.codes[name].index(span)])

    def _put(self, name: str, array: npt.NDArray[Any]) -> ShardFile:
        data = array.tobytes()
        self._folder.write_bytes(name, data)
        return ShardFile(name=name, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


class EncodedRows:
    """Shards on this machine's disk, memory-mapped."""

    def __init__(self, path: Path, index: ShardIndex) -> None:
        self.index = index
        self.num_rows = index.rows
        self.layout = index.layout
        self.record = Record.of(index.layout)
        size = self.record.dtype.itemsize
        self._parts = [_mapped(path / file.name, np.uint8).reshape(-1, size) for file in index.parts]
        spans = len(self.record.spans)
        self._orders = [
            _mapped(path / file.name, np.dtype("<u4")).reshape(spans, -1) for file in index.orders
        ]
        self.counts_PF = np.fromfile(path / index.counts.name, "<i8").reshape(len(index.parts), -1)
        """Rows of each part that have each code of each category span, one span after the other."""

    def take(self, index: Tensor | slice) -> Batch:
        """The rows at `index` (int64 (M,), or a slice), in that order, as the codec made them."""
        if isinstance(index, slice):
            first, last, _ = index.indices(self.num_rows)
            return self.record.read(self.records(first, max(first, last)))
        rows = index.cpu().numpy()
        out = np.empty((len(rows), self.record.dtype.itemsize), np.uint8)
        part, within = np.divmod(rows, self.index.part_rows)
        for number in np.unique(part):
            here = np.flatnonzero(part == number)
            out[here] = np.take(self._parts[number], within[here], axis=0)
        return self.record.read(out)

    def records(self, first: int, last: int) -> Bytes:
        """The bytes of the records `first .. last`, copied (last - first, bytes of a record)."""
        out = np.empty((last - first, self.record.dtype.itemsize), np.uint8)
        at = first
        while at < last:
            part, within = divmod(at, self.index.part_rows)
            size = min(self.index.part_rows - within, last - at)
            out[at - first : at - first + size] = self._parts[part][within : within + size]
            at += size
        return out

    def in_order(self, part: int, span: int, at: Int64) -> Int64:
        """Row numbers of the `at`-th (M,) rows of a part in order of the codes of its category span number
        `span`."""
        rows: Int64 = self._orders[part][span, at].astype(np.int64) + part * self.index.part_rows
        return rows

    def batches(self, rows: int = 16 * BLOCK_ROWS) -> Iterator[Batch]:
        """All rows in order, some at a time."""
        for start in range(0, self.num_rows, rows):
            yield self.take(slice(start, start + rows))


def find_index(folder: Folder, key: str) -> ShardIndex | None:
    """The index of finished shards of that key; None: they are still to be made."""
    try:
        index = folder.read_json(INDEX)
    except MissingError:
        return None
    # Of another key, or of another version of this program: they are made again.
    return parse_model(ShardIndex, index) if (index["format"], index["key"]) == (FORMAT, key) else None


def check_shards(folder: Folder, index: ShardIndex) -> None:
    """Read all files.

    Raises:
        IntegrityError: one that is damaged; names it.
    """
    for file in index.files:
        try:
            sha256, size = folder.digest(file.name)
        except MissingError:
            raise IntegrityError(f"{folder.uri_of(file.name)} is missing") from None
        if (sha256, size) != (file.sha256, file.bytes):
            raise IntegrityError(
                f"{folder.uri_of(file.name)}: the bytes do not match the recorded SHA-256; it was changed or"
                " damaged"
            )


def bytes_of(layout: MixedLayout, rows: int, *, by_code: bool) -> int:
    """What so many encoded rows take on disk."""
    record = Record.of(layout)
    return rows * (record.dtype.itemsize + (4 * len(record.spans) if by_code else 0))


def room_for(folder: Folder, layout: MixedLayout, rows: int, *, by_code: bool) -> None:
    """Raises StorageError where the disk that is to hold the shards has no room for them."""
    if folder.local_path is None:
        return
    needed = bytes_of(layout, rows, by_code=by_code)
    above = next(path for path in (folder.local_path, *folder.local_path.parents) if path.exists())
    free = shutil.disk_usage(above).free
    if needed > free:
        raise StorageError(
            f"{rows:,} encoded rows need {needed / 2**30:.1f} GiB in {folder.uri}, where"
            f" {free / 2**30:.1f} are free; make room, or choose another --store"
        )


def _mapped(path: Path, dtype: Any) -> npt.NDArray[Any]:
    # An empty file can't be mapped.
    if path.stat().st_size == 0:
        return np.zeros(0, dtype)
    return np.memmap(path, dtype, mode="r")
