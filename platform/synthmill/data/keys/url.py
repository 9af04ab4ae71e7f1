"""Addresses of pages at a domain that is reserved for examples (RFC 2606)."""

from typing import ClassVar, Literal

import pyarrow as pa

from synthmill.data.columns import UInt64
from synthmill.data.keys.base import Key, above, longest_of, numbers_from


class Url(Key):
    """`https://www.example.com/page/10004`."""

    kind: Literal["url"] = "url"
    first: int
    pattern: ClassVar[str] = r"(?i:https?|ftp)://\S+"

    @classmethod
    def fit(cls, real: pa.Array, locale: str | None) -> "Url":
        return cls(first=above(real))

    def decisive(self, real: pa.Array) -> pa.Array:
        return longest_of(real)

    def write(self, rows: UInt64) -> pa.Array:
        return pa.array(
            [f"https://www.example.com/page/{n}" for n in numbers_from(self.first, rows)], pa.string()
        )
