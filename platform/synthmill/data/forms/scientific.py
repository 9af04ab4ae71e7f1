"""Numbers with an exponent, stored as text: `1.234e-05`."""

from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.data.columns import UInt64
from synthmill.data.forms.base import Form, Found, Hint, Values, to_bool

_CELL = r"^-?\d(?:\.(?P<part>\d{1,16}))?(?P<e>[eE])[+-]\d{2,3}$"
_NUMBER = r"^-?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?$"


class ScientificForm(Form):
    """One digit, decimals, and an exponent of a sign and two digits or three, as `%e` of C writes it."""

    form: Literal["scientific"] = "scientific"
    decimals: int = 0
    capital: bool = False

    @property
    def group(self) -> str:
        return "number"

    @property
    def example(self) -> str:
        return str(self.write(pa.array([-0.0012345]))[0])

    def parse(self, texts: pa.Array) -> pa.Array:
        """float64; plain numbers among them, too."""
        fits = pc.match_substring_regex(texts, _NUMBER)
        return pc.if_else(fits, texts, pa.scalar(None, pa.string())).cast(pa.float64())

    def write(self, typed: pa.Array, noise: UInt64 | None = None) -> pa.Array:
        """Texts of floats."""
        values = np.asarray(typed.cast(pa.float64()).to_numpy(zero_copy_only=False))
        valid = np.isfinite(values)
        texts = np.char.mod(f"%.{self.decimals}{'E' if self.capital else 'e'}", np.where(valid, values, 0))
        return pa.array(texts.astype(object), pa.string(), mask=~valid)


def find(values: Values, hint: Hint = Hint()) -> Found | None:  # noqa: B008
    """The form where most texts have an exponent with its sign: without one they are codes, as 1E5 is."""
    cells = pc.extract_regex(values.texts, _CELL)
    fits = to_bool(cells.is_valid())
    if values.share(fits) < 0.3:
        return None
    parts = pc.struct_field(cells, "part").filter(pa.array(fits))
    lengths = np.asarray(pc.binary_length(parts.fill_null("")))
    capital = to_bool(pc.equal(pc.struct_field(cells, "e"), "E"))
    form = ScientificForm(
        decimals=int(np.bincount(lengths).argmax()), capital=values.share(capital) > values.share(fits) / 2
    )
    return Found(form, to_bool(form.parse(values.texts).is_valid()))
