"""Constraints: what holds in every row. One file a type, found by its name.

Most are met by construction: a `Step` has the codec learn other columns than those of the source, from which
the source's columns are rebuilt such that the constraint can't be broken. Others are only checked, and rows
that break them are drawn again. A missing cell breaks no constraint, as in SQL.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from synthmill import registry
from synthmill.constraint_config import ConstraintConfig
from synthmill.data.columns import Bool, Int64
from synthmill.data.schema import ColumnRule
from synthmill.errors import did_you_mean

FOLDER = "data/constraints"
FIELD = "data.constraints"

Arrays = Mapping[str, pa.Array]


class Precedes(NamedTuple):
    """Of two columns the first is never above the second."""

    low: str
    high: str
    strict: bool


class Limit(NamedTuple):
    """Constants that a column lies between."""

    column: str
    minimum: int | float | str | None
    maximum: int | float | str | None
    strict: bool


class Constraint(ABC):
    """One entry of `data.constraints`."""

    computes = True
    """Whether it computes with numbers, or compares them by size."""
    by_construction = True
    """Whether rebuilt rows meet it; those of other constraints are checked, and drawn again."""

    def __init__(self, config: Any, field: str) -> None:
        self.config, self.field = config, field

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """Of the source that it speaks of."""

    @property
    @abstractmethod
    def text(self) -> str:
        """What it states, for people."""

    @abstractmethod
    def holds(self, table: pa.Table) -> Bool:
        """Rows (N,) that meet it; `table` has typed columns."""

    def fault(self, schema: pa.Schema) -> str | None:
        """Why it can't be stated of columns of these types."""
        return None

    def order(self) -> tuple[Precedes, ...]:
        """The comparisons that it comes to."""
        return ()

    def limits(self) -> tuple[Limit, ...]:
        """The bounds that it comes to."""
        return ()

    def step(self, schema: pa.Schema) -> "Step | None":
        """How its columns are rebuilt; None where `order` and `limits` say it all, or rows are rejected."""
        return None

    def learn(self, table: pa.Table) -> None:
        """Training rows, of those that need to know them."""
        del table  # Most know all there is to know from the recipe.

    def faults(self, schema: pa.Schema) -> list[str]:
        """What is wrong with it for a table of that schema, each with its fix."""
        unknown = [name for name in self.columns if name not in schema.names]
        if unknown:
            hint = did_you_mean(unknown[0], schema.names)
            return [f"{self.field} ({self.text}): no column named {unknown[0]!r}{hint}"]
        twice = next((name for name in self.columns if self.columns.count(name) > 1), None)
        if twice is not None:
            return [f"{self.field} ({self.text}): {twice!r} stands in it twice; name it once"]
        wide = next((name for name in self.columns if pa.types.is_uint64(schema.field(name).type)), None)
        if wide is not None and self.computes:
            return [
                f"{self.field} ({self.text}): {wide!r} is uint64, of which only half are numbers of 64 bits"
                " with a sign; store it as int64"
            ]
        fault = self.fault(schema)
        return [] if fault is None else [f"{self.field} ({self.text}): {fault}"]


class Learnt(NamedTuple):
    """A column that the codec learns in place of some of the source's."""

    name: str
    array: pa.Array
    rule: ColumnRule


class Step(ABC):
    """Columns of the source that are rebuilt from learnt ones. It is told once by `fit` what it needs to know
    of training rows, which JSON holds."""

    field: str
    """Of the constraint that asks for it."""
    writes: tuple[str, ...] = ()
    """Columns that it rebuilds."""
    reads: tuple[str, ...] = ()
    """Columns, as they come out, that it rebuilds them from."""
    kept: frozenset[str] = frozenset()
    """Of those that it writes: what is learnt as it is."""
    sure = True
    """Whether no rebuilt row can break its constraint; else rows are checked as well."""

    @abstractmethod
    def fit(self, table: pa.Table, people: Int64 | None) -> None:
        """Training rows; `people` (N,): whose they are, where rows are told apart."""

    @abstractmethod
    def learnt(self, table: pa.Table, *, known: bool = False) -> dict[str, list[Learnt]]:
        """What is learnt, by the column that it stands in the place of. `known`: missing cells of the table
        are to be filled, and what depends on one is missing."""

    def implied(self, table: pa.Table) -> pa.Table:
        """The table with missing cells that follow from those that are there."""
        return table

    @abstractmethod
    def rebuilt(self, columns: Arrays, learnt: Arrays, *, bounded: bool) -> dict[str, pa.Array]:
        """The written columns, of the read ones and the learnt ones. `bounded`: values beyond those of the
        training rows are brought back where that breaks nothing."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """What `fit` found, JSON data without a training row."""

    @abstractmethod
    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state`."""

    def names(self) -> tuple[str, ...]:
        """Of all columns that are learnt in place of written ones, once it is fitted."""
        return ()

    def decided_by(self, column: str) -> frozenset[str]:
        """The columns of the source that a written one is learnt or rebuilt with, itself among them."""
        return frozenset((*self.reads, *self.writes))

    def stands_for(self, column: str) -> str | None:
        """The learnt column whose code says all of a written one; None where none does."""
        return None

    def levels(self, column: str, levels: Callable[[str], list[str] | None]) -> list[str] | None:
        """The values of a written column, as text, from those of learnt ones; None: it has no list of
        them."""
        return None


def constraint_of(config: ConstraintConfig, number: int) -> Constraint:
    """The entry of that number."""
    found = registry.load(FOLDER, config.type, Constraint, field=f"{FIELD}.{number}.type")
    return found(config, f"{FIELD}.{number}")


def constraints_of(configs: Sequence[ConstraintConfig] | None) -> list[Constraint]:
    """All entries of a recipe, in order."""
    return [constraint_of(config, number) for number, config in enumerate(configs or ())]


def free_name(wanted: str, taken: Sequence[str]) -> str:
    """The name, or the name with a number behind it, that no column has."""
    names = (wanted, *(f"{wanted} ({number})" for number in range(2, len(taken) + 3)))
    return next(name for name in names if name not in taken)
