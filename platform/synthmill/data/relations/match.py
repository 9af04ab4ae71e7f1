"""Which of a parent's rows each child gets: as many children as each is due, and rows that fit the child.

What is due is drawn with the parents, so numbers of children come out as they were drawn. A child says by
codes what its parent should be like; whoever agrees in all of them is taken first, then whoever agrees in all
but the last, and so on. Legend: N children, T tickets (a parent stands once for each child that it is due), K
codes, the most telling first.
"""

import numpy as np
import numpy.typing as npt

from synthmill.data.columns import Int64

Codes = npt.NDArray[np.int64]


def tickets(due: Int64, rng: np.random.Generator) -> Int64:
    """Parents (M,) as often as each is due, shuffled; each once where none is due any (T,)."""
    due = np.maximum(due, 0)
    parents = np.repeat(np.arange(len(due)), due if due.any() else 1)
    return rng.permutation(parents)


def dealt(tickets: Int64, first: int, count: int) -> Int64:
    """`count` tickets from place `first` on; whoever comes beyond the last begins again."""
    return tickets[(first + np.arange(count)) % len(tickets)]


def pair(wanted_NK: Codes, offered_TK: Codes, rng: np.random.Generator, *, fixed: int = 0) -> Int64:
    """For each child a ticket of its own (N,), -1 where none is left; T may differ from N.

    The first `fixed` codes must agree.
    """
    children, places = rng.permutation(len(wanted_NK)), rng.permutation(len(offered_TK))
    chosen = np.full(len(wanted_NK), -1, dtype=np.int64)
    for agreeing in range(wanted_NK.shape[1], fixed - 1, -1):
        if not len(children) or not len(places):
            break
        group_N, group_T = _groups(wanted_NK[children, :agreeing], offered_TK[places, :agreeing])
        # The r-th child of a group gets the r-th ticket of it.
        order_N, rank_N = _ranked(group_N)
        order_T, rank_T = _ranked(group_T)
        width = int(max(rank_N.max(), rank_T.max())) + 1
        key_N = group_N[order_N] * width + rank_N
        key_T = group_T[order_T] * width + rank_T
        _, at_N, at_T = np.intersect1d(key_N, key_T, assume_unique=True, return_indices=True)
        chosen[children[order_N[at_N]]] = places[order_T[at_T]]
        children = np.delete(children, order_N[at_N])
        places = np.delete(places, order_T[at_T])
    return chosen


def apart(owner: Int64, parent: Int64, parents: int, rng: np.random.Generator) -> Int64:
    """The parents (N,), changed where an owner has one twice; -1 stays. An owner has at most `parents`
    rows."""
    made = parent.copy()
    order = np.lexsort((np.arange(len(owner)), made, owner))
    same = (owner[order][1:] == owner[order][:-1]) & (made[order][1:] == made[order][:-1])
    again = order[1:][same & (made[order][1:] >= 0)]
    taken: dict[int, set[int]] = {}
    for row in np.flatnonzero(np.isin(owner, owner[again])).tolist():
        taken.setdefault(int(owner[row]), set()).add(int(made[row]))
    for row in again.tolist():
        used = taken[int(owner[row])]
        free = int(rng.integers(parents))
        while free in used:
            free = (free + 1) % parents
        made[row] = free
        used.add(free)
    return made


def above(
    level: Int64, group: Int64, due: Int64, wanted_NK: Codes, own_NK: Codes, rng: np.random.Generator
) -> Int64:
    """For rows of a table that name rows of itself: the row above each, -1 for those at the top (N,).

    A row of level l gets one of level l - 1 of its group, or of the nearest lower level that the group has;
    so nobody is above himself. `due` is how many each should be above.
    """
    chosen = np.full(len(level), -1, dtype=np.int64)
    for at in range(1, int(level.max(initial=0)) + 1):
        rows = np.flatnonzero(level == at)
        for below in range(at - 1, -1, -1):
            candidates = np.flatnonzero(level == below)
            if not len(rows) or not len(candidates):
                continue
            chosen[rows] = _within(rows, candidates, group, due, wanted_NK, own_NK, rng)
            rows = rows[chosen[rows] < 0]
    return chosen


def _within(
    rows: Int64,
    candidates: Int64,
    group: Int64,
    due: Int64,
    wanted_NK: Codes,
    own_NK: Codes,
    rng: np.random.Generator,
) -> Int64:
    """A candidate of the same group for each row, -1 where the group has none."""
    stands = np.repeat(candidates, np.maximum(due[candidates], 0))
    wanted_NK = np.column_stack([group[rows], wanted_NK[rows]])
    found = np.full(len(rows), -1, dtype=np.int64)
    if len(stands):
        ticket = pair(wanted_NK, np.column_stack([group[stands], own_NK[stands]]), rng, fixed=1)
        found[ticket >= 0] = stands[ticket[ticket >= 0]]
    # More rows than those that are due some: anybody of the group.
    left = np.flatnonzero(found < 0)
    by_group = candidates[np.argsort(group[candidates], kind="stable")]
    low, high = (np.searchsorted(group[by_group], group[rows[left]], side=side) for side in ("left", "right"))
    place = low + (rng.random(len(left)) * (high - low)).astype(np.int64)
    some = high > low
    found[left[some]] = by_group[place[some]]
    return found


def _groups(one: Codes, other: Codes) -> tuple[Int64, Int64]:
    """Numbers of the combinations of codes that rows of both have."""
    if not one.shape[1]:
        return np.zeros(len(one), np.int64), np.zeros(len(other), np.int64)
    _, inverse = np.unique(np.concatenate([one, other]), axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    return inverse[: len(one)], inverse[len(one) :]


def _ranked(group: Int64) -> tuple[Int64, Int64]:
    """An order by group, and the place of each within its group in that order."""
    order = np.argsort(group, kind="stable")
    sizes = np.bincount(group)
    starts = np.cumsum(sizes) - sizes
    return order, np.arange(len(group)) - starts[group[order]]
