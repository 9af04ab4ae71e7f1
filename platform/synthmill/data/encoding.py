"""Text files to UTF-8: marks are heeded, everything else is asked for, as one 8-bit encoding looks like
another."""

import codecs
import re

from synthmill.data.formats.base import FIELD
from synthmill.errors import DataError

_MARKS = (
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_SEEN_BYTES = 512


def to_utf8(data: bytes, name: str, encoding: str | None) -> tuple[bytes, list[str]]:
    """The text in UTF-8, and a note where it was in another encoding.

    Raises:
        DataError: not in the encoding stated, not UTF-8 where none is stated, or a zero byte.
    """
    notes = []
    stated = encoding or marked(data)
    if stated is not None and codecs_name(stated) not in ("utf-8", "utf-8-sig", "ascii"):
        try:
            data = data.decode(stated).removeprefix("\ufeff").encode()
        except UnicodeError as fault:
            raise DataError(
                f"{name} is not {stated} ({fault}); set data.encoding to the one it is in", field=FIELD
            ) from None
        if encoding is None:
            notes.append(f"{name} is {stated.upper()} and was read as such")
    zero = data.find(b"\0")
    if zero >= 0:
        line = data.count(b"\n", 0, zero) + 1
        raise DataError(
            f"line {line} of {name} holds a zero byte; the file is damaged or no text",
            field=FIELD,
        )
    try:
        # Arrow would say so too, but not where.
        data.isascii() or data.decode()
    except UnicodeDecodeError as fault:
        raise _not_utf8(data, name, fault.start) from None
    return data, notes


def codecs_name(encoding: str) -> str:
    """The usual name of an encoding.

    Raises:
        DataError: no such encoding.
    """
    try:
        return codecs.lookup(encoding).name
    except LookupError:
        raise DataError(
            f"no encoding named {encoding!r}; e.g. cp1252, latin-1, utf-16", field="data.encoding"
        ) from None


def marked(data: bytes) -> str | None:
    """The encoding that a byte order mark states, or UTF-16 without one by its zeros."""
    found = next((encoding for mark, encoding in _MARKS if data.startswith(mark)), None)
    if found is not None:
        return found
    begin = data[:_SEEN_BYTES]
    even, odd = begin[::2].count(0), begin[1::2].count(0)
    if len(begin) >= 4 and max(even, odd) > 0.4 * len(begin) and min(even, odd) == 0:
        return "utf-16-le" if odd else "utf-16-be"
    return None


def _not_utf8(data: bytes, name: str, at: int) -> DataError:
    line = data.count(b"\n", 0, at) + 1
    begin = data.rfind(b"\n", 0, at) + 1
    end = data.find(b"\n", at)
    around = data[max(begin, at - 20) : min(len(data) if end < 0 else end, at + 20)]
    # The person knows which spelling is right; the file does not say.
    word = re.search(r"[^\s,;|\"\t]*[^\x00-\x7f][^\s,;|\"\t]*", around.decode("cp1252", errors="replace"))
    shown = f"{word[0]!r} in Windows-1252" if word else f"byte {data[at]:02x}"
    return DataError(
        f"line {line} of {name} is not UTF-8 ({shown}); set data.encoding: cp1252 if that is right, else the"
        " encoding it is in, or save it as UTF-8",
        field=FIELD,
    )
