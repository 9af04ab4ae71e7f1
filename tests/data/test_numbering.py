"""Numbers that no real identifier has."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from synthmill.data.numbering import free_numbering

ROWS = np.arange(5_000, dtype=np.uint64)


@given(st.lists(st.integers(0, 10**9 - 1), max_size=400), st.sampled_from([10**3, 10**5, 10**9, 26**4]))
def test_none_is_taken_and_all_differ(taken: list[int], capacity: int) -> None:
    numbers = free_numbering(np.array(taken, dtype=np.int64), capacity).of(ROWS)
    assert len(np.unique(numbers)) == len(ROWS)
    assert not set(numbers.tolist()) & {number for number in taken if number < capacity}


def test_a_counter_goes_on_at_the_next_power_of_ten() -> None:
    numbers = free_numbering(np.arange(1, 801), 10**9).of(ROWS[:3])
    assert numbers.tolist() == [1000, 1001, 1002]


def test_nothing_real_begins_at_one() -> None:
    assert free_numbering(np.array([], dtype=np.int64), 10).of(ROWS[:3]).tolist() == [1, 2, 3]


def test_scattered_numbers_leave_blocks_whose_edges_tell_no_number() -> None:
    taken = np.random.default_rng(1).integers(0, 10**8, 10_000)
    numbering = free_numbering(taken, 10**8)
    assert len(numbering.blocks) > 100
    assert all(block % numbering.block_size == 0 for block in numbering.blocks)
    assert len(numbering.blocks) * numbering.block_size >= 100_000
    assert not np.isin(numbering.of(np.arange(100_000, dtype=np.uint64)).astype(np.int64), taken).any()


def test_a_full_range_goes_on_beyond_it() -> None:
    numbers = free_numbering(np.arange(1000), 1000).of(ROWS[:3])
    assert numbers.tolist() == [1000, 1001, 1002]
