"""Where the rows of a text file begin, and what divides its cells: seen from its first lines."""

import csv as text_csv
import io
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from synthmill.data.formats.base import FIELD, Options
from synthmill.data.grid import HEAD_ROWS
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
BLANKS = "whitespace"
HEAD_BYTES = 1 << 20
_SNIFFED_ROWS = 50


@dataclass(frozen=True)
class Text:
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


def begin(data: bytes, name: str, options: Options) -> tuple[Text, list[str]]:
    """What stands before the header is left out, the delimiter and the first records are found."""
    before = _PREFIX.match(data)
    assert before is not None
    comments = _COMMENTS.match(data, before.end())
    assert comments is not None
    start, notes = comments.end(), []
    if not data[start : start + HEAD_BYTES].strip():
        raise DataError(f"{name} is empty; it needs a header line and rows", field=FIELD)
    sample = data[start : start + HEAD_BYTES].decode("utf-8", errors="ignore")
    delimiter = options.delimiter or (before["delimiter"] or b"").decode() or _delimiter(sample)
    delimiter = {"\\t": "\t", "tab": "\t"}.get(delimiter, delimiter)
    if delimiter == BLANKS or (options.delimiter is None and _in_blanks(sample, delimiter)):
        data, start = _blanks_to_tabs(data[start:]), 0
        sample, delimiter = data[:HEAD_BYTES].decode("utf-8", errors="ignore"), "\t"
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
    return Text(data, start, delimiter, head, ends, comment), notes


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
    if len(sample.encode()) >= HEAD_BYTES - 3 and len(records) > 1 and len(records) < HEAD_ROWS:
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
