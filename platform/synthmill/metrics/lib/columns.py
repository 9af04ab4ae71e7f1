"""Arrow columns as arrays: numbers as float64 with NaN for missing, categories as codes into a vocabulary."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Hashes: TypeAlias = npt.NDArray[np.uint64]
Role = Literal["numeric", "category", "identifier"]

NUMERIC_KINDS = frozenset({"numeric", "integer", "float", "datetime", "date", "time"})
IDENTIFIER_KINDS = frozenset({"identifier", "id", "text"})
MISSING = -1


@dataclass(frozen=True)
class Column:
    """A column as metrics see it."""

    name: str
    role: Role
    kind: str
    """The profile's word: integer, boolean, datetime, ..."""
    type: pa.DataType

    @property
    def whole(self) -> bool:
        """Whether values have no fractional part by declaration."""
        return self.kind == "integer"


class HasColumns(Protocol):
    """A profile of a table, as far as kinds go."""

    @property
    def columns(self) -> Sequence["HasKind"]: ...


class HasKind(Protocol):
    """One column of a profile."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...


def kinds_of(profile: HasColumns | Mapping[str, str]) -> dict[str, str]:
    """Column -> kind word."""
    if isinstance(profile, Mapping):
        return dict(profile)
    return {column.name: column.kind for column in profile.columns}


def columns_of(schema: pa.Schema, kinds: Mapping[str, str]) -> tuple[Column, ...]:
    """The columns of a schema with their roles; a column without a kind gets one from its Arrow type."""
    return tuple(
        Column(f.name, _role(kinds.get(f.name), f.type), kinds.get(f.name) or _kind(f.type), f.type)
        for f in schema
    )


def _role(kind: str | None, arrow: pa.DataType) -> Role:
    word = kind or _kind(arrow)
    if word in IDENTIFIER_KINDS:
        return "identifier"
    # A profile may call text numeric that this table has as text; the values decide.
    return "numeric" if word in NUMERIC_KINDS and is_number(arrow) else "category"


def is_number(arrow: pa.DataType) -> bool:
    """Whether values have an order and a distance: numbers and times."""
    checks = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_temporal)
    return any(check(arrow) for check in checks)


def _kind(arrow: pa.DataType) -> str:
    if pa.types.is_integer(arrow):
        return "integer"
    return "numeric" if is_number(arrow) else "categorical"


def floats(column: pa.ChunkedArray | pa.Array) -> Floats:
    """float64 (N,), NaN where missing; datetimes and dates in their own unit since the epoch."""
    arrow = column.type
    if pa.types.is_temporal(arrow):
        # Arrow casts times to integers of the same width only.
        wide = pa.int32() if arrow.bit_width == 32 else pa.int64()
        column = pc.cast(column, wide)
    values: Any = pc.cast(column, pa.float64(), safe=False)
    return np.asarray(
        values.to_numpy(zero_copy_only=False) if isinstance(values, pa.Array) else values.to_numpy(),
        dtype=np.float64,
    )


def texts(column: pa.ChunkedArray | pa.Array) -> tuple[Ints, list[str]]:
    """Codes int64 (N,), MISSING where missing, and the distinct values as text they point to."""
    if pa.types.is_dictionary(column.type):
        # A dictionary may list values that no row has, or one value twice.
        column = pc.cast(column, column.type.value_type)
    encoded = pc.dictionary_encode(column)
    if isinstance(encoded, pa.ChunkedArray):
        encoded = (
            encoded.unify_dictionaries().combine_chunks() if encoded.num_chunks != 1 else encoded.chunk(0)
        )
    if isinstance(encoded, pa.ChunkedArray):
        encoded = (
            encoded.chunk(0) if encoded.num_chunks else pa.array([], pa.dictionary(pa.int32(), column.type))
        )
    codes = pc.fill_null(pc.cast(encoded.indices, pa.int64()), MISSING).to_numpy(zero_copy_only=False)
    return np.asarray(codes, dtype=np.int64), pc.cast(encoded.dictionary, pa.string()).to_pylist()


def codes_in(column: pa.ChunkedArray | pa.Array, vocabulary: Mapping[str, int], *, unseen: int) -> Ints:
    """int64 (N,): each value's code in the vocabulary, `unseen` for others, MISSING for missing."""
    local, values = texts(column)
    # Here and wherever codes are looked up: MISSING is -1, so a missing value reads the table's last entry.
    table = np.array([*(vocabulary.get(value, unseen) for value in values), MISSING], dtype=np.int64)
    return table[local]


def common_codes(left: pa.ChunkedArray, right: pa.ChunkedArray) -> tuple[Ints, Ints, int]:
    """int64 (N,) and (M,): codes of both sides into one vocabulary, MISSING where missing; and its size."""
    sides = (texts(left), texts(right))
    place = {value: i for i, value in enumerate(dict.fromkeys([*sides[0][1], *sides[1][1]]))}
    first, second = (
        np.array([*(place[value] for value in values), MISSING], dtype=np.int64)[codes]
        for codes, values in sides
    )
    return first, second, len(place)


def level_counts(columns: Sequence[pa.ChunkedArray]) -> dict[str, int]:
    """How often each value occurs in all columns together."""
    total: dict[str, int] = {}
    for column in columns:
        codes, values = texts(column)
        for value, count in zip(
            values, np.bincount(codes[codes != MISSING], minlength=len(values)), strict=True
        ):
            if count:
                total[value] = total.get(value, 0) + int(count)
    return total


def value_hashes(column: Column, data: pa.ChunkedArray | pa.Array) -> Hashes:
    """uint64 (N,): equal values have equal hashes in every process and on every run; missing is a value."""
    if column.role == "numeric":
        # Adding 0.0 turns -0.0, which equals 0.0 but has other bits, into it.
        numbers = floats(data) + 0.0
        bits = numbers.view(np.uint64).copy()
        # NaN has many bit patterns and must have one hash.
        bits[np.isnan(numbers)] = np.uint64(0x7FF8DEAD00000000)
        return mix(bits)
    local, values = texts(data)
    table = np.array([*text_hashes(values), np.uint64(0x9E3779B97F4A7C15)], dtype=np.uint64)
    return mix(table[local])


def text_hashes(values: list[str]) -> Hashes:
    """uint64 (len(values),): SipHash with a fixed key; Python's own differs from process to process."""
    if not values:
        return np.empty(0, dtype=np.uint64)
    return np.asarray(pd.util.hash_array(np.array(values, dtype=object), categorize=False), dtype=np.uint64)


def mix(bits: Hashes) -> Hashes:
    """The finaliser of splitmix64: every input bit moves every output bit."""
    z = bits + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def row_hashes(columns: tuple[Column, ...], table: pa.Table) -> Hashes:
    """uint64 (N,): one hash a row over all columns but identifiers, which are made anew and never equal."""
    total = np.zeros(table.num_rows, dtype=np.uint64)
    for column in columns:
        if column.role != "identifier":
            # Order matters: without the multiplication, equal values in two columns would cancel out.
            total = mix(total * np.uint64(0x100000001B3) ^ value_hashes(column, table[column.name]))
    return total
