"""Excel and OpenDocument workbooks, by calamine (the extra `excel`): one sheet, whose first row that is not
empty holds the names."""

import io
import zipfile
from datetime import date, datetime, time, timedelta
from typing import Any

import pyarrow as pa

from synthmill.data.formats.base import FIELD, Format, Options, Parsed, Shown, missing_library
from synthmill.data.grid import HEAD_ROWS, TAIL_ROWS, find_header, footer_note, footers
from synthmill.errors import DataError, did_you_mean

_OLD = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""Of workbooks before 2007."""
_PARTS = ("xl/", "content.xml")
"""What the archive that a workbook is has in it: Excel's since 2007, and OpenDocument's."""
Cell = Any
"""What calamine gives: a text (empty for an empty cell), float, int, bool, date, datetime, time or
timedelta."""


class Excel(Format):
    shown = Shown(
        name="an Excel workbook", extra="excel", endings=(".xlsx", ".xls", ".xlsm", ".xlsb", ".ods")
    )

    @classmethod
    def is_in(cls, data: bytes) -> bool:
        if data[:8] == _OLD:
            return True
        if data[:4] != b"PK\x03\x04":
            return False
        try:
            members = zipfile.ZipFile(io.BytesIO(data)).namelist()
        except (zipfile.BadZipFile, OSError, ValueError):
            return False
        return any(member.startswith(_PARTS) for member in members)

    @classmethod
    def parse(cls, data: bytes, name: str, options: Options) -> Parsed:
        try:
            import python_calamine
        except ImportError:
            raise missing_library(cls.shown, name) from None
        try:
            book = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(data))
            sheets = {sheet: book.get_sheet_by_name(sheet).to_python() for sheet in book.sheet_names}
        # calamine has an error for each kind of workbook, and a locked one is the most frequent.
        except Exception as fault:
            why = "it is locked by a password" if "assword" in str(fault) else str(fault)[:100]
            raise DataError(f"{name} can't be read as Excel ({why})", field=FIELD) from None
        sheet, notes = _choose({key: _bounded(rows) for key, rows in sheets.items()}, name, options.sheet)
        where = name if len(sheets) == 1 else f"{name} ({sheet})"
        return _table(_bounded(sheets[sheet]), where, options, notes)


def _bounded(rows: list[list[Cell]]) -> list[list[Cell]]:
    """Without the empty rows around."""
    filled = [i for i, row in enumerate(rows) if any(cell != "" for cell in row)]
    return rows[filled[0] : filled[-1] + 1] if filled else []


def _choose(
    sheets: dict[str, list[list[Cell]]], name: str, wanted: str | None
) -> tuple[str, tuple[str, ...]]:
    if wanted is not None:
        if wanted not in sheets:
            raise DataError(
                f"{name} has no sheet named {wanted!r}{did_you_mean(wanted, list(sheets))}; it has"
                f" {', '.join(map(repr, sheets))}",
                field="data.sheet",
            )
        return wanted, ()
    filled = [sheet for sheet, rows in sheets.items() if rows]
    if not filled:
        raise DataError(f"{name} is empty; it needs a row of column names and rows", field=FIELD)
    if len(filled) == 1:
        return filled[0], ()
    rest = ", ".join(repr(sheet) for sheet in filled[1:])
    return filled[0], (f"{name}: sheet {filled[0]!r} is read, not {rest}; set data.sheet for another",)


def _table(rows: list[list[Cell]], name: str, options: Options, notes: tuple[str, ...]) -> Parsed:
    if not rows:
        raise DataError(f"{name} is empty; it needs a row of column names and rows", field=FIELD)
    width = max(len(row) for row in rows)
    rows = [[*row, *[""] * (width - len(row))] for row in rows]
    header = find_header([[_text(cell) for cell in row] for row in rows[:HEAD_ROWS]], name, options)
    kept, said = rows[header.skip :], [*notes, *header.notes]
    if options.footer_rows:
        kept = kept[: -options.footer_rows]
    elif options.footer_rows is None:
        tail = [[_text(cell) for cell in row] for row in kept[-TAIL_ROWS:]]
        whole = [pa.chunked_array([[_text(row[i]) for row in kept]], pa.string()) for i in range(width)]
        count = footers(tail, whole)
        if 0 < count < len(kept):
            said.append(footer_note(tail[-count:], name))
            kept = kept[:-count]
    if not kept:
        raise DataError(f"{name} has a header but no rows", field=FIELD)
    columns, cells = {}, set()
    for position, column in enumerate(header.names):
        values = [row[position] for row in kept]
        if position in header.unnamed and not any(value != "" for value in values):
            continue
        columns[column], is_mixed = _column(values)
        if is_mixed:
            cells.add(column)
    return Parsed(table=pa.table(columns), cells=frozenset(cells), notes=tuple(said))


def _column(values: list[Cell]) -> tuple[pa.Array, bool]:
    """The column in the type of its cells; text, to be read cell by cell, where they are of several."""
    kinds = {type(value) for value in values if value != ""}
    found = [None if value == "" else value for value in values]
    if kinds <= {int, float} and kinds:
        whole = all(value is None or float(value).is_integer() for value in found)
        # Excel knows no integers: 3 and 3.0 are one number, and a column of whole numbers holds integers.
        if whole and all(value is None or abs(value) < 2**53 for value in found):
            return pa.array([None if value is None else int(value) for value in found], pa.int64()), False
        return pa.array([None if value is None else float(value) for value in found], pa.float64()), False
    if kinds == {date, datetime}:
        found = [datetime.combine(value, time()) if type(value) is date else value for value in found]
        kinds = {datetime}
    types = {
        date: pa.date32(), datetime: pa.timestamp("us"), time: pa.time64("us"), timedelta: pa.duration("us"),
        bool: pa.bool_(),
    }  # fmt: skip
    if len(kinds) == 1 and (kind := types.get(next(iter(kinds)))) is not None:
        return pa.array(found, kind), False
    return pa.array([None if value is None else _text(value) for value in found], pa.string()), True


def _text(cell: Cell) -> str:
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53:
        return str(int(cell))
    return cell.isoformat() if isinstance(cell, date | time) else str(cell)
