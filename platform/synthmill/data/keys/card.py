"""Payment card numbers with a valid check digit (ISO/IEC 7812-1, the Luhn formula) in a range of issuers that
is kept for tests: 4000 00."""

import re
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.data.columns import UInt64
from synthmill.data.keys.base import Key
from synthmill.data.numbering import Numbering, free_numbering

ISSUER = "400000"
ACCOUNT_DIGITS = 9
CHECKED = 200


class Card(Key):
    """`4000 0000 0000 0002`, grouped as most real ones are."""

    kind: Literal["card"] = "card"
    mark: Literal[" ", "-", ""]
    numbering: Numbering
    pattern: ClassVar[str] = r"\d{4}([ -]?)\d{4}[ -]?\d{4}[ -]?\d{3,4}"

    @classmethod
    def fit(cls, real: pa.Array, locale: str | None) -> "Card":
        counts = {mark: pc.sum(pc.match_substring(real, mark)).as_py() or 0 for mark in (" ", "-")}
        likely = max(counts, key=lambda mark: counts[mark])
        mark: Literal[" ", "-", ""] = (
            "" if 2 * counts[likely] <= len(real) else (" " if likely == " " else "-")
        )
        digits = pc.replace_substring_regex(real, r"\D", "")
        same = digits.filter(pc.and_(pc.starts_with(digits, ISSUER), pc.equal(pc.binary_length(digits), 16)))
        accounts = pc.utf8_slice_codeunits(same, len(ISSUER), len(ISSUER) + ACCOUNT_DIGITS).cast(pa.int64())
        return cls(mark=mark, numbering=free_numbering(np.asarray(accounts), 10**ACCOUNT_DIGITS))

    @classmethod
    def matches(cls, values: pa.Array) -> bool:
        # Any number of 16 digits has the form; the check digit of 200 is right by chance once in 10^200.
        some = [re.sub(r"\D", "", text) for text in values[:CHECKED].to_pylist()]
        return super().matches(values) and all(luhn_digit(text[:-1]) == text[-1] for text in some)

    def write(self, rows: UInt64) -> pa.Array:
        texts = []
        for account in self.numbering.of(rows).tolist():
            body = f"{ISSUER}{account:0{ACCOUNT_DIGITS}d}"
            number = body + luhn_digit(body)
            texts.append(self.mark.join(number[at : at + 4] for at in range(0, len(number), 4)))
        return pa.array(texts, pa.string())


def luhn_digit(body: str) -> str:
    """The digit that makes `body` with it valid."""
    total = 0
    for position, digit in enumerate(reversed(body)):
        doubled = int(digit) * (2 if position % 2 == 0 else 1)
        total += doubled - 9 if doubled > 9 else doubled
    return str(-total % 10)
