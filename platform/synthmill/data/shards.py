"""Encoded training rows on disk, for sources that are larger than memory: written once, in order, and
memory-mapped from then on.

A row is one record of narrow numbers (`records.py`), which reads as what the codec made, to the bit. Records
lie in parts of `PART_ROWS` rows. With `by_code` each part has an index beside it: of each category span, the
part's rows in order of their codes, each as its number in its stretch of 65,536 rows (two bytes). How often
each code stands in each stretch, which says what the upper bits are, and what places are encoded as are files
of their own. `index.json`, with sizes and SHA-256 of all these, is written last: without it there are no
shards.
"""

import contextlib
import hashlib
import itertools
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from torch import Tensor

from synthmill.config import FrozenModel, dump, parse_model
from synthmill.data.batch import Batch
from synthmill.data.columns import Int64
from synthmill.data.layout import MixedLayout
from synthmill.data.places import Places
from synthmill.data.records import Bytes, Columns, Record, placed_bytes, places_of
from synthmill.errors import IntegrityError, MissingError, StorageError
from synthmill.storage.folder import Folder

FORMAT = "synthmill.shards/2"
INDEX = "index.json"
COUNTS = "counts.bin"
PLACES = "places.bin"
BLOCK_ROWS = 4096
STRETCH_ROWS = 1 << 16
"""Rows whose numbers have two bytes."""
PART_ROWS = 16 * STRETCH_ROWS
"""1,048,576 rows: some 32 MB at 15 columns, all of which the writer holds in memory."""
NO_PLACES: Mapping[int, Places] = MappingProxyType({})


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
    placed: tuple[tuple[int, int], ...]
    """Numeric spans whose places are in the records, and how many each has."""
    places: ShardFile

    @property
    def files(self) -> tuple[ShardFile, ...]:
        return (*self.parts, *self.orders, self.counts, self.places)


class Part(NamedTuple):
    """What was written of one part."""

    rows: int
    records: ShardFile
    order: ShardFile | None
    counts_BF: npt.NDArray[np.uint32]
    """Rows of each stretch that have each code of each category span."""


class ShardWriter:
    """Writes encoded batches in order; `finish` makes them count. Left by an error, it leaves nothing."""

    def __init__(
        self,
        folder: Folder,
        layout: MixedLayout,
        *,
        key: str,
        by_code: bool,
        places: Mapping[int, Places] = NO_PLACES,
        part_rows: int = PART_ROWS,
    ) -> None:
        """`by_code`: the rows will be looked up by their codes, too. `places` are those of the numeric spans
        that come as places."""
        self.folder, self.by_code, self.places, self.part_rows = folder, by_code, places, part_rows
        self._layout, self._key = layout, key
        self._record = Record.of(layout, places)
        self._part = np.zeros(part_rows, self._record.dtype)
        self._filled = 0
        self._parts: list[Part] = []

    def __enter__(self) -> Self:
        # What an earlier attempt left is of no use, and must not be taken for ours.
        self.folder.delete_tree()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            # Encoded rows are as private as the source; a store that fails now is why we are here.
            with contextlib.suppress(StorageError):
                self.folder.delete_tree()

    def write(self, columns: Columns) -> None:
        """The next rows."""
        done = 0
        while done < columns.rows:
            size = min(len(self._part) - self._filled, columns.rows - done)
            self._record.write(
                columns.take(slice(done, done + size)), self._part[self._filled : self._filled + size]
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
        counts = [part.counts_BF.reshape(-1) for part in self._parts]
        index = ShardIndex(
            key=self._key,
            rows=sum(part.rows for part in self._parts),
            part_rows=self.part_rows,
            layout=self._layout,
            parts=tuple(part.records for part in self._parts),
            orders=tuple(part.order for part in self._parts if part.order is not None),
            counts=_put(self.folder, COUNTS, np.concatenate([*counts, np.zeros(0, "<u4")])),
            placed=tuple((span, len(of.codes)) for span, of in self.places.items()),
            places=_put(self.folder, PLACES, placed_bytes(self.places)),
        )
        self.folder.write_json(INDEX, dump(index))
        return index

    def add(self, part: Part) -> None:
        """The next part, which `write_part` wrote elsewhere."""
        assert not self._filled, "all parts but the last are full"
        self._parts.append(part)

    def _end_part(self) -> None:
        rows, number = self._part[: self._filled], len(self._parts)
        self._parts.append(write_part(self.folder, self._record, number, rows, by_code=self.by_code))
        self._filled = 0


def write_part(folder: Folder, record: Record, number: int, rows: npt.NDArray[Any], *, by_code: bool) -> Part:
    """Write the records of one part (N,), and its index by code."""
    name = f"part-{number:05d}"
    records = _put(folder, f"{name}.records", rows)
    columns = [record.column(rows, span) for span in record.spans]
    counts_BF = _counted(columns, record.widths, len(rows))
    order = None
    if by_code:
        # Stable sorts of one or two bytes are radix sorts: one pass a byte. The upper bits of a row's number
        # follow from the counts.
        orders = [np.argsort(column, kind="stable").astype("<u2") for column in columns]
        order = _put(folder, f"{name}.order", np.concatenate([*orders, np.zeros(0, "<u2")]))
    return Part(len(rows), records, order, counts_BF)


def _put(folder: Folder, name: str, data: bytes | npt.NDArray[Any]) -> ShardFile:
    # The array's own bytes: no copy of them is made.
    own = memoryview(data) if isinstance(data, bytes) else data.reshape(-1).view(np.uint8).data
    folder.write_bytes(name, own)
    return ShardFile(name=name, bytes=len(own), sha256=hashlib.sha256(own).hexdigest())


def _counted(columns: list[npt.NDArray[Any]], widths: tuple[int, ...], rows: int) -> npt.NDArray[np.uint32]:
    """How often each code of each column (rows,) stands in each stretch, (stretches, all codes)."""
    counts_BF = np.zeros((-(-rows // STRETCH_ROWS), sum(widths)), "<u4")
    starts = itertools.accumulate(widths, initial=0)
    for column, width, start in zip(columns, widths, starts, strict=False):
        for block, counts_F in enumerate(counts_BF):
            own = column[block * STRETCH_ROWS : (block + 1) * STRETCH_ROWS]
            counts_F[start : start + width] = np.bincount(own, minlength=width)
    return counts_BF


class EncodedRows:
    """Shards on this machine's disk, memory-mapped."""

    def __init__(self, path: Path, index: ShardIndex) -> None:
        self.index = index
        self.num_rows = index.rows
        self.layout = index.layout
        self.record = Record.of(
            index.layout, places_of((path / index.places.name).read_bytes(), dict(index.placed))
        )
        size, spans = self.record.dtype.itemsize, len(self.record.spans)
        self._parts = [_mapped(path / file.name, np.uint8).reshape(-1, size) for file in index.parts]
        self._stretches = -(-index.part_rows // STRETCH_ROWS)
        """Of every part but the last, which may have fewer."""
        # Without a category span there is nothing to count, and the file is empty.
        counts = _mapped(path / index.counts.name, np.dtype("<u4"))
        self._counts_BF = counts.reshape(-1, sum(self.record.widths) or 1)
        firsts = np.arange(len(index.parts)) * self._stretches
        self.counts_PF = np.zeros((len(index.parts), sum(self.record.widths)), np.int64)
        if self.counts_PF.size:
            np.add.reduceat(self._counts_BF, firsts, axis=0, dtype=np.int64, out=self.counts_PF)
        """Rows of each part that have each code of each category span, one span after the other."""
        self._before_PF = self.counts_PF.cumsum(0) - self.counts_PF
        """Rows of a code in the parts before."""
        within = np.split(self.counts_PF, np.cumsum(self.record.widths)[:-1], axis=1)
        self._start_PF = np.concatenate([span_PW.cumsum(1) - span_PW for span_PW in within], axis=1)
        """Where the rows of a code begin in a part's index."""
        self._span_F = np.repeat(np.arange(spans), self.record.widths)
        self._orders = [
            _mapped(path / file.name, np.dtype("<u2")).reshape(spans, len(part))
            for file, part in zip(index.orders, self._parts, strict=False)
        ]

    def take(self, index: Tensor | slice) -> Batch:
        """The rows at `index` (int64 (M,), or a slice), in that order, as the codec made them."""
        if isinstance(index, slice):
            first, last, _ = index.indices(self.num_rows)
            return self.record.read(self.records(first, max(first, last)))
        rows = index.cpu().numpy()
        out = np.empty((len(rows), self.record.dtype.itemsize), np.uint8)
        part, within = np.divmod(rows, self.index.part_rows)
        for number, here in _by_part(part):
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

    def having(self, code: Int64, nth: Int64) -> Int64:
        """Row numbers of the `nth` rows (M,), counted from 0 in order, among those that have the codes `code`
        (M,), which count over all category spans."""
        # The last part with no more such rows before it; one without any of them has as many as the next.
        part = (self._before_PF[:, code] <= nth).sum(0) - 1
        within = nth - self._before_PF[part, code]
        stretches_MB = part[:, None] * self._stretches + np.arange(self._stretches)
        # Those that the last part does not have come behind all of its rows, whatever is read for them.
        np.minimum(stretches_MB, len(self._counts_BF) - 1, out=stretches_MB)
        stretches_MB *= self._counts_BF.shape[1]
        stretches_MB += code[:, None]
        ends_MB = self._counts_BF.reshape(-1).take(stretches_MB).cumsum(1, dtype=np.int64)
        stretch = (ends_MB <= within[:, None]).sum(1)
        rows: Int64 = part * self.index.part_rows + stretch * STRETCH_ROWS
        at, span = self._start_PF[part, code] + within, self._span_F[code]
        for number, here in _by_part(part):
            rows[here] += self._orders[number][span[here], at[here]]
        return rows

    def batches(self, rows: int = 16 * BLOCK_ROWS) -> Iterator[Batch]:
        """All rows in order, some at a time."""
        for start in range(0, self.num_rows, rows):
            yield self.take(slice(start, start + rows))


def _by_part(part: Int64) -> Iterator[tuple[int, Int64]]:
    """Each part that occurs among those of rows (M,), and where."""
    order = np.argsort(part, kind="stable")
    edges = np.flatnonzero(np.diff(part[order])) + 1
    for here in np.split(order, edges) if len(order) else ():
        yield int(part[here[0]]), here


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


def bytes_of(
    layout: MixedLayout, rows: int, *, by_code: bool, places: Mapping[int, Places] = NO_PLACES
) -> int:
    """About what so many encoded rows take on disk."""
    record = Record.of(layout, places)
    index = 2 * rows * len(record.spans) + 4 * -(-rows // STRETCH_ROWS) * sum(record.widths)
    return rows * record.dtype.itemsize + (index if by_code else 0)


def room_for(
    folder: Folder, layout: MixedLayout, rows: int, *, by_code: bool, places: Mapping[int, Places] = NO_PLACES
) -> None:
    """Raises StorageError where the disk that is to hold the shards has no room for them."""
    if folder.local_path is None:
        return
    needed = bytes_of(layout, rows, by_code=by_code, places=places)
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
    # Plain, as each access to the class that NumPy maps with makes another one of it.
    return np.asarray(np.memmap(path, dtype, mode="r"))
