"""Durations: `1:30:00`, `75:30`, `2h 5m`, `3 days 04:05:06`, `PT2H5M`."""

import re
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.data.columns import Int64, UInt64
from synthmill.data.forms.base import Form, Found, Hint, Values, to_bool

_SECONDS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
_CLOCK = (
    r"^(?P<minus>-?)(?:(?P<days>\d+)(?P<word> days? |\.|d ))?"
    r"(?P<hours>\d+):(?P<minutes>[0-5]\d)(?::(?P<seconds>[0-5]\d))?$"
)
_PART = re.compile(r"(\d+)(\s*)([^\W\d_]+)(\W*)")
_WORDS = (
    ("weeks", "week", "w", "W"),
    ("days", "day", "d", "D", "Tage", "Tag", "T"),
    ("hours", "hour", "hrs", "hr", "h", "H", "Std", "Stunden"),
    ("minutes", "minute", "mins", "min", "m", "M", "Min", "Minuten"),
    ("seconds", "second", "secs", "sec", "s", "S", "Sek", "Sekunden"),
)
_UNIT_OF = {word: unit for unit, words in zip(_SECONDS, _WORDS, strict=True) for word in words}


class DurationForm(Form):
    """Whole seconds as a clock or as a list of units."""

    form: Literal["duration"] = "duration"
    style: Literal["clock", "units", "iso"] = "clock"
    days: str = ""
    """What stands between days and hours of a clock: ` days `; empty: hours run on beyond 24."""
    seconds: bool = True
    """Whether a clock has seconds."""
    hours_first: bool = True
    """Whether a clock without seconds shows hours and minutes, rather than minutes and seconds."""
    padded: bool = False
    """Whether hours have two digits at least."""
    units: tuple[str, ...] = ()
    """The units of a list, largest first, as written, each with what stands before it: `h`, ` min`."""
    gap: str = " "
    """What stands between the parts of a list."""
    zeros: bool = False
    """Whether a list shows its parts that are zero."""

    @property
    def example(self) -> str:
        return str(self.write(pa.array([93900 if self.style != "clock" else 5400], pa.duration("s")))[0])

    def parse(self, texts: pa.Array) -> pa.Array:
        """duration[s]."""
        if self.style == "clock":
            return self._parse_clock(texts)
        cells = pc.extract_regex(texts, self._regex())
        valid = to_bool(cells.is_valid()) & to_bool(pc.match_substring_regex(texts, r"\d"))
        total = np.zeros(len(texts), dtype=np.int64)
        for at, unit in enumerate(self.units):
            part = pc.struct_field(cells, f"n{at}").fill_null("")
            numbers = pc.if_else(pc.equal(part, ""), "0", part).cast(pa.int64())
            total += np.asarray(numbers) * _SECONDS[_unit(unit)]
        return pa.array(total, pa.duration("s"), mask=~valid)

    def write(self, typed: pa.Array, noise: UInt64 | None = None) -> pa.Array:
        """Texts of durations of any unit, to the second."""
        valid = to_bool(typed.is_valid())
        total = np.asarray(typed.cast(pa.duration("s"), safe=False).cast(pa.int64()).fill_null(0))
        sign = pc.if_else(pa.array(total < 0), "-", "")
        total = np.abs(total)
        text = self._write_clock(total) if self.style == "clock" else self._write_units(total)
        text = pc.binary_join_element_wise(sign, text, "")
        return pc.if_else(pa.array(valid), text, pa.scalar(None, pa.string()))

    def _parse_clock(self, texts: pa.Array) -> pa.Array:
        cells = pc.extract_regex(texts, _CLOCK)

        def number(name: str) -> Int64:
            text = pc.struct_field(cells, name).fill_null("")
            return np.asarray(pc.if_else(pc.equal(text, ""), "0", text).cast(pa.int64()), dtype=np.int64)

        big, small, last = number("hours"), number("minutes"), number("seconds")
        has_last = to_bool(pc.not_equal(pc.struct_field(cells, "seconds"), ""))
        has_days = to_bool(pc.not_equal(pc.struct_field(cells, "days"), ""))
        valid = to_bool(cells.is_valid()) & (has_last == self.seconds) & (has_days == bool(self.days))
        if not self.seconds and not self.hours_first:
            total = big * 60 + small
        else:
            total = number("days") * 86400 + big * 3600 + small * 60 + last
        minus = to_bool(pc.equal(pc.struct_field(cells, "minus"), "-"))
        return pa.array(np.where(minus, -total, total), pa.duration("s"), mask=~valid)

    def _write_clock(self, total: Int64) -> pa.Array:
        def text(numbers: Int64, width: int) -> pa.Array:
            return pc.utf8_lpad(pa.array(numbers).cast(pa.string()), width, "0")

        days, rest = np.divmod(total, 86400) if self.days else (total * 0, total)
        if not self.seconds and not self.hours_first:
            return pc.binary_join_element_wise(text(rest // 60, 1 + self.padded), text(rest % 60, 2), ":")
        parts = [text(rest // 3600, 1 + self.padded), text(rest // 60 % 60, 2)]
        parts += [text(rest % 60, 2)] if self.seconds else []
        clock = pc.binary_join_element_wise(*parts, ":")
        return pc.binary_join_element_wise(text(days, 1), clock, pa.scalar(self.days)) if self.days else clock

    def _regex(self) -> str:
        text = ""
        for at, unit in enumerate(self.units):
            mark = "T" if self.style == "iso" and self._time_begins(at) else ""
            gap = rf"(?:{re.escape(self.gap)})?" if at and self.gap else ""
            text += rf"{mark}?(?:{gap}(?P<n{at}>\d+){re.escape(unit)})?"
        return rf"^P?{text}$" if self.style == "iso" else f"^{text}$"

    def _time_begins(self, at: int) -> bool:
        clocks = [_unit(unit) in "hms" for unit in self.units]
        return clocks[at] and not any(clocks[:at])

    def _write_units(self, total: Int64) -> pa.Array:
        text = pa.array([""] * len(total), pa.string())
        rest, shown = total, np.zeros(len(total), dtype=bool)
        clock = np.zeros(len(total), dtype=bool)
        for at, unit in enumerate(self.units):
            size = _SECONDS[_unit(unit)]
            part, rest = np.divmod(rest, size)
            last = at == len(self.units) - 1
            show = (part > 0) | self.zeros | (last & ~shown)
            number = pc.binary_join_element_wise(pa.array(part).cast(pa.string()), pa.scalar(unit), "")
            if self.style == "iso" and _unit(unit) in "hms":
                number = pc.binary_join_element_wise(pc.if_else(pa.array(clock), "", "T"), number, "")
                clock |= show
            gap = pc.if_else(pa.array(shown & (self.style != "iso")), self.gap, "")
            text = pc.if_else(pa.array(show), pc.binary_join_element_wise(text, gap, number, ""), text)
            shown |= show
        return pc.binary_join_element_wise(pa.scalar("P"), text, "") if self.style == "iso" else text


def find(values: Values, hint: Hint = Hint()) -> Found | None:  # noqa: B008
    """The form of most of the texts; times of day are `dates`, which is asked first."""
    cells = pc.extract_regex(values.texts, _CLOCK)
    fits = to_bool(cells.is_valid())
    form = _clock(values.where(fits)) if values.share(fits) >= 0.3 else _units(values)
    if form is None:
        return None
    read = to_bool(form.parse(values.texts).is_valid())
    return Found(form, read) if values.share(read) >= 0.3 else None


def _clock(values: Values) -> DurationForm:
    cells = pc.extract_regex(values.texts, _CLOCK)
    seconds = to_bool(pc.not_equal(pc.struct_field(cells, "seconds"), ""))
    has_days = to_bool(pc.not_equal(pc.struct_field(cells, "days"), ""))
    word = pc.struct_field(cells, "word").filter(pa.array(has_days))
    with_days = values.share(has_days) > 0.5
    hours = pc.struct_field(cells, "hours")
    return DurationForm(
        days=str(pc.mode(word.dictionary_encode().indices) and word[0]) if with_days else "",
        seconds=values.share(seconds) > 0.5,
        padded=not to_bool(pc.equal(pc.utf8_length(hours), 1)).any(),
    )


def _units(values: Values) -> DurationForm | None:
    """The units of lists such as `2h 5m`; None where a sample holds none."""
    sample = values.first(200).texts.to_pylist()
    iso = [text for text in sample if re.fullmatch(r"P(?=.)(\d+[WD])*(T(\d+[HMS])+)?", text)]
    style: Literal["units", "iso"] = "iso" if len(iso) * 2 > len(sample) else "units"
    shown: dict[str, str] = {}
    gaps, zeros, lists = [], False, 0
    for text in iso if style == "iso" else sample:
        body = text.replace("P", "").replace("T", "") if style == "iso" else text
        parts = _PART.findall(body)
        if not parts or "".join("".join(part) for part in parts) != body:
            continue
        units = [_UNIT_OF.get(word) for _, _, word, _ in parts]
        if None in units:
            continue
        lists += 1
        for (number, space, word, gap), unit in zip(parts, units, strict=True):
            assert unit is not None
            shown.setdefault(unit, space + word)
            zeros |= number == "0" and len(parts) > 1
            gaps += [gap] if gap else []
    # One unit alone is a number with a unit.
    if len(shown) < 2 or lists * 2 < len(sample):
        return None
    ordered = tuple(shown[unit] for unit in _SECONDS if unit in shown)
    return DurationForm(style=style, units=ordered, gap=gaps[0] if gaps else "", zeros=zeros)


def _unit(text: str) -> str:
    return _UNIT_OF[text.strip()]
