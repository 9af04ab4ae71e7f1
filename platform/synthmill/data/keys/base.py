"""Keys by kind: new e-mail addresses, telephone numbers, names, ... in the place of real ones.

A key of a row follows from the row's number alone, so that bytes do not depend on how the work is divided. It
is new by construction: by a range, a domain or a shape that no real value of the source has. What is kept of
the real values is that choice, never a value.
"""

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthmill import registry
from synthmill.config import FrozenModel
from synthmill.data.columns import UInt64
from synthmill.data.mixing import mix
from synthmill.errors import DataError

FOLDER = "data/keys"


class Key(FrozenModel, ABC):
    """How the keys of one column are made; the fields are saved with the codec."""

    kind: str
    """The file's name."""
    locale: str | None = None
    """One of Faker's, such as `de_DE`; None: en_US."""
    pattern: ClassVar[str] = ""
    """RE2 expression that texts of this kind match as a whole; "": only a schema file can tell the kind."""

    @classmethod
    @abstractmethod
    def fit(cls, real: pa.Array, locale: str | None) -> "Key":
        """Keys that none of `real` equals: distinct texts of all rows of the source. `locale` is one of
        Faker's, such as `de_DE`; None: en_US."""

    @abstractmethod
    def write(self, rows: UInt64) -> pa.Array:
        """Texts for global row numbers (N,), different for different rows; two people may share a name."""

    @classmethod
    def matches(cls, values: pa.Array) -> bool:
        """Whether all of `values` (distinct texts, not null) are of this kind."""
        return bool(
            cls.pattern
            and len(values)
            and pc.all(pc.match_substring_regex(values, f"^(?:{cls.pattern})$")).as_py()
        )

    def decisive(self, real: pa.Array) -> pa.Array:
        """Of `real` (distinct texts) those without which `beside` would make other keys: all, or far
        fewer."""
        return real

    def beside(self, real: pa.Array) -> "Key":
        """The same kind of keys, none of which is in `real`."""
        return type(self).fit(real, self.locale)


def names() -> list[str]:
    """The kinds that there are."""
    return registry.names(FOLDER)


def fit_key(kind: str, real: pa.Array, locale: str | None) -> Key:
    """A key of that kind.

    Raises:
        DataError: it needs Faker, which is not installed, or a locale that Faker does not have.
    """
    return registry.load(FOLDER, kind, Key, field="data.schema").fit(real, locale)


def key_from_json(saved: dict[str, Any]) -> Key:
    """What `model_dump` of a key gave."""
    return registry.load(FOLDER, str(saved["kind"]), Key, field="codec.json").model_validate(saved)


def detect(values: pa.Array, kinds: tuple[str, ...] | None = None) -> str | None:
    """The kind that all of `values` (distinct texts, not null) are of, among `kinds` (None: all)."""
    found = (kind for kind in kinds or names() if registry.load(FOLDER, kind, Key).matches(values))
    return next(found, None)


@functools.lru_cache(maxsize=8)
def faker(locale: str | None) -> Any:
    """A Faker of its own: seeding it touches no other.

    Raises:
        DataError: Faker is not installed, or does not know the locale.
    """
    try:
        from faker import Faker
    except ImportError:
        raise DataError(
            "names and addresses are made by Faker; install it with pip install 'synthmill[keys]', or drop"
            " the column",
            field="data.schema",
        ) from None
    try:
        return Faker(locale or "en_US")
    except AttributeError:
        raise DataError(
            f"Faker has no locale {locale!r}; one of its locales is de_DE", field="data.schema"
        ) from None


def seeded(locale: str | None, rows: UInt64, salt: int) -> Iterator[Any]:
    """The Faker of a locale, seeded for each row in turn."""
    made = faker(locale)
    for seed in mix(rows, salt).tolist():
        made.seed_instance(seed)
        yield made


def longest_number(values: pa.Array) -> int:
    """The largest run of digits in texts, as a number below 10^18; 0 without digits."""
    runs = pc.split_pattern_regex(values, r"\D+").flatten()
    short = runs.filter(pc.and_(pc.greater(pc.binary_length(runs), 0), pc.less(pc.binary_length(runs), 18)))
    largest: int = pc.max(short.cast(pa.int64())).as_py() if len(short) else 0
    return largest


def longest_of(values: pa.Array) -> pa.Array:
    """One of the texts in which the largest number stands, which is all that `above` depends on."""
    if not len(values):
        return values
    runs = pc.split_pattern_regex(values, r"\D+")
    numbers = runs.flatten()
    short = pc.and_(pc.greater(pc.binary_length(numbers), 0), pc.less(pc.binary_length(numbers), 18))
    whose = pc.list_parent_indices(runs).filter(short)
    if not len(whose):
        return values.slice(0, 1)
    largest = int(np.argmax(numbers.filter(short).cast(pa.int64()).to_numpy()))
    return values.take(pa.array([whose[largest].as_py()]))


def above(values: pa.Array) -> int:
    """The first power of ten that is larger than every number in `values`."""
    return int(10 ** len(str(longest_number(values))))


def numbers_from(first: int, rows: UInt64) -> list[int]:
    """`first` and the row numbers, as Python integers."""
    return [first + row for row in rows.astype(np.uint64).tolist()]
