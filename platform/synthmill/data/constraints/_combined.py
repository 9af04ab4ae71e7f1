"""Several columns as one category: the text of a level says what each of them holds."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from synthmill.data.columns import (
    Int64,
    flat,
    from_int64,
    is_integral,
    is_text,
    to_float64,
    to_int64,
    valid_rows,
)
from synthmill.data.constraints.base import Arrays, Learnt, Step, free_name
from synthmill.data.schema import ColumnRule


class Combined(Step):
    """Columns that are learnt as one; levels too rare to be kept become others, as those of any category."""

    def __init__(self, field: str, columns: Sequence[str], schema: pa.Schema) -> None:
        self.field, self.writes = field, tuple(columns)
        self.kinds = {name: schema.field(name).type for name in columns}
        self.name = free_name(" + ".join(columns), schema.names)

    def fit(self, table: pa.Table, people: Int64 | None) -> None:
        """Levels are found by the codec."""

    def learnt(self, table: pa.Table, *, known: bool = False) -> dict[str, list[Learnt]]:
        arrays = [flat(table[name]) for name in self.writes]
        texts = level_texts(arrays)
        if known:
            # Of a combination that is known in part, what is missing is still to be found.
            there = np.logical_and.reduce([valid_rows(array) for array in arrays])
            texts = pa.compute.if_else(pa.array(there), texts, pa.scalar(None, texts.type))
        return {self.writes[0]: [Learnt(self.name, texts, ColumnRule(kind="categorical"))]}

    def rebuilt(self, columns: Arrays, learnt: Arrays, *, bounded: bool) -> dict[str, pa.Array]:
        coded = learnt[self.name].dictionary_encode()
        cells = cells_of(coded.dictionary.to_pylist(), self.kinds)
        return {name: cells[name].take(coded.indices) for name in self.writes}

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """It is told nothing."""

    def names(self) -> tuple[str, ...]:
        return (self.name,)

    def stands_for(self, column: str) -> str | None:
        return self.name

    def levels(self, column: str, levels: Callable[[str], list[str] | None]) -> list[str] | None:
        found = levels(self.name)
        kind = self.kinds[column]
        if found is None or not (is_text(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
            return None
        values = cells_of(found, self.kinds)[column].drop_null().cast(pa.string())
        return list(dict.fromkeys(values.to_pylist()))


def level_texts(arrays: Sequence[pa.Array]) -> pa.Array:
    """What each row holds in all columns, as JSON (N,): texts as they are, whole numbers, dates and decimals
    as the integers that they are stored as, floats as their shortest text."""
    codes, levels = [], []
    for array in arrays:
        coded = array.dictionary_encode()
        at = coded.indices.fill_null(len(coded.dictionary)).to_numpy(zero_copy_only=False)
        codes.append(at.astype(np.int64))
        levels.append([*_plain(coded.dictionary), None])
    table = np.stack(codes, axis=1)
    # Each combination is written once, however many rows have it.
    distinct, inverse = np.unique(table, axis=0, return_inverse=True)
    texts = [
        json.dumps([own[at] for own, at in zip(levels, row, strict=True)], ensure_ascii=False)
        for row in distinct.tolist()
    ]
    return pa.array(texts, pa.string()).take(pa.array(inverse.reshape(-1)))


def cells_of(texts: Sequence[str | None], kinds: Mapping[str, pa.DataType]) -> dict[str, pa.Array]:
    """The columns that `level_texts` wrote, as the types say."""
    rows = [[None] * len(kinds) if text is None else json.loads(text) for text in texts]
    return {name: _typed([row[at] for row in rows], kind) for at, (name, kind) in enumerate(kinds.items())}


def _plain(array: pa.Array) -> list[Any]:
    if is_text(array.type):
        values: list[Any] = array.to_pylist()
        return values
    if is_integral(array.type):
        whole: list[Any] = array.to_pylist() if pa.types.is_uint64(array.type) else to_int64(array).tolist()
        return whole
    # NaN, as data frames write a missing number, is missing.
    return [None if np.isnan(value) else repr(value) for value in to_float64(array).tolist()]


def _typed(values: list[Any], kind: pa.DataType) -> pa.Array:
    if is_text(kind) or pa.types.is_uint64(kind):
        return pa.array(values, kind)
    valid = np.array([value is not None for value in values], dtype=bool)
    if is_integral(kind):
        return from_int64(np.array([value or 0 for value in values], np.int64), valid, kind)
    floats = np.array([float(value or 0) for value in values], kind.to_pandas_dtype())
    return pa.array(floats, kind, mask=~valid)
