"""Text with delimiters: CSV, TSV and what else people call so. Cells stay text; `data.cells` types them."""

import csv as text_csv
import io
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from synthmill.data.delimited import Text, begin
from synthmill.data.encoding import to_utf8
from synthmill.data.formats._csv_blocks import CsvBlocks
from synthmill.data.formats.base import FIELD, Blocks, File, Format, Options, Parsed, Shown
from synthmill.data.grid import TAIL_ROWS, Header, find_header, footer_note, footers, is_footnote
from synthmill.errors import DataError

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
        text, more = begin(data, name, options)
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

    @classmethod
    def blocks(cls, file: File, options: Options) -> Blocks:
        return CsvBlocks(file, options)


class _RaggedError(Exception):
    """A row has another number of cells."""


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


def _ragged(text: Text, header: Header, name: str, options: Options) -> tuple[int, tuple[str, ...]]:
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
