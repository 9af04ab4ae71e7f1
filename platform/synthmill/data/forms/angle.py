"""Coordinates with a hemisphere: `48.137 N`, `N 48.137`, `48 deg 8' 14" N` with their signs."""

import re
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.data.columns import UInt64
from synthmill.data.forms.base import Form, Found, Hint, Values, to_bool

_DEGREES = re.compile(
    "(?P<head>[NSEW]?)(?P<g0>\\s?)(?P<body>\\d{1,3}(?:[.,]\\d+)?)(?P<unit>\\s?\u00b0?\\s?)(?P<tail>[NSEW]?)"
)
_SEXAGESIMAL = re.compile(
    "(?P<d>\\d{1,3})(?P<u1>\\s?\u00b0\\s?)(?P<m>\\d{1,2})(?P<u2>\\s?['\u2032\u2019]\\s?)"
    "(?:(?P<s>\\d{1,2}(?:\\.\\d+)?)(?P<u3>\\s?[\"\u2033\u201d]\\s?|''\\s?))?(?P<tail>[NSEW])"
)


class AngleForm(Form):
    """Degrees north or east are positive."""

    form: Literal["angle"] = "angle"
    axis: Literal["NS", "EW"] = "NS"
    leading: bool = False
    """Whether the hemisphere stands first."""
    marks: tuple[str, str, str] = (" ", "", "")
    """What stands after degrees, minutes and seconds; or before degrees, where the hemisphere stands
    first."""
    sexagesimal: bool = False
    seconds: bool = True
    decimals: int = 0
    """Digits after the point of the last part."""
    padded: bool = False
    """Whether minutes and seconds have two digits."""

    @property
    def example(self) -> str:
        return str(self.write(pa.array([12.5]))[0])

    def parse(self, texts: pa.Array) -> pa.Array:
        """Degrees, float64."""
        cells = pc.extract_regex(texts, self._regex())
        valid = to_bool(cells.is_valid())
        number = {
            name: np.asarray(pc.struct_field(cells, name).fill_null("0").cast(pa.float64()))
            for name in ("d", "m", "s")
            if f"(?P<{name}>" in self._regex()
        }
        values = number["d"] + number.get("m", 0) / 60 + number.get("s", 0) / 3600
        below = to_bool(pc.equal(pc.struct_field(cells, "h"), "S" if self.axis == "NS" else "W"))
        return pa.array(np.where(below, -values, values), mask=~valid)

    def write(self, typed: pa.Array, noise: UInt64 | None = None) -> pa.Array:
        """Texts of degrees."""
        values = np.asarray(typed.cast(pa.float64()).to_numpy(zero_copy_only=False))
        valid = np.isfinite(values)
        values = np.where(valid, values, 0)
        letter = pc.if_else(pa.array(values < 0), *(("S", "N") if self.axis == "NS" else ("W", "E")))
        scale = 10**self.decimals
        # Counted in the smallest unit shown, so that 59.9999 never becomes 60 seconds.
        size = (3600 if self.seconds else 60) if self.sexagesimal else 1
        units = np.rint(np.abs(values) * size * scale).astype(np.int64)
        whole, part = np.divmod(units, scale)
        last = pa.array(whole % 60 if self.sexagesimal else whole).cast(pa.string())
        last = pc.utf8_lpad(last, 2, "0") if self.sexagesimal and self.padded else last
        if self.decimals:
            tail = pc.utf8_lpad(pa.array(part).cast(pa.string()), self.decimals, "0")
            last = pc.binary_join_element_wise(last, tail, ".")
        parts = [last]
        if self.sexagesimal:
            rest = whole // 60
            parts = [pa.array(rest if not self.seconds else rest // 60).cast(pa.string())]
            if self.seconds:
                minutes = pa.array(rest % 60).cast(pa.string())
                parts.append(pc.utf8_lpad(minutes, 2, "0") if self.padded else minutes)
            parts.append(last)
        pieces = [letter, pa.scalar(self.marks[0]), *parts] if self.leading else []
        if not self.leading:
            for text, mark in zip(parts, self.marks, strict=False):
                pieces += [text, pa.scalar(mark)]
            pieces.append(letter)
        text = pc.binary_join_element_wise(*pieces, "")
        return pc.if_else(pa.array(valid), text, pa.scalar(None, pa.string()))

    def _regex(self) -> str:
        tail = rf"\.\d{{{self.decimals}}}" if self.decimals else ""
        hemisphere = f"(?P<h>[{self.axis}])"
        first, second, third = map(re.escape, self.marks)
        if not self.sexagesimal:
            number = rf"(?P<d>\d{{1,3}}{tail})"
            return rf"^{hemisphere}{first}{number}$" if self.leading else rf"^{number}{first}{hemisphere}$"
        minutes = rf"(?P<m>\d{{1,2}}{'' if self.seconds else tail}){second}"
        seconds = rf"(?P<s>\d{{1,2}}{tail}){third}" if self.seconds else ""
        return rf"^(?P<d>\d{{1,3}}){first}{minutes}{seconds}{hemisphere}$"


def find(values: Values, hint: Hint = Hint()) -> Found | None:  # noqa: B008
    """The form of most of the texts."""
    sample = values.first(200).texts.to_pylist()
    degrees = [
        match for text in sample if (match := _DEGREES.fullmatch(text)) and (match["head"] or match["tail"])
    ]
    parts = [match for text in sample if (match := _SEXAGESIMAL.fullmatch(text))]
    found = max(degrees, parts, key=len)
    if len(found) * 2 < len(sample):
        return None
    first = found[0]
    if found is parts:
        letters = {match["tail"] for match in found}
        ends = [(match["s"] or match["m"]).partition(".")[2] for match in found]
        form = AngleForm(
            axis="NS" if letters <= set("NS") else "EW",
            marks=(first["u1"], first["u2"], first["u3"] or ""),
            sexagesimal=True,
            seconds=first["s"] is not None,
            decimals=max(map(len, ends)),
            padded=all(len(match["m"]) == 2 for match in found),
        )
    else:
        letters = {match["head"] or match["tail"] for match in found}
        leading = bool(first["head"])
        form = AngleForm(
            axis="NS" if letters <= set("NS") else "EW",
            leading=leading,
            marks=(first["g0"] if leading else first["unit"], "", ""),
            decimals=max(len(match["body"].partition(".")[2]) for match in found),
        )
    # One letter for both axes, or a letter that is a size or a class, is no hemisphere.
    if not (letters <= set("NS") or letters <= set("EW")):
        return None
    read = to_bool(form.parse(values.texts).is_valid())
    return Found(form, read) if values.share(read) >= 0.3 else None
