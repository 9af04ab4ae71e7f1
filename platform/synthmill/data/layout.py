"""What a model must know of encoded data: how many codes and numbers a row has, and which belong together.

`mixed` rows are compact: one small integer a discrete span (`codes`) and one number a numeric span (`values`,
in [-1, 1]). A model expands codes to one-hot itself, a batch at a time, so that a 100,000-level column costs
two integers a row.
"""

from typing import Literal

from pydantic import Field

from synthmill.config import FrozenModel


class DiscreteSpan(FrozenModel):
    """One code a row, 0 <= code < width."""

    column: str
    role: Literal["category", "group", "member", "segment"]
    """category: a whole column's level; group and member: the two digits of a high-cardinality column;
    segment: which quantile segment of a numeric column, or which point mass, or missing."""
    width: int = Field(ge=1)
    missing: int | None = None
    """The code of a missing cell; None: the column has none, or it takes two digits."""
    ordered: bool = False
    """Whether larger codes are larger values, but for point masses and missing behind them."""


class NumericSpan(FrozenModel):
    """One number a row, in [-1, 1]: the position inside the segment that a discrete span names."""

    column: str
    discrete: int
    """Index of the `segment` span of the same column."""
    segments: int = Field(ge=1)
    """Codes below it are continuous segments; at and above it (point masses, missing) the number means
    nothing and must not enter a loss."""


class Layout(FrozenModel):
    """What every encoding says; each adds its own fields. `kind` is the encoding's name."""

    kind: str
    rows: int = Field(ge=0)
    """Training rows the codec was fitted on."""

    @property
    def category_spans(self) -> int:
        """Columns that a condition of a batch can name."""
        return 0


class MixedLayout(Layout):
    """The `mixed` encoding of a table: order of the spans is the order of the columns of `codes` and
    `values`."""

    kind: Literal["mixed"] = "mixed"
    discrete: tuple[DiscreteSpan, ...]
    numeric: tuple[NumericSpan, ...]
    target: str | None = None
    """The column that downstream models predict, where the codec keeps it."""

    @property
    def category_spans(self) -> int:
        return sum(span.role == "category" for span in self.discrete)


class PixelLayout(Layout):
    """The `pixels` encoding of images: float (C, H, W) in [-1, 1], with an optional class label."""

    kind: Literal["pixels"] = "pixels"
    channels: Literal[1, 3]
    height: int = Field(ge=1)
    width: int = Field(ge=1)
    classes: int = Field(ge=0)
    """Number of class labels; 0: unlabelled."""
    flip: bool = False
    """Whether training may mirror images."""
