"""Dates, times of day, and both, in any order and with any marks: `10/23/2021`, `23.10.21`, `01JAN2024`,
`2:30 PM`, `2021-10-23 16:26:29 UTC`."""

import functools
import re
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.data.columns import Bool, Int64, UInt64
from synthmill.data.forms.base import Form, to_bool

PATTERNS = {
    "Y": r"\d{4}",
    "y": r"\d{2}",
    "m": r"0[1-9]|1[0-2]",
    "-m": r"[1-9]|1[0-2]",
    "d": r"0[1-9]|[12]\d|3[01]",
    "-d": r"[1-9]|[12]\d|3[01]",
    "H": r"[01]\d|2[0-3]",
    "-H": r"1?\d|2[0-3]",
    "I": r"0[1-9]|1[0-2]",
    "-I": r"[1-9]|1[0-2]",
    "M": r"[0-5]\d",
    "S": r"[0-5]\d",
    "f": r"\d{1,9}",
    "z": r"Z|[+-]\d{2}(?::?\d{2})?",
}
"""What each directive reads; `-` before a letter: without leading zeros. Names (`b`, `a`, `p`) are the
form's own."""
DIRECTIVE = re.compile(r"%(-?[a-zA-Z%])")
_UNITS = {0: "s", 3: "ms", 6: "us", 9: "ns"}
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_DAY = 86400


class MomentForm(Form):
    """A pattern in the directives of `strftime`."""

    form: Literal["moment"] = "moment"
    pattern: str
    digits: int = 0
    """Digits of `%f`."""
    unit: Literal["D", "s", "ms", "us", "ns"] = "D"
    """Of the typed values; D: dates without a time."""
    months: tuple[str, ...] = ()
    """Names for `%b`, as written."""
    days: tuple[str, ...] = ()
    """Names of weekdays for `%a`, Monday first."""
    halves: tuple[str, ...] = ()
    """How AM and PM are written."""
    century: int = 1969
    """First of the hundred years that two digits stand for."""
    zone: str | None = None
    """`UTC` where the pattern says so in words or by `%z`; an offset such as `+01:00` where all texts end in
    it."""
    colon: bool = True
    """Whether an offset is written with a colon."""
    zulu: bool = False
    """Whether UTC is written `Z` by `%z`."""

    @property
    def type(self) -> pa.DataType:
        """Dates, times of day, or timestamps."""
        if self.unit == "D":
            return pa.date32()
        if not self._has("Y", "y"):
            return pa.time32(self.unit) if self.unit in ("s", "ms") else pa.time64(self.unit)
        return pa.timestamp(self.unit, self.zone)

    @property
    def plain(self) -> bool:
        date_first = self.pattern.startswith("%Y-%m-%d")
        return date_first and self.pattern[8:] in ("", " %H:%M:%S", "T%H:%M:%S") and self.zone is None

    @property
    def group(self) -> str:
        return "time of day" if not self._has("Y", "y") else "date"

    @property
    def example(self) -> str:
        if not self._has("Y", "y"):
            return str(self.write(pa.array([52200], pa.time32("s")).cast(self.type))[0])
        made = pa.array([1706711400], pa.timestamp("s")).cast(
            pa.timestamp("s" if self.unit == "D" else self.unit, self.zone)
        )
        return str(self.write(made.cast(self.type, safe=False))[0])

    def parse(self, texts: pa.Array) -> pa.Array:
        """Dates, timestamps (UTC where there are offsets) or times of day."""
        cells = pc.extract_regex(texts, self.regex())
        valid = to_bool(cells.is_valid())
        get = functools.partial(self._number, cells)
        seconds = self._hours(cells) * 3600 + get("M") * 60 + get("S")
        if self._has("Y", "y"):
            days, exists = self._days(cells)
            valid &= exists
            if self.unit == "D":
                return pa.array(days.astype(np.int32), pa.date32(), mask=~valid)
            seconds = seconds + days * _DAY - self._offsets(cells) - self._ahead
        scale = _PER_SECOND[self.unit]
        part = np.zeros(len(texts), dtype=np.int64)
        if self._has("f"):
            texts_f = pc.utf8_rpad(pc.struct_field(cells, "f").fill_null("0"), 9, "0")
            part = np.asarray(texts_f.cast(pa.int64())) // (10**9 // scale)
        # Nanoseconds reach from 1677 to 2262 only.
        valid &= np.abs(seconds) < (2**63 - 1) // scale
        numbers = np.where(valid, seconds * scale + part, 0)
        if self.unit in ("s", "ms") and not self._has("Y", "y"):
            return pa.array(numbers.astype(np.int32), self.type, mask=~valid)
        return pa.array(numbers, self.type, mask=~valid)

    def write(self, typed: pa.Array, noise: UInt64 | None = None) -> pa.Array:
        """Texts of dates, timestamps or times of day; finer units are cut off."""
        valid = to_bool(typed.is_valid())
        scale = 1
        if pa.types.is_date32(typed.type):
            numbers = np.asarray(typed.cast(pa.int32()).fill_null(0), dtype=np.int64) * _DAY
        elif pa.types.is_time32(typed.type):
            scale = _PER_SECOND[typed.type.unit]
            numbers = np.asarray(typed.cast(pa.int32()).fill_null(0), dtype=np.int64)
        else:
            scale = _PER_SECOND[typed.type.unit]
            numbers = np.asarray(typed.cast(pa.int64()).fill_null(0), dtype=np.int64)
        seconds, part = np.divmod(numbers, scale)
        seconds = seconds + self._ahead
        days, clock = np.divmod(seconds, _DAY)
        parts: list[Any] = []
        for at, piece in enumerate(DIRECTIVE.split(self.pattern)):
            if at % 2 == 0:
                parts += [pa.scalar(piece)] if piece else []
            else:
                parts.append(self._piece(piece, days, clock, part * (10**9 // scale)))
        text = pc.binary_join_element_wise(*parts, "")
        if isinstance(text, pa.Scalar):
            text = pa.repeat(text, len(typed))
        return pc.if_else(pa.array(valid), text, pa.scalar(None, pa.string()))

    def regex(self) -> str:
        """A pattern with a named group for each directive."""
        text = ""
        for at, piece in enumerate(DIRECTIVE.split(self.pattern)):
            if at % 2 == 0:
                text += re.escape(piece)
            else:
                name = piece.lstrip("-")
                text += rf"(?P<{name}>{self._reads(piece)})"
        return f"^{text}$"

    @property
    def _ahead(self) -> int:
        """Seconds that the column's own zone is ahead of UTC."""
        if self.zone in (None, "UTC"):
            return 0
        assert self.zone is not None
        hours, minutes = int(self.zone[1:3]), int(self.zone[4:6])
        return (hours * 3600 + minutes * 60) * (-1 if self.zone[0] == "-" else 1)

    def _reads(self, directive: str) -> str:
        own = {"b": self.months, "a": self.days, "p": self.halves}
        if directive in own:
            return "|".join(sorted(map(re.escape, own[directive]), key=len, reverse=True))
        if directive == "f":
            return rf"\d{{{self.digits}}}" if self.digits else PATTERNS["f"]
        return PATTERNS[directive]

    def _has(self, *directives: str) -> bool:
        own = {name.lstrip("-") for name in DIRECTIVE.findall(self.pattern)}
        return not own.isdisjoint(directives)

    def _number(self, cells: pa.Array, name: str, missing: int = 0) -> Int64:
        if not self._has(name):
            return np.full(len(cells), missing, dtype=np.int64)
        numbers: Int64 = np.asarray(
            pc.struct_field(cells, name).cast(pa.int64()).fill_null(missing), dtype=np.int64
        )
        return numbers

    def _hours(self, cells: pa.Array) -> Int64:
        if not self._has("I"):
            return self._number(cells, "H")
        late = to_bool(pc.equal(pc.struct_field(cells, "p"), self.halves[1]))
        return self._number(cells, "I") % 12 + 12 * late

    def _days(self, cells: pa.Array) -> tuple[Int64, Bool]:
        """Days since 1970, and whether there is such a day."""
        if self._has("y"):
            year = (self._number(cells, "y") - self.century) % 100 + self.century
        else:
            year = self._number(cells, "Y", 1970)
        month = self._number(cells, "m", 1)
        if self._has("b"):
            at = pc.index_in(pc.struct_field(cells, "b"), value_set=pa.array(self.months))
            month = np.asarray(at.fill_null(0), dtype=np.int64) % 12 + 1
        day = self._number(cells, "d", 1)
        months = (year - 1970) * 12 + month - 1
        first = _first_day(months)
        days = first + day - 1
        return days, days < _first_day(months + 1)

    def _offsets(self, cells: pa.Array) -> Int64:
        """Seconds that local time is ahead of UTC."""
        if not self._has("z"):
            return np.zeros(len(cells), dtype=np.int64)
        text = pc.replace_substring_regex(pc.struct_field(cells, "z").fill_null("Z"), r"^Z$|:", "")
        text = pc.utf8_rpad(pc.if_else(pc.equal(text, ""), "+0000", text), 5, "0")
        minutes = np.asarray(pc.utf8_slice_codeunits(text, 1, 3).cast(pa.int64())) * 60
        minutes = minutes + np.asarray(pc.utf8_slice_codeunits(text, 3, 5).cast(pa.int64()))
        behind = to_bool(pc.starts_with(text, "-"))
        offsets: Int64 = np.where(behind, -minutes, minutes) * 60
        return offsets

    def _piece(self, directive: str, days: Int64, clock: Int64, nanoseconds: Int64) -> pa.Array:
        """The text of one directive (N,)."""
        name = directive.lstrip("-")
        if name in "Yymdb":
            months = days.astype("M8[D]").astype("M8[M]").astype(np.int64)
            if name == "Y":
                return pc.utf8_lpad(pa.array(months // 12 + 1970).cast(pa.string()), 4, "0")
            if name == "y":
                return _digits(2).take(pa.array((months // 12 + 1970) % 100))
            if name == "b":
                return pa.array(self.months[:12]).take(pa.array(months % 12))
            numbers = months % 12 + 1 if name == "m" else days - _first_day(months) + 1
        elif name == "a":
            return pa.array(self.days).take(pa.array((days + 3) % 7))
        elif name == "p":
            return pa.array(self.halves[:2]).take(pa.array((clock >= _DAY // 2).astype(np.int64)))
        elif name == "z":
            zero = "Z" if self.zulu else "+00:00" if self.colon else "+0000"
            return pa.repeat(pa.scalar(zero), len(days))
        elif name == "f":
            digits = self.digits or 9
            return pc.utf8_lpad(pa.array(nanoseconds // 10 ** (9 - digits)).cast(pa.string()), digits, "0")
        else:
            hour = clock // 3600
            numbers = {
                "H": hour,
                "I": (hour + 11) % 12 + 1,
                "M": clock // 60 % 60,
                "S": clock % 60,
            }[name]
        return _digits(1 if directive.startswith("-") else 2).take(pa.array(numbers))


@functools.cache
def _digits(width: int) -> pa.Array:
    """0 to 99 as text of at least so many digits."""
    return pa.array([str(number).rjust(width, "0") for number in range(100)])


def _first_day(months: Int64) -> Int64:
    """Days since 1970 of the first day of months since 1970."""
    return months.astype("M8[M]").astype("M8[D]").astype(np.int64)
