"""Keys of generated rows: new ones by the number of the row, never a real one, in the source's type and form.

A key of several columns is made of those that foreign keys fill, and of one that tells rows apart: a count
within the owner (line 1, 2, 3 of an order) where the source counts so, or a new identifier. Where foreign
keys are all of it, no owner gets the same other parent twice.
"""

from typing import Literal

import numpy as np
import pyarrow as pa

from synthmill.config import FrozenModel
from synthmill.data.columns import Int64, Rows, flat, from_float64, plain_type
from synthmill.data.fixed import IdentifierCodec
from synthmill.data.identifiers import IdTemplate
from synthmill.data.profile import ColumnProfile, profile_identifier
from synthmill.data.relations.cells import family
from synthmill.data.schema import ColumnRule
from synthmill.errors import UserError


class KeyPart(FrozenModel):
    """How one column of a key is made."""

    column: str
    style: Literal["made", "counted"]
    profile: ColumnProfile | None = None
    """Of a made one: its template."""
    first: int = 0
    """Of a counted one: what an owner's first row has."""

    def made(self, numbers: Int64, kind: pa.DataType) -> pa.Array:
        """Cells of the given type for row numbers (N,), counted over the table or within owners."""
        if self.style == "counted":
            return _as_type(pa.array(numbers + self.first), kind)
        assert self.profile is not None, "a made key has a profile"
        held = _held(kind)
        codec = IdentifierCodec(self.profile, held)
        if len(numbers) and int(numbers.max()) >= codec.room:
            raise UserError(
                f"keys {self.column!r} of type {kind} can number {codec.room:,} rows; ask for fewer, or give"
                " the column a wider type in the source",
                field="scale",
            )
        rows = Rows(numbers.astype(np.uint64), lambda index: index.astype(np.uint64))
        return _as_type(codec.decode(np.zeros((len(numbers), 0), np.int64), None, rows), kind)

    @property
    def template(self) -> IdTemplate | None:
        return None if self.profile is None else self.profile.template


def fit_made(name: str, train: pa.Table, everything: pa.Table, rule: ColumnRule) -> KeyPart:
    """A key of new identifiers: their pattern follows from training rows, and none is in any row.

    Raises:
        DataError: a pattern that needs what is not installed.
    """
    kind = _held(plain_type(train.schema.field(name).type))
    real = _as_type(flat(train[name]), kind)
    profile = profile_identifier(name, kind, real, 0, rule)
    codec = IdentifierCodec(profile, kind).beside(lambda: [_as_type(flat(everything[name]), kind)])
    return KeyPart(column=name, style="made", profile=codec.profile)


def fit_counted(name: str, table: pa.Table, owner: Int64) -> KeyPart | None:
    """A key that counts the rows of an owner from the same first number on, in any order; None where it does
    not. `owner` is the owner's row of each row (N,)."""
    if family(table[name]) != "whole numbers" or (owner < 0).any() or not len(owner):
        return None
    values = np.asarray(_as_type(flat(table[name]), pa.int64()), dtype=np.int64)
    order = np.lexsort((values, owner))
    sorted_owner, sorted_values = owner[order], values[order]
    starts = np.r_[True, sorted_owner[1:] != sorted_owner[:-1]]
    first = sorted_values[starts]
    place = np.arange(len(order)) - np.flatnonzero(starts)[np.cumsum(starts) - 1]
    # One row an owner everywhere would be a constant, which tells nothing apart but owners.
    if len(np.unique(first)) > 1 or not np.array_equal(sorted_values - first[0], place):
        return None
    return KeyPart(column=name, style="counted", first=int(first[0]))


def can_be_made(column: pa.ChunkedArray) -> bool:
    """Whether new identifiers of a column's type can be made."""
    return family(column) in ("whole numbers", "text")


def cast_cells(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """Cells of a key in the type that the column of a foreign key has."""
    return _as_type(array, kind)


def _held(kind: pa.DataType) -> pa.DataType:
    """Floats that are whole numbers, as data frames have them, are made as such."""
    return pa.int64() if pa.types.is_floating(kind) else kind


def _as_type(array: pa.Array, kind: pa.DataType) -> pa.Array:
    if array.type == kind:
        return array
    if pa.types.is_floating(kind) and pa.types.is_integer(array.type):
        valid = np.asarray(array.is_valid())
        values = np.asarray(array.fill_null(0).cast(pa.int64()), dtype=np.float64)
        return from_float64(values, valid, kind)
    if pa.types.is_floating(array.type) and pa.types.is_integer(kind):
        return pa.array(np.asarray(array, dtype=np.float64), from_pandas=True).cast(kind)
    return array.cast(kind)
