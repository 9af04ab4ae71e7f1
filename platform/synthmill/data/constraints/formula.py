"""An expression over columns that is true of every row: the last resort, for what no other type states.

Rows of which it is false are generated again; how many were is reported.
"""

from typing import Any

import pyarrow as pa

from synthmill.data.columns import Bool
from synthmill.data.constraints._expression import Expression, ExpressionError
from synthmill.data.constraints.base import Constraint
from synthmill.errors import RecipeError


class Formula(Constraint):
    """Rows of which it is unknown, as a cell is missing, hold it."""

    by_construction = False

    def __init__(self, config: Any, field: str) -> None:
        super().__init__(config, field)
        try:
            self._expression = Expression(config.expression)
        except ExpressionError as fault:
            raise RecipeError(f"{config.expression!r} {fault}", field=f"{field}.expression") from None

    @property
    def columns(self) -> tuple[str, ...]:
        return self._expression.columns

    @property
    def text(self) -> str:
        return str(self.config.expression)

    def holds(self, table: pa.Table) -> Bool:
        return self._expression.true(table)

    def fault(self, schema: pa.Schema) -> str | None:
        return self._expression.fault(schema)
