"""Postal addresses with a house number above every number in the real ones."""

from typing import Literal

import pyarrow as pa

from synthmill.data.columns import UInt64
from synthmill.data.keys.base import Key, above, faker, longest_of, numbers_from, seeded

SALT = 43


class Address(Key):
    """`10003 Miller Street, Springfield`: the street and town are made up, the number is nobody's."""

    kind: Literal["address"] = "address"
    first: int

    @classmethod
    def fit(cls, real: pa.Array, locale: str | None) -> "Address":
        faker(locale)
        return cls(locale=locale, first=above(real))

    def decisive(self, real: pa.Array) -> pa.Array:
        return longest_of(real)

    def write(self, rows: UInt64) -> pa.Array:
        fakes = zip(seeded(self.locale, rows, SALT), numbers_from(self.first, rows), strict=True)
        return pa.array(
            [f"{number} {fake.street_name()}, {fake.city()}" for fake, number in fakes], pa.string()
        )
