"""The `data.constraints` section of a recipe: what holds in every row of the source, and of what is made."""

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from synthmill.frozen import FrozenModel

Columns = Annotated[tuple[str, ...], Field(min_length=2)]
Bound = int | float | str


class InequalityConfig(FrozenModel):
    """Columns in ascending order: numbers, or dates and times."""

    type: Literal["inequality"] = "inequality"
    columns: Columns
    """The lowest first."""
    strict: bool = False
    """Whether two of them may not be equal."""


class RangeConfig(FrozenModel):
    """A column between two others, or between two constants."""

    type: Literal["range"] = "range"
    columns: tuple[str, str, str] | None = None
    """The lowest, the one between them, the highest."""
    column: str | None = None
    """Between `minimum` and `maximum`, one of which may be left out."""
    minimum: Bound | None = None
    """A number, or an ISO date or time."""
    maximum: Bound | None = None
    strict: bool = False
    """Whether it may not equal its bounds."""

    @field_validator("minimum", "maximum", mode="before")
    @classmethod
    def _dated(cls, bound: Any) -> Any:
        # YAML reads an unquoted date as one; JSON, in which recipes are kept, has none.
        return bound.isoformat() if isinstance(bound, date) else bound

    @model_validator(mode="after")
    def _one_form(self) -> "RangeConfig":
        bounds = self.minimum is not None or self.maximum is not None
        if (self.columns is None) == (self.column is None) or bounds != (self.column is not None):
            raise ValueError(
                "state `columns: [LOW, MIDDLE, HIGH]`, or `column` with `minimum`, `maximum` or both"
            )
        return self


class FixedCombinationsConfig(FrozenModel):
    """Columns whose values occur together as in the training rows only."""

    type: Literal["fixed_combinations"] = "fixed_combinations"
    columns: Columns


class SumConfig(FrozenModel):
    """A total: the sum of some columns, less some others."""

    type: Literal["sum"] = "sum"
    total: str
    """The column that is computed."""
    plus: tuple[str, ...] = Field(min_length=1)
    """What it is the sum of."""
    minus: tuple[str, ...] = ()
    """What is taken away."""


class OneHotConfig(FrozenModel):
    """Columns of which exactly one is 1, or true, and the others are 0, or false."""

    type: Literal["one_hot"] = "one_hot"
    columns: Columns


class FixedIncrementsConfig(FrozenModel):
    """A column of multiples of a step."""

    type: Literal["fixed_increments"] = "fixed_increments"
    column: str
    step: int | float = Field(gt=0)


class UniqueConfig(FrozenModel):
    """Columns whose values together occur once in all rows that are published."""

    type: Literal["unique"] = "unique"
    columns: tuple[str, ...] = Field(min_length=1)


class FormulaConfig(FrozenModel):
    """An expression that is true of every row; rows of which it is not are generated again."""

    type: Literal["formula"] = "formula"
    expression: str
    """Such as "price * amount <= 1000 or plan == 'team'"; names that are no words stand in backticks."""


ConstraintConfig = Annotated[
    InequalityConfig
    | RangeConfig
    | FixedCombinationsConfig
    | SumConfig
    | OneHotConfig
    | FixedIncrementsConfig
    | UniqueConfig
    | FormulaConfig,
    Field(discriminator="type"),
]
TYPES: dict[str, type[FrozenModel]] = {
    "inequality": InequalityConfig,
    "range": RangeConfig,
    "fixed_combinations": FixedCombinationsConfig,
    "sum": SumConfig,
    "one_hot": OneHotConfig,
    "fixed_increments": FixedIncrementsConfig,
    "unique": UniqueConfig,
    "formula": FormulaConfig,
}
