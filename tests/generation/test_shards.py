"""Shards cover a job exactly, and quotas add up in every shard and over all of them."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthmill.errors import ConditionError
from synthmill.generation.shards import Quota, ShardPlan, level_quotas


@given(rows=st.integers(1, 100_000), shard_rows=st.integers(1, 5_000))
def test_shards_cover_all_rows_in_order(rows: int, shard_rows: int) -> None:
    plan = ShardPlan(rows=rows, seed=0, shard_rows=max(shard_rows, rows // 50 + 1))
    shards = list(plan.shards())
    assert [shard.index for shard in shards] == list(range(plan.num_shards))
    assert sum(shard.rows for shard in shards) == rows
    assert all(a.first_row + a.rows == b.first_row for a, b in itertools.pairwise(shards))


@given(counts=st.lists(st.integers(0, 400), min_size=2, max_size=6), shard_rows=st.integers(1, 100))
def test_quotas_are_met_in_every_shard(counts: list[int], shard_rows: int) -> None:
    rows = sum(counts)
    if rows == 0:
        return
    quotas = tuple(Quota(value=str(i), rows=count) for i, count in enumerate(counts))
    plan = ShardPlan(rows=rows, seed=0, balance="c", quotas=quotas, shard_rows=shard_rows)
    dealt = [plan.shard_quotas(index) for index in range(plan.num_shards)]
    assert all(quota.rows >= 0 for shard in dealt for quota in shard)
    assert [sum(quota.rows for quota in shard) for shard in dealt] == [shard.rows for shard in plan.shards()]
    assert [sum(shard[i].rows for shard in dealt) for i in range(len(counts))] == counts


@given(
    existing=st.dictionaries(st.text("abc", min_size=1), st.integers(0, 50), min_size=2, max_size=5),
    rows=st.integers(1, 200),
)
def test_levels_are_as_equal_as_rows_allow(existing: dict[str, int], rows: int) -> None:
    quotas = {quota.value: quota.rows for quota in level_quotas(existing, rows)}
    assert sum(quotas.values()) == rows
    assert all(added >= 0 for added in quotas.values())
    totals = {value: existing[value] + quotas[value] for value in existing}
    filled = [totals[value] for value in existing if quotas[value]]
    assert max(filled) - min(filled) <= 1
    assert all(total >= max(filled) - 1 for total in totals.values())


def test_classes_without_rows_share_evenly() -> None:
    assert level_quotas({"no": 0, "yes": 0}, 5) == (Quota(value="no", rows=3), Quota(value="yes", rows=2))


def test_the_smaller_class_is_filled_first() -> None:
    assert level_quotas({"no": 90, "yes": 10}, 50) == (Quota(value="no", rows=0), Quota(value="yes", rows=50))


def test_one_class_can_not_be_balanced() -> None:
    with pytest.raises(ConditionError, match="at least two classes"):
        level_quotas({"only": 3}, 10)
