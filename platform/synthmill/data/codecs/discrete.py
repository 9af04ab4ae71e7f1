"""The `discrete` encoding of a table: `mixed` at a finer resolution, for models that read nothing but codes.

Numbers with up to 256 values keep each of them; others become up to 128 bins of equal share with a place
inside, and the values that stand out codes of their own. Missing is a code. Columns of many categories are
two digits, as in `mixed`. What few rows share is averaged or folded all the same.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import pyarrow as pa
from torch import Tensor

from synthmill.config import DataConfig
from synthmill.data.batch import Condition
from synthmill.data.categorical import CategoryCodec
from synthmill.data.codecs.mixed import MixedCodec
from synthmill.data.resolution import FINE, Resolution
from synthmill.data.schema import NO_RULES, Rules


class DiscreteCodec(MixedCodec):
    """A `mixed` codec of fine resolution, whose layout names the target."""

    format: ClassVar[str] = "synthmill.codec.discrete/1"
    resolution: ClassVar[Resolution] = FINE

    @classmethod
    def fit(cls, train: pa.Table, config: DataConfig, rules: Rules = NO_RULES) -> Self:
        return super().fit(train, config, rules)._with_target(config.target)

    def beside(self, real: pa.Table) -> Self:
        return super().beside(real)._with_target(self.layout.target)

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
