"""Categories to codes: levels by falling frequency, then one code for rare values, then one for missing.

Up to 500 codes are one span. More become two digits (frequency group, member), so that a model sees two short
one-hots where one would have 100,000 columns.
"""

import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from synthmill.data.columns import Float64, Int64, Rows, from_words
from synthmill.data.layout import DiscreteSpan
from synthmill.data.mixing import mix
from synthmill.data.profile import ColumnProfile
from synthmill.data.resolution import COARSE, Resolution

MAX_ONE_SPAN = 500


class CategoryCodec:
    """One column of categories.

    Rare values share the code `other`. It is decoded to one of the kept levels, drawn by their frequencies
    with the row's noise: a made-up literal would be outside the column's domain, and a rare value itself must
    not come out. Values not seen in training are encoded as `other`, or as the most frequent level where
    there is none; likewise missing values.
    """

    def __init__(self, profile: ColumnProfile, kind: pa.DataType, counts: Int64) -> None:
        self.profile = profile
        self.kind = kind
        self.counts = counts
        levels = len(profile.levels)
        self.other = levels if profile.folded_rows else None
        self.missing = levels + (profile.folded_rows > 0) if profile.missing_rows else None
        self.num_codes = levels + (profile.folded_rows > 0) + (profile.missing_rows > 0)
        self.members = math.isqrt(self.num_codes - 1) + 1 if self.num_codes > MAX_ONE_SPAN else 0
        self._levels = pa.array(profile.levels, pa.string())
        self._words = from_words(pa.concat_arrays([self._levels, pa.nulls(1, pa.string())]), kind)
        weights = np.cumsum(counts) if counts.any() else np.arange(1, levels + 1)
        self._shares: Float64 = weights / weights[-1]

    @classmethod
    def fit(
        cls,
        profile: ColumnProfile,
        array: pa.Array,
        people: Int64 | None = None,
        resolution: Resolution = COARSE,
    ) -> "CategoryCodec":
        """Count the levels among training values."""
        return cls(profile, array.type, _count(array, pa.array(profile.levels, pa.string())))

    @property
    def spans(self) -> tuple[DiscreteSpan, ...]:
        name = self.profile.name
        if not self.members:
            return (DiscreteSpan(column=name, role="category", width=self.num_codes, missing=self.missing),)
        groups = -(-self.num_codes // self.members)
        return (
            DiscreteSpan(column=name, role="group", width=groups),
            DiscreteSpan(column=name, role="member", width=self.members),
        )

    def encode(self, array: pa.Array) -> tuple[list[Int64], Float64 | None]:
        """One or two arrays of codes int64 (N,); of a dictionary, each different text is looked up once."""
        if isinstance(array, pa.DictionaryArray):
            # Behind the dictionary's own texts: a missing one.
            texts = pa.concat_arrays([array.dictionary.cast(pa.string()), pa.nulls(1, pa.string())])
            at = array.indices.fill_null(len(texts) - 1) if array.indices.null_count else array.indices
            rows = at.to_numpy(zero_copy_only=False).astype(np.int64)
            return [codes.take(rows) for codes in self._digits(self._codes(texts))], None
        return self._digits(self._codes(array.cast(pa.string()))), None

    def _codes(self, text: pa.Array) -> Int64:
        """The code of each text (N,), among all codes."""
        found = (
            pc.index_in(text, value_set=self._levels)
            .fill_null(-1)
            .to_numpy(zero_copy_only=False)
            .astype(np.int64)
        )
        unknown = 0 if self.other is None else self.other
        codes = np.where(found < 0, unknown, found)
        if text.null_count:
            codes = np.where(
                pc.is_null(text).to_numpy(zero_copy_only=False),
                unknown if self.missing is None else self.missing,
                codes,
            )
        return codes

    def _digits(self, codes: Int64) -> list[Int64]:
        return [codes // self.members, codes % self.members] if self.members else [codes]

    def decode(self, codes: Int64, positions: Float64 | None, rows: Rows) -> pa.Array:
        """The column, (N,), from codes int64 (N, 1 or 2) of rows (N,)."""
        code = self._join(codes) if self.members else np.clip(codes[:, 0], 0, self.num_codes - 1)
        levels = len(self.profile.levels)
        if self.other is not None:
            rare = np.flatnonzero(code == self.other)
            if len(rare):
                draws = (mix(rows.noise(rare), _key(self.profile.name)) >> np.uint64(11)) * 2.0**-53
                code[rare] = np.minimum(np.searchsorted(self._shares, draws, side="right"), levels - 1)
        if self.missing is not None:
            code = np.minimum(code, levels)
        return self._words.take(pa.array(code))

    def code_of(self, text: str) -> int | None:
        """The code of a level; None for a rare or unknown value, or where a level takes two digits."""
        if self.members:
            return None
        at = self._levels.index(text).as_py()
        return at if at >= 0 else None

    def digits_of(self, text: str) -> tuple[int, int] | None:
        """The two digits of a level; None for a rare or unknown value, or where a level takes one."""
        at = self._levels.index(text).as_py() if self.members else -1
        return None if at < 0 else (at // self.members, at % self.members)

    def levels(self) -> list[str] | None:
        """The levels kept, most frequent first."""
        return list(self.profile.levels)

    def count_levels(self, array: pa.Array) -> list[int]:
        """Rows of each level."""
        return [int(count) for count in _count(array, self._levels)]

    def tensors(self) -> dict[str, Tensor]:
        return {"counts": torch.from_numpy(self.counts)}

    def to_json(self) -> dict[str, int]:
        return {}

    @classmethod
    def restore(
        cls, profile: ColumnProfile, kind: pa.DataType, json: dict[str, int], tensors: dict[str, Tensor]
    ) -> "CategoryCodec":
        return cls(profile, kind, tensors["counts"].numpy())

    def _join(self, codes: Int64) -> Int64:
        """Two digits to one code; pairs that no level has (the last group is short) wrap around inside their
        group."""
        group = np.clip(codes[:, 0], 0, (self.num_codes - 1) // self.members)
        start = group * self.members
        size = np.minimum(self.members, self.num_codes - start)
        joined: Int64 = start + codes[:, 1] % size
        return joined


def _count(array: pa.Array, levels: pa.Array) -> Int64:
    """How often each level stands in the array, (levels,)."""
    at = pc.index_in(array.cast(pa.string()).drop_null(), value_set=levels).drop_null()
    return np.bincount(at.to_numpy(), minlength=len(levels)).astype(np.int64)


def _key(name: str) -> int:
    return int.from_bytes(name.encode()[:8].ljust(8, b"\0"), "little")
