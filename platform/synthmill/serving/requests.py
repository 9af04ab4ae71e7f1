"""What clients send. Unknown fields are refused; numbers are numbers, not text."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from synthmill.errors import ConditionError
from synthmill.generation.clauses import FIELD, OPERATORS, where_texts

MAX_SEED = 2**63
Clause = Annotated[str, StringConstraints(max_length=500)]


CONDITIONS: Any = {
    "items": {
        "anyOf": [
            {"type": "string", "maxLength": 500},
            {
                "type": "object",
                "properties": {
                    "column": {"type": "string"},
                    "op": {"enum": [*OPERATORS, "in"]},
                    "value": {
                        "type": ["string", "number", "boolean", "array"],
                        "items": {"type": ["string", "number", "boolean"]},
                    },
                },
                "required": ["column", "value"],
                "additionalProperties": False,
            },
        ]
    }
}
"""Schema of a list of conditions."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, strict=True)


def as_texts(value: Any) -> Any:
    """Conditions given as objects, alone or in a list, as text; anything else as it is."""
    given = [value] if isinstance(value, dict) else value
    if not isinstance(given, list) or not any(isinstance(one, dict) for one in given):
        return value
    try:
        return list(where_texts(given))
    except (ConditionError, TypeError) as fault:
        raise ValueError(str(fault).removeprefix(f"{FIELD}: ")) from None


class RowsRequest(_Strict):
    """Rows of a table."""

    num_rows: int = Field(ge=1, le=10**12)
    """How many; the server states its own limit."""
    seed: int | None = Field(None, ge=0, lt=MAX_SEED)
    """Same seed, model version and conditions: the same rows, here and in a published dataset. null:
    different ones each time."""
    where: tuple[Clause, ...] = Field((), max_length=16, json_schema_extra=CONDITIONS)
    """Conditions that every row meets, joined by AND: `age>=40`, `` `BMI >= 30`=yes `` for a column whose
    name contains an operator, or an object `{"column": "BMI >= 30", "op": "=", "value": "yes"}`."""
    columns: tuple[Annotated[str, StringConstraints(max_length=200)], ...] | None = Field(
        None, min_length=1, max_length=10_000
    )
    """Columns to answer with, in this order; null: all."""

    @field_validator("where", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        texts = () if value is None else as_texts(value)
        # Strict fields take tuples alone; JSON has lists, and one condition may come by itself.
        return (texts,) if isinstance(texts, str) else tuple(texts) if isinstance(texts, list) else texts

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
