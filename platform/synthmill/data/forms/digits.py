"""Codes of so many digits, leading zeros and all: postal codes, branch numbers. Learnt by their order."""

from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.data.columns import UInt64
from synthmill.data.forms.base import Form, Found, Hint, Values, to_bool

MAX_WIDTH = 18


class DigitsForm(Form):
    """A whole number padded with zeros."""

    form: Literal["digits"] = "digits"
    width: int

    @property
    def example(self) -> str:
        return "42".rjust(self.width, "0")

    def parse(self, texts: pa.Array) -> pa.Array:
        """int64."""
        fits = pc.match_substring_regex(texts, rf"^\d{{{self.width}}}$")
        return pc.if_else(fits, texts, pa.scalar(None, pa.string())).cast(pa.int64())

    def write(self, typed: pa.Array, noise: UInt64 | None = None) -> pa.Array:
        """Texts of numbers from 0."""
        numbers = pc.if_else(pc.less(typed, 0), 0, typed).cast(pa.string())
        return pc.utf8_lpad(numbers, self.width, "0")


def find(values: Values, hint: Hint = Hint()) -> Found | None:  # noqa: B008
    """The form where leading zeros occur, all codes are as long, and some occur twice: keys never do."""
    digits = to_bool(pc.match_substring_regex(values.texts, rf"^\d{{2,{MAX_WIDTH}}}$"))
    if not digits.all() or not to_bool(pc.starts_with(values.texts, "0")).any():
        return None
    lengths = np.asarray(pc.utf8_length(values.texts))
    if lengths.min() != lengths.max() or values.counts.max() == 1:
        return None
    return Found(DigitsForm(width=int(lengths[0])), digits)
