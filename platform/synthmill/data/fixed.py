"""Columns with nothing to learn: constants are repeated, identifiers regenerated from the row number."""

from collections.abc import Callable, Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from torch import Tensor

from synthmill.data.columns import (
    Float64,
    Int64,
    Rows,
    from_float64,
    from_int64,
    is_temporal,
    is_text,
    to_int64,
    valid_rows,
)
from synthmill.data.identifiers import beside, write_ids
from synthmill.data.layout import DiscreteSpan
from synthmill.data.profile import ColumnProfile
from synthmill.data.resolution import COARSE, Resolution


class ConstantCodec:
    """A column with one value, or always missing."""

    def __init__(self, profile: ColumnProfile, kind: pa.DataType) -> None:
        self.profile = profile
        self.kind = kind

    @classmethod
    def fit(
        cls,
        profile: ColumnProfile,
        array: pa.Array,
        people: Int64 | None = None,
        resolution: Resolution = COARSE,
    ) -> "ConstantCodec":
        return cls(profile, array.type)

    @property
    def spans(self) -> tuple[DiscreteSpan, ...]:
        return ()

    def encode(self, array: pa.Array) -> tuple[list[Int64], Float64 | None]:
        return [], None

    def decode(self, codes: Int64, positions: Float64 | None, rows: Rows) -> pa.Array:
        """The value, once a row of `rows` (N,)."""
        value, count = self.profile.constant, len(rows.numbers)
        if value is None:
            return pa.nulls(count, self.kind)
        if isinstance(value, str):
            return pa.repeat(pa.scalar(value, pa.string()), count).cast(self.kind)
        if pa.types.is_floating(self.kind):
            return from_float64(np.full(count, value, dtype=np.float64), None, self.kind)
        return from_int64(np.full(count, value, dtype=np.int64), None, self.kind)

    def code_of(self, text: str) -> int | None:
        return None

    def levels(self) -> list[str] | None:
        """The one value as text, if there is one; None for times."""
        value = self.profile.constant
        if is_temporal(self.kind):
            return None
        if pa.types.is_boolean(self.kind) and value is not None:
            return ["true" if value else "false"]
        scale = self.kind.scale if pa.types.is_decimal(self.kind) else 0
        return (
            []
            if value is None
            else [str(value / 10**scale if scale and not isinstance(value, str) else value)]
        )

    def count_levels(self, array: pa.Array) -> list[int]:
        """Rows of each of `levels`."""
        return [int(valid_rows(array).sum()) for _ in self.levels() or ()]

    def tensors(self) -> dict[str, Tensor]:
        return {}

    def to_json(self) -> dict[str, int]:
        return {}

    @classmethod
    def restore(
        cls, profile: ColumnProfile, kind: pa.DataType, json: dict[str, int], tensors: dict[str, Tensor]
    ) -> "ConstantCodec":
        return cls(profile, kind)


class IdentifierCodec(ConstantCodec):
    """A column of identifiers: only whether one is missing is learnt (code 0 present, 1 missing)."""

    @property
    def room(self) -> int:
        """How many different identifiers the column's type can hold, counted from row number 0."""
        limit = (
            int(np.iinfo(self.kind.to_pandas_dtype()).max) if pa.types.is_integer(self.kind) else 2**63 - 1
        )
        assert self.profile.template is not None
        numbering = self.profile.template.numbering
        if numbering is None:
            return limit
        return len(numbering.blocks) * numbering.block_size + max(0, limit + 1 - numbering.first)

    def beside(self, real: Callable[[], Iterable[pa.Array]]) -> "IdentifierCodec":
        """The same column with identifiers that are none of `real`, the column of every row of the source in
        parts, which is gone over as often as it takes."""
        assert self.profile.template is not None
        limit = (
            int(np.iinfo(self.kind.to_pandas_dtype()).max) if pa.types.is_integer(self.kind) else 2**63 - 1
        )
        template = beside(self.profile.template, real, limit)
        return IdentifierCodec(self.profile.model_copy(update={"template": template}), self.kind)

    def widest_gap(self, taken: pa.Array) -> int:
        """The row number with which the widest gap between the integers `taken` begins; 0 for text."""
        if is_text(self.kind) or not len(taken):
            return 0
        values = np.concatenate([[0], np.sort(to_int64(taken)), [min(self.room, 2**63 - 2) + 1]])
        gaps = np.diff(np.maximum(values, 0).astype(np.float64))
        return int(max(values[int(np.argmax(gaps))], 0))

    def levels(self) -> list[str] | None:
        """None: identifiers are made anew."""
        return None

    @property
    def spans(self) -> tuple[DiscreteSpan, ...]:
        return (
            (DiscreteSpan(column=self.profile.name, role="category", width=2),)
            if self.profile.missing_rows
            else ()
        )

    def encode(self, array: pa.Array) -> tuple[list[Int64], Float64 | None]:
        """Codes int64 (N,)."""
        return [(~valid_rows(array)).astype(np.int64)], None

    def decode(self, codes: Int64, positions: Float64 | None, rows: Rows) -> pa.Array:
        """Identifiers of global row numbers (N,)."""
        assert self.profile.template is not None
        ids = write_ids(self.profile.template, rows.numbers)
        array = ids.cast(self.kind) if is_text(self.kind) else from_int64(ids.to_numpy(), None, self.kind)
        return (
            array
            if codes.shape[1] == 0
            else pc.if_else(pa.array(codes[:, 0] == 0), array, pa.scalar(None, self.kind))
        )
