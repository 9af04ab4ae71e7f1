"""What clients send. Unknown fields are refused; numbers are numbers, not text."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

MAX_SEED = 2**63
Clause = Annotated[str, StringConstraints(max_length=500)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, strict=True)


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


class RowsRequest(_Strict):
    """Rows of a table."""

    num_rows: int = Field(ge=1, le=10**12)
    """How many; the server states its own limit."""
    seed: int | None = Field(None, ge=0, lt=MAX_SEED)
    """Same seed, model version and conditions: the same rows, here and in a published dataset. null:
    different ones each time."""
    where: tuple[Clause, ...] = Field((), max_length=16)
    """Conditions that every row meets: `age>=40`, or a list of them joined by AND."""
    columns: tuple[Annotated[str, StringConstraints(max_length=200)], ...] | None = Field(
        None, min_length=1, max_length=10_000
    )
    """Columns to answer with, in this order; null: all."""

    @field_validator("where", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return () if value is None else _as_tuple(value)

    @field_validator("columns", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("columns")
    @classmethod
    def _once(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and len(set(value)) < len(value):
            raise ValueError("names a column twice")
        return value
