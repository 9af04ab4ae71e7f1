"""Names of people, of a form that no real one of the source has."""

import re
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from synthmill.data.columns import UInt64
from synthmill.data.keys.base import Key, above, faker, longest_of, numbers_from, seeded

SALT = 41
FORMS: tuple[tuple[str, str], ...] = (
    # A form, and what texts of that form match. Two family names are rare enough that most sources have none.
    ("{first} {last}-{other}", r"\S+-\S+$"),
    ("{first} {last} {other}", r"^\S+ \S+ \S+$"),
    ("{first} {initial}. {last}-{other}", r"\b\w\. \S+-\S+$"),
)


class Name(Key):
    """`Anna Meyer-Schulz`; with a number where the source has names of every other form."""

    kind: Literal["name"] = "name"
    form: str
    first: int

    @classmethod
    def fit(cls, real: pa.Array, locale: str | None) -> "Name":
        faker(locale)
        numbered = "{first} {last} {number}"
        form = next((form for form, like in FORMS if not _any(real, like)), numbered)
        return cls(locale=locale, form=form, first=above(real))

    def decisive(self, real: pa.Array) -> pa.Array:
        return pa.concat_arrays([longest_of(real), *(_first(real, like) for _, like in FORMS)])

    def write(self, rows: UInt64) -> pa.Array:
        texts = []
        for fake, number in zip(seeded(self.locale, rows, SALT), numbers_from(self.first, rows), strict=True):
            first, last, other = fake.first_name(), fake.last_name(), fake.last_name()
            texts.append(
                self.form.format(
                    first=first, last=_one_word(last), other=_one_word(other), initial=first[0], number=number
                )
            )
        return pa.array(texts, pa.string())


def _first(real: pa.Array, like: str) -> pa.Array:
    found: pa.Array = real.filter(pc.match_substring_regex(real, like)).slice(0, 1)
    return found


def _any(real: pa.Array, like: str) -> bool:
    return bool(len(real) and pc.any(pc.match_substring_regex(real, like)).as_py())


def _one_word(name: str) -> str:
    # A locale's list may hold names of several words or with hyphens, which would make another form.
    return re.split(r"[\s-]+", name)[-1]
