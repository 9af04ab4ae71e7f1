"""Text with delimiters: CSV, TSV and what else people call so. Cells stay text; `data.cells` types them."""

import csv as text_csv
import io
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from synthmill.data.encoding import to_utf8
from synthmill.data.formats.base import FIELD, Format, Options, Parsed, Shown
from synthmill.data.grid import HEAD_ROWS, TAIL_ROWS, Header, find_header, footer_note, footers, is_footnote
from synthmill.errors import DataError

_PREFIX = re.compile(
    rb'(?:\xef\xbb\xbf)?(?: *[\r\n])*(?i:"?sep=(?P<delimiter>[^"\r\n\x80-\xff])"? *\r?\n(?: *[\r\n])*)?'
)
"""What may stand before the header: a byte order mark, empty lines, and the line in which Excel names the
delimiter."""
_COMMENTS = re.compile(rb"(?:[ \t]*#[^\r\n]*(?:\r\n?|\n)(?: *[\r\n])*)*")
_DELIMITERS = (",", ";", "\t", "|")
_QUOTED = re.compile(r'(?:^|(?<=[,;\t|]))"(?:[^"]|"")*+"')
_WORD = re.compile(r'"[^"]*"|\S+')
_NUMERIC = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
_BLANKS = "whitespace"
_HEAD_BYTES = 1 << 20
_SNIFFED_ROWS = 50
_FOOTER_LINES = 10


class Csv(Format):
    shown = Shown(name="CSV", endings=(".csv", ".tsv", ".txt", ".data", ".tab", ".psv"))

    @classmethod
    def is_in(cls, data: bytes) -> bool:
        return False

    @classmethod
    def parse(cls, data: bytes, name: str, options: Options) -> Parsed:
        data, notes = to_utf8(data, name, options.encoding)
        if options.footer_rows:
            data = _without_last(data, options.footer_rows)
        text, more = _begin(data, name, options)
        header = find_header(text.head, name, options, comment=text.comment)
        ragged: tuple[str, ...] = ()
        try:
            table = _parse(text.body(header.skip), header.names, text.delimiter)
        except _RaggedError:
            # The slow reader finds the true line, quoted line breaks counted, and whether only a footer is
            # ragged.
            stop, ragged = _ragged(text, header, name, options)
            table = _parse(text.body(header.skip, stop), header.names, text.delimiter)
        except pa.ArrowInvalid as fault:
            raise DataError(
                f"{name} is not a CSV file ({str(fault).splitlines()[0][:100]})", field=FIELD
            ) from None
        if table.num_rows == 0:
            raise DataError(f"{name} has a header but no rows", field=FIELD)
        _check_closed(table, data, name)
        table, dropped = _without_extras(table, header, name, options)
        return Parsed(
            table=table,
            cells=frozenset(table.column_names),
            notes=(*notes, *more, *header.notes, *ragged, *dropped),
        )


@dataclass(frozen=True)
class _Text:
    """The file from its header on."""

    data: bytes
    start: int
    """Byte at which the first record begins."""
    delimiter: str
    head: list[list[str]]
    ends: list[int]
    """Byte, from `start`, behind each record of the head."""
    comment: list[str] | None
    """Cells of the last line before the header that begins with `#`."""
    lines_before: int = 0
    """Lines of the file that stood before `data`."""

    def body(self, records: int, stop: int | None = None) -> pa.Buffer:
        """The bytes behind so many records, not copied."""
        first = self.start + (self.ends[records - 1] if records else 0)
        return pa.py_buffer(self.data)[first : len(self.data) if stop is None else stop]


class _RaggedError(Exception):
    """A row has another number of cells."""


def _begin(data: bytes, name: str, options: Options) -> tuple[_Text, list[str]]:
    """What stands before the header is left out, the delimiter and the first records are found."""
    before = _PREFIX.match(data)
    assert before is not None
    comments = _COMMENTS.match(data, before.end())
    assert comments is not None
    start, notes = comments.end(), []
    if not data[start : start + _HEAD_BYTES].strip():
        raise DataError(f"{name} is empty; it needs a header line and rows", field=FIELD)
    sample = data[start : start + _HEAD_BYTES].decode("utf-8", errors="ignore")
    delimiter = options.delimiter or (before["delimiter"] or b"").decode() or _delimiter(sample)
    delimiter = {"\\t": "\t", "tab": "\t"}.get(delimiter, delimiter)
    if delimiter == _BLANKS or (options.delimiter is None and _in_blanks(sample, delimiter)):
        data, start = _blanks_to_tabs(data[start:]), 0
        sample, delimiter = data[:_HEAD_BYTES].decode("utf-8", errors="ignore"), "\t"
        notes.append(
            f"{name} is read as separated by white space; to keep lines whole set data.delimiter: ','"
        )
    elif len(delimiter) != 1:
        raise DataError(
            f"{delimiter!r} is no delimiter; give one character, tab or whitespace", field="data.delimiter"
        )
    head, ends = _records(sample, delimiter, name)
    lines = [line for line in comments[0].decode().splitlines() if line.strip()]
    comment = next(text_csv.reader([lines[-1].strip()], delimiter=delimiter), None) if lines else None
    if lines:
        many = "a line that begins" if len(lines) == 1 else f"{len(lines)} lines that begin"
        notes.append(f"{name}: {many} with # left out before the header")
    return _Text(data, start, delimiter, head, ends, comment), notes


def _records(sample: str, delimiter: str, name: str) -> tuple[list[list[str]], list[int]]:
    """The first records, empty lines left out, and the bytes behind each."""
    read_bytes = 0

    def lines() -> Iterator[str]:
        nonlocal read_bytes
        for line in io.StringIO(sample, newline=""):
            read_bytes += len(line.encode())
            yield line

    records, ends = [], []
    reader = text_csv.reader(lines(), delimiter=delimiter)
    try:
        for row in itertools.islice(reader, HEAD_ROWS):
            if any(cell.strip() for cell in row) or len(row) > 1:
                records.append(row)
                ends.append(read_bytes)
    except text_csv.Error as fault:
        # Behind the header Arrow reads, which knows no longest cell.
        if not records:
            raise DataError(
                f"the header of {name} can't be read ({fault}); look for a quote that is not closed",
                field=FIELD,
            ) from None
    if len(sample.encode()) >= _HEAD_BYTES - 3 and len(records) > 1 and len(records) < HEAD_ROWS:
        # The last record may be cut in two.
        records, ends = records[:-1], ends[:-1]
    return records, ends


def _delimiter(sample: str) -> str:
    """The mark that divides all of the first lines into equally many cells, the comma first; where none does,
    the first that the header has outside quotes."""
    even = {mark: cells for mark in _DELIMITERS if (cells := _divides(sample, mark)) > 1}
    first = sample.splitlines()[0]
    # Decimal commas, and those in `Doe, Jane`, divide evenly too.
    if "," in even and ";" in even and not re.search(r"(?<!\d),(?! )|,(?![\d ])", first):
        return ";"
    bare = _QUOTED.sub("", first)
    if not even:
        return next((mark for mark in _DELIMITERS if mark in bare), ",")
    return max(even, key=lambda mark: even[mark])


def _divides(sample: str, mark: str) -> int:
    """Into how many cells the mark divides each of the first lines; 0 when they differ."""
    try:
        reader = text_csv.reader(io.StringIO(sample, newline=""), delimiter=mark)
        counts = {len(row) for row in itertools.islice(reader, _SNIFFED_ROWS) if row}
    except text_csv.Error:
        return 0
    return counts.pop() if len(counts) == 1 else 0


def _in_blanks(sample: str, delimiter: str) -> bool:
    """Whether lines without a delimiter are columns of numbers set apart by blanks, as in many older data
    sets."""
    lines = [line for line in sample.splitlines()[:_SNIFFED_ROWS] if line.strip()]
    if len(lines) < 3 or any(mark in line for line in lines[1:-1] for mark in _DELIMITERS[:2]):
        return False
    if delimiter in ("\t", "|") and _divides(sample, delimiter) > 1:
        return False
    words = [_WORD.findall(line) for line in lines[:-1]]
    if len({len(row) for row in words}) != 1 or len(words[0]) < 2:
        return False
    numeric = sum(bool(_NUMERIC.match(word)) for row in words[1:] for word in row)
    return 2 * numeric >= sum(len(row) for row in words[1:])


def _blanks_to_tabs(data: bytes) -> bytes:
    lines = (_WORD.findall(line) for line in data.decode().splitlines())
    return "\n".join("\t".join(words) for words in lines if words).encode()


def _parse(body: pa.Buffer, columns: tuple[str, ...], delimiter: str) -> pa.Table:
    ragged = False

    def stop(row: csv.InvalidRow) -> str:
        nonlocal ragged
        ragged = True
        return "error"

    # By position: names may be anything, and dropped columns have none of their own.
    names = [str(i) for i in range(len(columns))]
    try:
        return csv.read_csv(
            pa.BufferReader(body),
            read_options=csv.ReadOptions(
                use_threads=False,
                block_size=max(1 << 20, min(body.size + 1, 1 << 30)),
                column_names=names,
            ),
            parse_options=csv.ParseOptions(
                delimiter=delimiter, newlines_in_values=True, invalid_row_handler=stop
            ),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        ).rename_columns(list(columns))
    except pa.ArrowInvalid as fault:
        if ragged:
            raise _RaggedError from None
        if "Empty CSV" in str(fault):
            return pa.table({name: pa.array([], pa.string()) for name in columns})
        raise


def _ragged(text: _Text, header: Header, name: str, options: Options) -> tuple[int, tuple[str, ...]]:
    """Where the rows end, and a note, if only footers behind them are ragged.

    Raises:
        DataError: a row among others is; names its line.
    """
    start = at = text.start + (text.ends[header.skip - 1] if header.skip else 0)
    lines_before = text.lines_before + _count_lines(text.data[:start])

    def lines() -> Iterator[str]:
        nonlocal at
        for line in io.TextIOWrapper(io.BytesIO(text.data[start:]), encoding="utf-8", newline=""):
            at += len(line.encode())
            yield line

    odd: list[tuple[int, int, list[str]]] = []
    begin, number, good_behind = start, lines_before + 1, False
    reader = text_csv.reader(lines(), delimiter=text.delimiter)
    for row in reader:
        if row and len(row) != len(header.names):
            odd.append((number, begin, row))
        good_behind = bool(odd) and (good_behind or len(row) == len(header.names))
        begin, number = at, lines_before + reader.line_num + 1
    assert odd, f"Arrow and the standard library disagree on {name}"
    number, begin, row = odd[0]
    last = [cells for _, _, cells in odd]
    at_end = not good_behind and len(odd) <= _FOOTER_LINES
    if options.footer_rows is None and at_end and is_footnote(last[0]):
        return begin, (footer_note(last, name),)
    others = f", as {len(odd) - 1:,} more" if len(odd) > 1 else ""
    footer = f", or set data.footer_rows: {len(odd)} if it is no row" if at_end else ""
    raise DataError(
        f"line {number} of {name} has {len(row)} cells where the header has {len(header.names)}{others}; fix"
        f" or quote it{footer}",
        field=FIELD,
    )


def _check_closed(table: pa.Table, data: bytes, name: str) -> None:
    """A quote that is not closed makes one cell of all the rows behind it, without a fault."""
    last = next(iter(table.slice(table.num_rows - 1).to_pylist()))
    cell = list(last.values())[-1] or ""
    if "\n" in cell and data.count(b'"') % 2:
        line = _count_lines(data.rstrip()) + 1 - _count_lines(cell.rstrip().encode())
        raise DataError(f"a quote in line {line} of {name} is not closed; close or double it", field=FIELD)


def _count_lines(data: bytes) -> int:
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").count(b"\n")


def _without_extras(
    table: pa.Table, header: Header, name: str, options: Options
) -> tuple[pa.Table, list[str]]:
    """The table without repeated headers, footers and columns that have neither name nor value, and what was
    done."""
    notes = []
    if header.skip:
        table, repeats = _without_repeats(table, header)
        if repeats:
            times = "once" if repeats == 1 else f"{repeats} times"
            notes.append(f"{name}: the header stands {times} among the rows; left out there")
    if options.footer_rows is None:
        tail = table.slice(max(0, table.num_rows - TAIL_ROWS))
        rows = [[cell or "" for cell in row.values()] for row in tail.to_pylist()]
        count = footers(rows, table.columns)
        if 0 < count < table.num_rows:
            notes.append(footer_note(rows[-count:], name))
            table = table.slice(0, table.num_rows - count)
    for position in reversed(header.unnamed):
        empty = pc.all(pc.equal(pc.binary_length(table[position]), 0)).as_py()
        if empty and table.num_columns > 1:
            table = table.remove_column(position)
        else:
            notes.append(
                f"column {position + 1} of {name} has no name; it is called {header.names[position]}"
            )
    return table, notes


def _without_repeats(table: pa.Table, header: Header) -> tuple[pa.Table, int]:
    """Files that were joined end to end have their headers among the rows."""
    same = None
    for column, name in zip(table.columns, header.names, strict=True):
        here = pc.equal(pc.utf8_trim_whitespace(column), name)
        same = here if same is None else pc.and_(same, here)
        count = pc.sum(same).as_py() or 0
        if not count:
            return table, 0
    return table.filter(pc.invert(same)), count


def _without_last(data: bytes, count: int) -> bytes:
    lines = data.rstrip().splitlines(keepends=True)
    return b"".join(lines[: max(0, len(lines) - count)])
