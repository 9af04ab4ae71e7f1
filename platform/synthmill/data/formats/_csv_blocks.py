"""Text with delimiters, block by block: the same rows that reading the whole file gives."""

import codecs
import io
from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from synthmill.data.delimited import Text, begin
from synthmill.data.encoding import codecs_name, marked
from synthmill.data.formats.base import FIELD, PACKED, TEXT_BYTES, Blocks, File, Options, WholeError
from synthmill.data.grid import TAIL_ROWS, find_header, footer_note, footers, is_footnote
from synthmill.errors import DataError

BLOCK_BYTES = 8 << 20
FOOTER_LINES = 10


@dataclass
class _Seen:
    """What only the end of a pass tells."""

    rows: int = 0
    """With footers, without repeated headers."""
    repeats: int = 0
    odd: list[tuple[int, int, str]] = field(default_factory=list)
    """The first rows with another number of cells: which row, cells, text."""
    odd_rows: int = 0
    quotes: int = 0
    tail: list[list[str]] = field(default_factory=list)
    filled: set[int] = field(default_factory=set)
    """Columns without a name that have a value."""


class CsvBlocks(Blocks):
    """Rows of one file. Its last rows are held back until the file ends, as they can be footers."""

    reads_stored = True

    def __init__(self, file: File, options: Options) -> None:
        stated = options.encoding or marked(file.head)
        if stated is not None and codecs_name(stated) not in ("utf-8", "utf-8-sig", "ascii"):
            raise WholeError(f"{file.name} is not in UTF-8")
        if options.footer_rows:
            raise WholeError("data.footer_rows is stated")
        self._file, self._options = file, options
        self._text, more = begin(file.head, file.name, options)
        if self._text.data is not file.head:
            raise WholeError(f"the cells of {file.name} are divided by white space")
        self._header = find_header(self._text.head, file.name, options, comment=self._text.comment)
        names = self._header.names
        self.schema = pa.schema([pa.field(name, pa.string()) for name in names])
        self.cells = frozenset(names)
        self._notes = (*more, *self._header.notes)
        self._seen: _Seen | None = None
        self._footers = 0

    @property
    def weight_bytes(self) -> int:
        return self._file.num_bytes * TEXT_BYTES * (PACKED if self._file.is_packed else 1)

    def read(self, names: list[str] | None = None) -> Iterator[pa.Table]:
        seen = _Seen()
        held: pa.Table | None = None
        for table in self._tables(seen):
            seen.rows += table.num_rows
            table = table if held is None else pa.concat_tables([held, table])
            cut = max(0, table.num_rows - TAIL_ROWS)
            held = table.slice(cut)
            if cut:
                yield table.slice(0, cut).combine_chunks()
        self._check_ends(seen)
        if held is None or seen.rows == 0:
            raise DataError(f"{self._file.name} has a header but no rows", field=FIELD)
        seen.tail = [[cell or "" for cell in row.values()] for row in held.to_pylist()]
        if "\n" in seen.tail[-1][-1] and seen.quotes % 2:
            # A quote that is not closed makes one cell of all the rows behind it, without a fault.
            raise DataError(
                f"a quote in row {seen.rows + seen.repeats:,} of {self._file.name} is not closed; close or"
                " double it",
                field=FIELD,
            )
        if self._seen is None:
            self._seen = seen
            self._footers = self._count_footers(seen)
        yield held.slice(0, held.num_rows - self._footers)

    def left_out(self) -> tuple[frozenset[str], tuple[str, ...]]:
        """Columns without name or value, and notes of what else is no row."""
        seen, names, name = self._seen, self._header.names, self._file.name
        assert seen is not None, "the first pass comes first"
        empty = [at for at in self._header.unnamed if at not in seen.filled][: len(names) - 1]
        notes = [*self._notes]
        if seen.odd:
            notes.append(footer_note([[seen.odd[0][2].strip()]] * len(seen.odd), name))
        if seen.repeats:
            times = "once" if seen.repeats == 1 else f"{seen.repeats} times"
            notes.append(f"{name}: the header stands {times} among the rows; left out there")
        if self._footers:
            notes.append(footer_note(seen.tail[-self._footers :], name))
        notes += [
            f"column {at + 1} of {name} has no name; it is called {names[at]}"
            for at in reversed(self._header.unnamed)
            if at not in empty
        ]
        return frozenset(names[at] for at in empty), tuple(notes)

    def _tables(self, seen: _Seen) -> Iterator[pa.Table]:
        """Blocks without repeated headers; rows of another number of cells are counted."""
        names = [str(at) for at in range(len(self._header.names))]

        def odd(row: csv.InvalidRow) -> str:
            seen.odd_rows += 1
            if len(seen.odd) < FOOTER_LINES:
                seen.odd.append((row.number or 0, row.actual_columns, row.text))
            return "skip"

        stream = _Body(self._file, self._text, self._header.skip)
        try:
            reader = csv.open_csv(
                stream,
                read_options=csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES, column_names=names),
                parse_options=csv.ParseOptions(
                    delimiter=self._text.delimiter, newlines_in_values=True, invalid_row_handler=odd
                ),
                convert_options=csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
                ),
            )
            for batch in reader:
                yield self._plain_rows(pa.Table.from_batches([batch]), seen)
        except pa.ArrowInvalid as fault:
            if "Empty CSV" in str(fault):
                return
            text = str(fault).splitlines()[0][:100]
            if "straddling" in text:
                text = (
                    f"a quote behind row {seen.rows + seen.repeats:,} is not closed, or a cell is longer"
                    f" than {BLOCK_BYTES >> 20} MiB"
                )
            raise DataError(f"{self._file.name} is not a CSV file ({text})", field=FIELD) from None
        seen.quotes = stream.quotes

    def _plain_rows(self, table: pa.Table, seen: _Seen) -> pa.Table:
        table = table.rename_columns(list(self._header.names))
        if self._header.skip:
            same = None
            for column, name in zip(table.columns, self._header.names, strict=True):
                here = pc.equal(pc.utf8_trim_whitespace(column), name)
                same = here if same is None else pc.and_(same, here)
                if not pc.any(same).as_py():
                    break
            else:
                seen.repeats += pc.sum(same).as_py()
                table = table.filter(pc.invert(same))
        for at in self._header.unnamed:
            if at not in seen.filled and not pc.all(pc.equal(pc.binary_length(table[at]), 0)).as_py():
                seen.filled.add(at)
        return table

    def _check_ends(self, seen: _Seen) -> None:
        """DataError for rows of another number of cells, unless they are footers."""
        if not seen.odd:
            return
        row, cells, text = seen.odd[0]
        total = seen.rows + seen.repeats + seen.odd_rows
        at_end = seen.odd_rows <= FOOTER_LINES and row + seen.odd_rows > total
        if self._options.footer_rows is None and at_end and is_footnote(text.split(self._text.delimiter)):
            return
        others = f", as {seen.odd_rows - 1:,} more" if seen.odd_rows > 1 else ""
        raise DataError(
            f"row {row:,} of {self._file.name} has {cells} cells where the header has"
            f" {len(self._header.names)}{others}; fix or quote it",
            field=FIELD,
        )

    def _count_footers(self, seen: _Seen) -> int:
        """How many of the last rows are totals or footnotes."""
        if self._options.footer_rows is not None:
            return 0
        nowhere = [pa.chunked_array([pa.array([""])])] * len(self._header.names)
        count = footers(seen.tail, nowhere)
        if not 0 < count < seen.rows:
            return 0
        # A level that other rows have too is data; to see that takes another pass, which few files need.
        suspects = pa.table(
            [pa.array([row[at] for row in seen.tail[-count:]]) for at in range(len(self._header.names))],
            names=list(self._header.names),
        )
        found: list[list[pa.Array]] = [[] for _ in self._header.names]
        for table in self._tables(_Seen()):
            for at, column in enumerate(table.columns):
                hits = column.filter(pc.is_in(column, value_set=suspects.column(at).combine_chunks()))
                if sum(map(len, found[at])) <= 2 * TAIL_ROWS:
                    found[at].append(hits.combine_chunks())
        columns = [pa.chunked_array(parts, pa.string()) for parts in found]
        count = footers(seen.tail, columns)
        return count if count < seen.rows else 0


class _Body(io.RawIOBase):
    """The bytes behind the header, checked to be text."""

    def __init__(self, file: File, text: Text, records: int) -> None:
        self._file, self._chunks = file, file.chunks()
        self._skip = text.start + (text.ends[records - 1] if records else 0)
        self._rest, self._lines = b"", 0
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self.quotes = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while not self._rest and (chunk := next(self._chunks, None)) is not None:
            self._rest = self._checked(chunk)
        found, self._rest = (self._rest, b"") if size < 0 else (self._rest[:size], self._rest[size:])
        return found

    def _checked(self, chunk: bytes) -> bytes:
        if b"\0" in chunk:
            line = self._lines + chunk.count(b"\n", 0, chunk.index(b"\0")) + 1
            raise DataError(
                f"line {line} of {self._file.name} holds a zero byte; the file is damaged or no text",
                field=FIELD,
            )
        try:
            self._decoder.decode(chunk)
        except UnicodeDecodeError as fault:
            line = self._lines + chunk.count(b"\n", 0, max(0, fault.start)) + 1
            raise DataError(
                f"line {line} of {self._file.name} is not UTF-8; set data.encoding to the encoding it is in,"
                " or save it as UTF-8",
                field=FIELD,
            ) from None
        self._lines += chunk.count(b"\n")
        self.quotes += chunk.count(b'"')
        cut, self._skip = min(self._skip, len(chunk)), max(0, self._skip - len(chunk))
        return chunk[cut:]
