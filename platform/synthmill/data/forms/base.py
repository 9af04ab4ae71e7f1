"""How the values of a text column are written: read into a typed array, and written back as the source writes
them.

    texts --recognise--> Form --parse--> typed array (dates, numbers) ... --write--> texts
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from synthmill import registry
from synthmill.config import FrozenModel, parse_model
from synthmill.data.columns import Bool, Int64, UInt64
from synthmill.errors import IntegrityError

FOLDER = "data.forms"


class Form(FrozenModel, ABC):
    """One way to write values. What `write` gives for a parsed value reads as the same value again."""

    form: str
    """The name of the file that defines it."""

    @abstractmethod
    def parse(self, texts: pa.Array) -> pa.Array:
        """Typed values (N,); null where a text is missing or is not written in this form."""

    @abstractmethod
    def write(self, typed: pa.Array, noise: UInt64 | None = None) -> pa.Array:
        """Texts (N,) of typed values; null where missing. `noise` (N,) decides between several spellings;
        without
        it they follow from the value."""

    @property
    @abstractmethod
    def example(self) -> str:
        """How a value looks, for notes and inspections, made up: never a cell of the source."""

    @property
    def plain(self) -> bool:
        """Whether the typed value says it all: a CSV's `12.5` or `2024-01-31` needs no form."""
        return False

    @property
    def group(self) -> str:
        """Forms of one column must agree in it: numbers in two units, or times and numbers, can't mix."""
        return self.form

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data, for `codec.json`."""
        return self.model_dump(mode="json")


def form_from_json(data: dict[str, Any]) -> Form:
    """The form that `to_json` described.

    Raises:
        IntegrityError: a form that this version does not know.
    """
    name = str(data.get("form"))
    if name not in registry.names(FOLDER):
        raise IntegrityError(f"codec.json has the form {name!r}, which this version does not know")
    cls: type[Form] = registry.load(FOLDER, name, Form, field="codec.json")
    return parse_model(cls, data, prefix="codec.json")


@dataclass(frozen=True)
class Found:
    """A form, and which of the texts it reads."""

    form: Form
    fits: Bool
    """bool (N,)."""


@dataclass(frozen=True)
class Ask:
    """Texts that can be read in two ways; a person must say which."""

    question: str
    """Ends with the fixes."""


@dataclass(frozen=True)
class Hint:
    """What a schema file states about how a column is written."""

    kind: str | None = None
    decimal_mark: str | None = None
    datetime_format: str | None = None


@dataclass(frozen=True)
class Values:
    """The different texts of a column, each with the number of its rows."""

    texts: pa.Array
    """string (N,), none missing."""
    counts: Int64
    """(N,)."""

    @property
    def rows(self) -> int:
        return int(self.counts.sum())

    def where(self, keep: Bool) -> "Values":
        """Some of them."""
        return Values(self.texts.filter(pa.array(keep)), self.counts[keep])

    def first(self, most: int) -> "Values":
        """Those that stand first."""
        return Values(self.texts.slice(0, most), self.counts[:most])

    def share(self, keep: Bool) -> float:
        """The share of rows whose text is among some."""
        return float(self.counts[keep].sum() / max(1, self.rows))


def to_bool(mask: Any) -> Bool:
    """A NumPy mask of an Arrow one; False where null."""
    found: Bool = np.asarray(mask.fill_null(False).to_numpy(zero_copy_only=False), dtype=bool)
    return found
