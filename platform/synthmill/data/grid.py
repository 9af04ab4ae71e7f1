"""Where a table begins and ends among the lines of a file: titles, the header, rows, footers.

What a spreadsheet or a report writes around its rows becomes a fake row, or the first person becomes the
column names, unless somebody looks.
"""

import itertools
import re
from collections import Counter
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from synthmill.data.formats.base import FIELD, Options, check_names
from synthmill.errors import DataError

HEAD_ROWS = 200
"""Records from which the header is judged."""
TAIL_ROWS = 5
"""Records at the end that can be footers."""
_NUMBER = re.compile(r"[+-]?(?:\d+(?:[.,]\d+)*|\.\d+)(?:[eE][+-]?\d+)?%?$")
_DAY = re.compile(r"(?:\d{4}-\d{1,2}-\d{1,2}|\d{1,2}[./]\d{1,2}[./]\d{2,4})(?:[T ]\d{1,2}:\d{2}.*)?$")
_TOTAL = re.compile(
    "(?:grand |sub|overall )?(?:totals?|sums?|summe|gesamt(?:summe)?|insgesamt|somme"
    "|total g[e\u00e9]n[e\u00e9]ral|totale|totaal|suma|razem|\u0438\u0442\u043e\u0433\u043e"
    "|\u5408\u8ba1|\u603b\u8ba1|\u5408\u8a08"
    "|averages?|means?|mittelwert|moyenne)(?: \\w+)?:?$",
    re.IGNORECASE,
)
_FOOTNOTE = re.compile(
    r"(?:\*|\u2020|\(?\d[\d,.]* rows?\b|\[?end of\b|(?:source|sources|note|notes|quelle|hinweis|fuente"
    r"|exported|generated|created|copyright|report|printed|as of|stand)\b|\u00a9|\(c\))",
    re.IGNORECASE,
)
_SHOWN_CELLS = 4


@dataclass(frozen=True, kw_only=True)
class Header:
    """Which record is the header, and what it names."""

    names: tuple[str, ...]
    """Of every column of the records, those without a name included."""
    skip: int
    """Records before the first row."""
    unnamed: tuple[int, ...] = ()
    """Positions of columns that the file gives no name."""
    notes: tuple[str, ...] = ()


def find_header(
    head: list[list[str]], name: str, options: Options, *, comment: list[str] | None = None
) -> Header:
    """The header among the first records. `comment`: the cells of the last line that begins with `#`, for
    files whose names stand there.

    Raises:
        DataError: it looks like data, has two equal names, or the recipe names another number of columns.
    """
    width = Counter(len(row) for row in head).most_common(1)[0][0]
    header = options.header
    if options.columns is not None:
        return _named(head, list(options.columns), width, name, header)
    if header is False:
        return Header(names=_numbered(width), skip=0)
    titles = _titles(head, width)
    notes = []
    if titles:
        lines = "1 line before the header is" if titles == 1 else f"{titles} lines before the header are"
        notes.append(f"{name}: {lines} left out ({_shown(head[0])})")
    cells = [cell.strip() for cell in head[titles]]
    # Files that were joined end to end have their headers among the rows.
    rows = [row for row in head[titles + 1 :] if [cell.strip() for cell in row] != cells]
    if len(cells) == width - 1 and rows and all(len(row) == width for row in rows):
        cells, note = _one_short(cells, rows, name)
        notes.append(note)
    if header is None and is_data(cells, rows):
        if comment is not None and len(comment) == len(cells):
            names = [cell.strip() for cell in comment]
            check_names(names, name)
            note = f"{name}: the column names are those of the line that begins with #"
            return Header(names=tuple(names), skip=titles, notes=(*notes, note))
        raise DataError(
            f"{name} begins with what looks like a row, not column names ({_shown(cells)}); set data.header:"
            " false, name the columns in data.columns, or set data.header: true if these are their names",
            field=FIELD,
        )
    unnamed = tuple(i for i, cell in enumerate(cells) if not cell)
    if unnamed == (0,) and len(head[titles]) < width:
        unnamed = ()  # R's row names, of which the note above tells.
    names = [cell or f"column_{position}" for position, cell in enumerate(cells, start=1)]
    check_names(names, name)
    return Header(names=tuple(names), skip=titles + 1, unnamed=unnamed, notes=tuple(notes))


def is_data(cells: list[str], rows: list[list[str]]) -> bool:
    """Whether a first line is a row like the others: at least half of its cells are numbers or dates as their
    columns hold them, or stand again among their column's values."""
    filled = [i for i, cell in enumerate(cells) if cell]
    if not filled or not rows or _is_scale([cells[i] for i in filled]):
        return False
    columns = {i: [row[i].strip() for row in rows if len(row) > i and row[i].strip()] for i in filled}
    # Typed cells weigh on their own; a word among its column's values can be chance.
    alike = [i for i in filled if columns[i] and _is_alike(cells[i], columns[i])]
    again = [i for i in filled if i not in alike and cells[i] in columns[i]]
    typed = [i for i in filled if _NUMBER.match(cells[i]) or _DAY.match(cells[i])]
    # Names that are numbers outside their columns' ranges are names: wavelengths, years.
    if typed and not alike:
        return False
    return (bool(alike) or len(again) >= 2) and 2 * (len(alike) + len(again)) >= len(filled)


def _is_alike(cell: str, values: list[str]) -> bool:
    """A number within the range of a column of numbers, or a date above a column of dates."""
    if _DAY.match(cell):
        return all(_DAY.match(value) for value in values)
    if not _NUMBER.match(cell):
        return False
    found = [_number(value) for value in values if _NUMBER.match(value)]
    if 2 * len(found) < len(values) or not found:
        return False
    low, high = min(found), max(found)
    # Of few values the range says little.
    margin = max((high - low) / 2, abs(high) / 2 if len(found) < 5 else 0.0)
    return low - margin <= _number(cell) <= high + margin


def _number(text: str) -> float:
    plain = text.rstrip("%")
    # Whether a comma is a decimal mark does not matter for the order of magnitude asked for here.
    plain = plain.replace(",", "" if plain.count(",") > 1 or "." in plain else ".")
    try:
        return float(plain)
    except ValueError:
        return float(re.sub(r"\D", "", plain) or 0)


def _is_scale(cells: list[str]) -> bool:
    """Whether the names, or all but those that are text, are 0, 1, 2, ... or years: equal steps up."""
    numbers = [_number(cell) for cell in cells if _NUMBER.match(cell)]
    if len(numbers) < 3:
        return False
    steps = {round(b - a, 9) for a, b in itertools.pairwise(numbers)}
    return len(steps) == 1 and steps.pop() > 0


def _named(head: list[list[str]], names: list[str], width: int, name: str, header: bool | None) -> Header:
    if len(names) != width:
        raise DataError(f"names {len(names)} columns where {name} has {width}", field="data.columns")
    check_names(names, "data.columns")
    first = [cell.strip() for cell in head[0]]
    return Header(names=tuple(names), skip=int(bool(header) or first == names))


def _numbered(width: int) -> tuple[str, ...]:
    return tuple(f"column_{position}" for position in range(1, width + 1))


def _titles(head: list[list[str]], width: int) -> int:
    """Lines at the top with one filled cell or none, above a table of several columns."""
    if width < 2:
        return 0
    count = 0
    for row in head[:-1]:
        filled = sum(1 for cell in row if cell.strip())
        # A line of full width with one name can be a header whose other names are missing.
        is_short = not filled or len(row) < width or (width > 2 and bool(row[0].strip()))
        if filled > 1 or not is_short:
            break
        count += 1
    # A column of one value each below a full header is no title.
    return count if count < len(head) - 1 else 0


def _one_short(cells: list[str], rows: list[list[str]], name: str) -> tuple[list[str], str]:
    """A header one name short: every row ends in a delimiter, or begins with R's row name."""
    if all(not row[-1].strip() for row in rows):
        return [*cells, ""], f"{name}: every row ends in a delimiter; the empty column behind it is left out"
    note = f"{name}: rows have one cell more than the header, as R writes row names; it is called column_1"
    return ["", *cells], note


def _shown(cells: list[str]) -> str:
    some = ", ".join(cell.strip()[:30] for cell in cells[:_SHOWN_CELLS])
    return some + (", ..." if len(cells) > _SHOWN_CELLS else "")


def footers(tail: list[list[str]], columns: list[pa.ChunkedArray]) -> int:
    """How many of the last records are totals or footnotes; `columns` are whole, to see whether the value
    stands elsewhere."""
    count = 0
    for row in reversed(tail):
        if not _is_footer([cell.strip() for cell in row], columns):
            break
        count += 1
    return count


def _is_footer(cells: list[str], columns: list[pa.ChunkedArray]) -> bool:
    filled = [i for i, cell in enumerate(cells) if cell]
    if len(cells) < 2 or not filled:
        return False
    first = filled[0]
    is_note = len(filled) == 1 and len(cells) > 2 and _FOOTNOTE.match(cells[first]) is not None
    if not is_note and _TOTAL.match(cells[first]) is None:
        return False
    # A level that other rows have too (`total` and `partial`) is data.
    return bool(pc.sum(pc.equal(columns[first], cells[first])).as_py() <= 1)


def is_footnote(cells: list[str]) -> bool:
    """Whether a record that is shorter than the others reads as a footnote or a total."""
    filled = [cell.strip() for cell in cells if cell.strip()]
    return bool(filled) and any(pattern.match(filled[0]) for pattern in (_TOTAL, _FOOTNOTE))


def footer_note(rows: list[list[str]], name: str) -> str:
    """What is said of footers that were left out."""
    lines = "line of" if len(rows) == 1 else f"{len(rows)} lines of"
    return (
        f"the last {lines} {name} left out as totals or footnotes ({_shown(rows[0])}); to keep them set"
        " data.footer_rows: 0"
    )
