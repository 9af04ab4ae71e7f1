"""Whose a row is, where `data.split.group` says so: what is told of a column must be shared by several
people, not by several rows of one."""

import numpy as np
import pyarrow as pa

from synthmill.data.columns import Float64, Int64, Numbers, flat

NEIGHBOURS = 5
"""Rows, or people, that a bound, a knot or a bin edge is averaged over."""
MOST_ROWS = 20
"""A group of more rows than that on average is no person but a hospital, a town or a year."""


def people_of(table: pa.Table, group: str | None) -> Int64 | None:
    """A number for the person of each row, (N,); a row without one is a person of its own. None: every row
    counts for itself."""
    if group is None:
        return None
    coded = flat(table[group]).dictionary_encode()
    distinct, rows = len(coded.dictionary), table.num_rows
    if distinct * MOST_ROWS <= rows:
        return None
    codes = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return np.where(codes < 0, distinct + np.arange(rows), codes)


def in_order(values: Float64, people: Int64 | None) -> tuple[Float64, Int64 | None]:
    """Values (N,), ascending, and whose they are."""
    if people is None and not np.signbit(values[values == 0]).any():
        # Half of what it costs to find the order. Which of two equal values comes first shows in zeros alone.
        return np.sort(values), None
    order = np.argsort(values, kind="stable")
    return values[order], picked(people, order)


def picked(people: Int64 | None, rows: Numbers) -> Int64 | None:
    """The people of some rows: a mask, or indices."""
    return None if people is None else people[rows]


def count_sharers(values: Int64, size: int, people: Int64 | None) -> Int64:
    """How many people (rows, if nobody is told apart) have each of the values `0 .. size`, (size,)."""
    if people is None:
        return np.bincount(values, minlength=size)
    _, person = np.unique(people, return_inverse=True)
    width = int(person.max(initial=0)) + 1
    return np.bincount(np.unique(values * width + person) // width, minlength=size)


def count_people(people: Int64 | None, rows: int) -> int:
    """How many people `rows` rows are of."""
    return rows if people is None else len(np.unique(people))


def outermost(values: Numbers, people: Int64 | None, *, lowest: bool) -> Numbers:
    """The 5 lowest or highest values, one of each person, (at most 5,)."""
    if people is None:
        take = min(NEIGHBOURS, len(values))
        return (
            np.partition(values, take - 1)[:take]
            if lowest
            else np.partition(values, len(values) - take)[-take:]
        )
    order = np.argsort(values, kind="stable")
    order = order if lowest else order[::-1]
    _, first = np.unique(people[order], return_index=True)
    outer: Numbers = values[order[np.sort(first)[:NEIGHBOURS]]]
    return outer


def widened(sizes: Int64, people: Int64 | None) -> Int64:
    """Sizes of neighbouring groups of rows, joined until each holds 5 people; none where all together hold
    fewer."""
    if people is None:
        return sizes
    kept: list[int] = []
    start = size = 0
    for more in sizes.tolist():
        size += more
        if len(np.unique(people[start : start + size])) >= NEIGHBOURS:
            kept.append(size)
            start, size = start + size, 0
    if size and kept:
        kept[-1] += size
    return np.array(kept, dtype=np.int64)
