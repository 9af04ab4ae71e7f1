"""The ways in which programs and people write that a value is missing."""

import pyarrow as pa
import pyarrow.compute as pc

from synthmill.data.columns import Bool
from synthmill.data.forms.base import to_bool

MISSING = (
    # R, SQL and its shells, pandas, Python, JavaScript, Excel, SAS and Stata, people, in this order.
    *("na", "<na>", "na_character_", "na_integer_", "na_real_", "null", "<null>", "(null)", "\\n"),
    *("nan", "-nan", "nat", "none", "nil", "undefined", "#n/a", "#na", "#null!", "#div/0!", "#value!"),
    *("#ref!", "#name?", "#num!", "#nv", "#wert!", "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan"),
    *(".", *(f".{letter}" for letter in "abcdefghijklmnopqrstuvwxyz_"), "n/a", "n.a.", "n.a", "n/d", "n.d."),
    *(
        "-",
        "--",
        "---",
        "\u2013",
        "\u2014",
        "?",
        "??",
        "missing",
        "(missing)",
        "<missing>",
        "(blank)",
        "blank",
    ),
    *("n/v", "k.a.", "s/d", "no data", "not available", "not applicable", "empty", "\\\\n"),
)
"""In lower case; heeded only where the rest of a column is typed, so that Namibia's code `NA` survives."""
_WORDS = pa.array(sorted(set(MISSING)), pa.string())


def is_missing_word(texts: pa.Array) -> Bool:
    """Which texts (N,) are one of `MISSING`, whatever their case, bool (N,)."""
    return to_bool(pc.is_in(pc.utf8_lower(pc.utf8_trim_whitespace(texts)), value_set=_WORDS))
