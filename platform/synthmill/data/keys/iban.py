"""Bank accounts with valid check digits (ISO 13616-1, ISO 7064 MOD 97-10) at a bank code of zeros, which no
bank has."""

from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.data.columns import UInt64
from synthmill.data.keys.base import Key
from synthmill.data.numbering import Numbering, free_numbering

CHECKED = 200
MOST_DIGITS = 17
"""Digits of the account that are counted through; a 64-bit integer holds them."""


class Iban(Key):
    """`DE86 0000 0000 0000 0010 00`, with the country, length and spaces of most real ones."""

    kind: Literal["iban"] = "iban"
    country: str
    body_digits: int
    spaced: bool
    numbering: Numbering
    pattern: ClassVar[str] = r"[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?"

    @classmethod
    def fit(cls, real: pa.Array, locale: str | None) -> "Iban":
        plain = pc.replace_substring(real, " ", "")
        shapes = pc.binary_join_element_wise(
            pc.utf8_slice_codeunits(plain, 0, 2), pc.binary_length(plain).cast(pa.string()), ""
        )
        shape = str(pc.mode(pc.dictionary_encode(shapes).indices)[0]["mode"]) if len(real) else ""
        common = pc.dictionary_encode(shapes).dictionary[int(shape)].as_py() if shape else "DE22"
        country, length = common[:2], int(common[2:])
        spaced = bool(2 * (pc.sum(pc.match_substring(real, " ")).as_py() or 0) > len(real))
        body_digits = max(length - 4, 8)
        zeros = "0" * max(body_digits - MOST_DIGITS, 4)
        bodies = pc.utf8_slice_codeunits(plain, 4, 4 + body_digits)
        numeric = bodies.filter(pc.match_substring_regex(bodies, rf"^{zeros}\d+$"))
        tails = pc.utf8_slice_codeunits(numeric, len(zeros), body_digits)
        tails = tails.filter(pc.less_equal(pc.binary_length(tails), MOST_DIGITS)).cast(pa.int64())
        capacity = 10 ** (body_digits - len(zeros))
        return cls(
            country=country,
            body_digits=body_digits,
            spaced=spaced,
            numbering=free_numbering(np.asarray(tails), capacity),
        )

    @classmethod
    def matches(cls, values: pa.Array) -> bool:
        # Codes of two letters and digits are common; accounts have check digits.
        some = [text.replace(" ", "") for text in values[:CHECKED].to_pylist()]
        return super().matches(values) and all(check_digits(text[:2], text[4:]) == text[2:4] for text in some)

    def write(self, rows: UInt64) -> pa.Array:
        texts = []
        for number in self.numbering.of(rows).tolist():
            body = f"{number:0{self.body_digits}d}"
            text = f"{self.country}{check_digits(self.country, body)}{body}"
            texts.append(
                " ".join(text[at : at + 4] for at in range(0, len(text), 4)) if self.spaced else text
            )
        return pa.array(texts, pa.string())


def check_digits(country: str, body: str) -> str:
    """The two digits that make the account valid: 98 minus the remainder by 97 of body, country and `00`,
    letters standing for 10 to 35."""
    digits = "".join(str(int(char, 36)) for char in body + country + "00")
    return f"{98 - int(digits) % 97:02d}"
