"""E-mail addresses at domains that are reserved for examples (RFC 2606), with a number above every real
one's."""

from typing import ClassVar, Literal

import pyarrow as pa

from synthmill.data.columns import UInt64
from synthmill.data.keys.base import Key, above, longest_of, numbers_from
from synthmill.data.mixing import mix

DOMAINS = ("example.com", "example.net", "example.org")
WORDS = (
    "amber",
    "birch",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "heron",
    "iris",
    "juniper",
    "kestrel",
    "linden",
)


class Email(Key):
    """`cedar.1004@example.org`: nobody can be reached there."""

    kind: Literal["email"] = "email"
    first: int
    pattern: ClassVar[str] = r"[A-Za-z0-9._%+'-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"

    @classmethod
    def fit(cls, real: pa.Array, locale: str | None) -> "Email":
        return cls(first=above(real))

    def decisive(self, real: pa.Array) -> pa.Array:
        return longest_of(real)

    def write(self, rows: UInt64) -> pa.Array:
        words = (mix(rows, 31) % len(WORDS)).tolist()
        domains = (mix(rows, 32) % len(DOMAINS)).tolist()
        numbers = numbers_from(self.first, rows)
        return pa.array(
            [f"{WORDS[w]}.{n}@{DOMAINS[d]}" for w, d, n in zip(words, domains, numbers, strict=True)],
            pa.string(),
        )
