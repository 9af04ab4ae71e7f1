"""The `discrete` encoding of a table: `mixed` at a finer resolution, for models that read nothing but codes.

Numbers with up to 256 values keep each of them; others become up to 128 bins of equal share with a place
inside, and the values that stand out codes of their own. Missing is a code. Columns of many categories are
two digits, as in `mixed`. What few rows share is averaged or folded all the same.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from synthmill.config import DataConfig
from synthmill.data.batch import Batch, Condition
from synthmill.data.categorical import CategoryCodec
from synthmill.data.codecs.base import ColumnSpan, as_type
from synthmill.data.codecs.mixed import MixedCodec
from synthmill.data.columns import Bool, Int64, flat, valid_rows
from synthmill.data.resolution import FINE, Resolution
from synthmill.data.scan.counts import Counts
from synthmill.data.schema import NO_RULES, Rules
from synthmill.errors import DataError, did_you_mean


class DiscreteCodec(MixedCodec):
    """A `mixed` codec of fine resolution, whose layout names the target."""

    format: ClassVar[str] = "synthmill.codec.discrete/1"
    resolution: ClassVar[Resolution] = FINE

    @classmethod
    def fit(
        cls, train: pa.Table, config: DataConfig, rules: Rules = NO_RULES, people: Int64 | None = None
    ) -> Self:
        return super().fit(train, config, rules, people)._with_target(config.target)

    @classmethod
    def fit_scanned(cls, sample: pa.Table, counts: Counts, config: DataConfig, rules: Rules) -> Self:
        return super().fit_scanned(sample, counts, config, rules)._with_target(config.target)

    def beside_all(self, identifiers: Callable[[str], Iterable[pa.Array]]) -> Self:
        return super().beside_all(identifiers)._with_target(self.layout.target)

    def without(self, name: str) -> Self:
        """The same codec without a column that was there to be counted by, such as that of groups."""
        columns = [column for column in self._columns if column.profile.name != name]
        profile = self.profile.model_copy(update={"columns": tuple(column.profile for column in columns)})
        schema = pa.schema([field for field in self.typed_schema if field.name != name])
        views = {column: view for column, view in self.views.items() if column != name}
        codec = type(self)(profile, columns, typed_schema=schema, views=views, notes=self.notes)
        codec._form = self._form.select(schema.names)
        return codec._with_target(self.layout.target)

    def condition(self, column: str, value: str) -> Condition | None:
        """Also of a category that takes two digits: both of them."""
        found = super().condition(column, value)
        spans = [index for index, span in enumerate(self.layout.discrete) if span.column == column]
        if found is not None or len(spans) < 2:
            return found
        # Only categories take two.
        own = next(codec for codec in self._columns if codec.profile.name == column)
        digits = own.digits_of(value) if isinstance(own, CategoryCodec) else None
        return None if digits is None else Condition(codes=dict(zip(spans, digits, strict=True)))

    def column_span(self, column: str) -> ColumnSpan | None:
        spans = [index for index, span in enumerate(self.layout.discrete) if span.column == column]
        # A rare category comes out as another one, by chance: its code says nothing.
        if len(spans) != 1 or self.profile.column(column).folded_rows:
            return None
        (span,) = spans
        value = next((n for n, one in enumerate(self.layout.numeric) if one.discrete == span), None)
        codes = torch.zeros(self.layout.discrete[span].width, len(self.layout.discrete), dtype=torch.int64)
        codes[:, span] = torch.arange(len(codes))
        values = torch.zeros(len(codes), len(self.layout.numeric))
        blank = Batch(codes=codes, values=values, noise=torch.zeros(len(codes), dtype=torch.int64))
        return ColumnSpan(span, value, 0 if value is None else self.layout.numeric[value].segments, blank)

    def encode_known(self, table: pa.Table, *, field: str) -> tuple[Batch, Tensor]:
        names = self.schema.names
        odd = next((name for name in table.column_names if name not in names), None)
        if odd is not None:
            what = f"has a column {odd!r}, which the model does not know{did_you_mean(odd, names)}"
            raise DataError(f"{what}; leave it out, or rename it", field=field)
        arrays, known = [], {}
        for column in self.schema:
            given = column.name in table.column_names
            own = flat(table[column.name]) if given else pa.nulls(table.num_rows, column.type)
            arrays.append(as_type(own, column, field))
            known[column.name] = self.is_known(column.name, arrays[-1])
        typed = self.read(pa.table(arrays, schema=self.schema))
        # A text that is not in its column's form can't be read, and says nothing.
        is_known = [
            known[span.column] & valid_rows(flat(typed[span.column])) for span in self.layout.discrete
        ]
        return self.encode(typed), torch.from_numpy(np.stack(is_known, 1))

    def is_known(self, name: str, array: pa.Array) -> Bool:
        """Cells that say something to a model: not missing, and of a category that has a code."""
        profile, valid = self.profile.column(name), valid_rows(array)
        if profile.kind != "categorical" or profile.folded_rows:
            return valid
        levels = pa.array(profile.levels, pa.string())
        is_level: Bool = np.asarray(pc.is_in(array.cast(pa.string()), value_set=levels))
        return valid & is_level

    def missing_codes(self, columns: Collection[str]) -> dict[int, int]:
        return {
            index: span.missing
            for index, span in enumerate(self.layout.discrete)
            if span.missing is not None and span.column in columns
        }

    def learnt_columns(self) -> list[str]:
        return list(dict.fromkeys(span.column for span in self.layout.discrete))

    def to_files(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        config, tensors = super().to_files()
        return {**config, "target": self.layout.target}, tensors

    @classmethod
    def from_files(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Self:
        return super().from_files(config, tensors)._with_target(config.get("target"))

    def _with_target(self, target: str | None) -> Self:
        """The codec itself; an identifier or a constant is no target that a model could learn."""
        known = target if any(span.column == target for span in self.layout.discrete) else None
        self.layout = self.layout.model_copy(update={"target": known})
        return self
