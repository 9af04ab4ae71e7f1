"""Choosing parents: numbers of children come out as they were due, and children get whom they fit."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from synthmill.data.relations import match


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_tickets_stand_for_each_child_that_is_due() -> None:
    assert np.bincount(match.tickets(np.array([3, 0, 2]), rng())).tolist() == [3, 0, 2]
    assert sorted(match.tickets(np.array([0, 0]), rng()).tolist()) == [0, 1]
    assert match.dealt(np.array([7, 8, 9]), 2, 4).tolist() == [9, 7, 8, 9]


@settings(deadline=None, derandomize=True)
@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 3), st.integers(0, 99))
def test_a_ticket_is_given_once_and_to_as_many_as_there_are(n: int, t: int, k: int, seed: int) -> None:
    draws = np.random.default_rng(seed)
    wanted, offered = draws.integers(0, 3, (n, k)), draws.integers(0, 3, (t, k))
    chosen = match.pair(wanted, offered, draws)
    given = chosen[chosen >= 0]
    assert len(given) == min(n, t)
    assert len(np.unique(given)) == len(given)


def test_whoever_fits_is_taken_first_and_the_first_code_counts_most() -> None:
    wanted = np.array([[0, 1], [1, 1], [1, 0]])
    offered = np.array([[1, 0], [1, 5], [0, 1]])
    assert match.pair(wanted, offered, rng()).tolist() == [2, 1, 0]
    assert match.pair(np.array([[4]]), np.array([[5]]), rng(), fixed=1).tolist() == [-1]


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 8), st.integers(0, 99))
def test_an_owner_has_no_parent_twice(parents: int, seed: int) -> None:
    draws = np.random.default_rng(seed)
    owner = np.repeat(np.arange(6), draws.integers(0, parents + 1, 6))
    parent = draws.integers(0, parents, len(owner))
    made = match.apart(owner, parent, parents, draws)
    assert len(set(zip(owner.tolist(), made.tolist(), strict=True))) == len(owner)
    alone = ~np.isin(
        owner, [o for o in set(owner.tolist()) if len(set(parent[owner == o])) < (owner == o).sum()]
    )
    assert (made[alone] == parent[alone]).all()


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 60), st.integers(1, 4), st.integers(0, 99))
def test_nobody_is_above_himself_and_groups_stay_together(rows: int, groups: int, seed: int) -> None:
    draws = np.random.default_rng(seed)
    level, group = draws.integers(0, 5, rows), draws.integers(0, groups, rows)
    codes = draws.integers(0, 3, (rows, 2))
    above = match.above(level, group, draws.integers(0, 4, rows), codes, codes, draws)
    named = above >= 0
    assert (level[above[named]] < level[named]).all()
    assert (group[above[named]] == group[named]).all()
    for row in np.flatnonzero(~named):
        lower = (level < level[row]) & (group == group[row])
        assert not lower.any()
