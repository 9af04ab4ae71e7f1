"""What several metrics read of the same evidence, computed once and kept with it."""

from collections.abc import Callable
from typing import Self, TypeVar, cast

Value = TypeVar("Value")


class Once:
    """Base of evidence: remembers the outcome of pure functions of itself."""

    def __init__(self) -> None:
        self._outcomes: dict[object, object] = {}

    def once(self, make: Callable[[Self], Value]) -> Value:
        """`make(self)`, computed for the first metric that asks for it."""
        if make not in self._outcomes:
            self._outcomes[make] = make(self)
        return cast(Value, self._outcomes[make])
