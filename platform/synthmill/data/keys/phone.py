"""Telephone numbers written as most real ones are, in blocks of numbers that the source has none of."""

import re
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.data.columns import UInt64
from synthmill.data.keys.base import Key
from synthmill.data.numbering import Numbering, free_numbering

LONGEST_PREFIX = 4
"""Characters that all numbers may share and that are kept: a country code is public, more would tell a
person."""
MOST_DIGITS = 17


class Phone(Key):
    """`+49 151 0000 1000`: same country, spaces and length as most real ones."""

    kind: Literal["phone"] = "phone"
    prefix: str
    skeleton: str
    """What follows the prefix, with 0 for each digit."""
    numbering: Numbering

    @classmethod
    def fit(cls, real: pa.Array, locale: str | None) -> "Phone":
        texts = pc.utf8_trim_whitespace(real)
        skeletons = pc.replace_substring_regex(texts, r"\d", "0")
        counts = pc.value_counts(skeletons)
        if not len(counts):
            return cls(prefix="+", skeleton="000 000 0000", numbering=Numbering())
        common = counts[int(np.argmax(counts.field("counts").to_numpy()))]["values"].as_py()
        alike = texts.filter(pc.equal(skeletons, common)).to_pylist()
        # What the first and the last in order have in common, all have.
        low, high = min(alike), max(alike)
        shared = next((i for i, (a, b) in enumerate(zip(low, high, strict=True)) if a != b), 0)
        prefix = low[: min(shared, LONGEST_PREFIX)]
        numbers = ["".join(re.findall(r"\d", text[len(prefix) :]))[-MOST_DIGITS:] for text in alike]
        digits = min(common[len(prefix) :].count("0"), MOST_DIGITS)
        taken = np.array([int(number) for number in numbers if number], dtype=np.int64)
        return cls(prefix=prefix, skeleton=common[len(prefix) :], numbering=free_numbering(taken, 10**digits))

    def write(self, rows: UInt64) -> pa.Array:
        places = self.skeleton.count("0")
        return pa.array(
            [self._fill(f"{number:0{places}d}", places) for number in self.numbering.of(rows).tolist()],
            pa.string(),
        )

    def _fill(self, digits: str, places: int) -> str:
        """Digits in the places of the skeleton; those of a number that outgrew it follow the last place."""
        given = iter(digits[:places])
        body = "".join(next(given) if char == "0" else char for char in self.skeleton)
        return f"{self.prefix}{body}{digits[places:]}"
