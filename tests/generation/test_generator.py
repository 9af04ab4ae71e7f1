"""A generator without a store: rare categories, identifiers of narrow types, balanced columns with awkward
names."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
import torch

from synthmill.config import DataConfig
from synthmill.data.codecs.mixed import MixedCodec
from synthmill.errors import DataError, UserError
from synthmill.generation.generator import Generator, classes_of
from synthmill.generation.shards import Quota, ShardPlan
from synthmill.models.base import build

RNG = np.random.default_rng(0)


def marginals(table: pa.Table) -> Generator:
    """The closed-form model of independent columns."""
    codec = MixedCodec.fit(table, DataConfig(source="x"))
    model = build("marginals", {}, codec.layout)
    with torch.no_grad():
        model.fit_closed([codec.encode(table)])
    return Generator(model.eval(), codec, "m@1", "0" * 64, {})


def test_rare_categories_are_drawn_for_each_row_though_all_have_the_same_codes() -> None:
    """20 towns of 70 rows and 600 rows of villages too rare to keep: each town is as likely as any other."""
    towns = [f"town{i}" for i in range(20) for _ in range(70)] + [f"village{i}" for i in range(600)]
    generator = marginals(pa.table({"place": towns, "sex": RNG.choice(["f", "m"], 2000)}))
    counts = Counter(generator.sample(20_000, seed=3)["place"].to_pylist())
    assert set(counts) == {f"town{i}" for i in range(20)}
    expected, error = 1000, (1000 * 0.95) ** 0.5
    assert max(abs(count - expected) for count in counts.values()) < 5 * error


def test_a_row_with_a_rare_category_decodes_the_same_after_a_filter() -> None:
    towns = [f"town{i}" for i in range(20) for _ in range(70)] + [f"village{i}" for i in range(600)]
    generator = marginals(pa.table({"place": towns, "sex": RNG.choice(["f", "m"], 2000)}))
    kept = generator.sample(400, seed=3, where="sex=f")
    among = generator.sample(1024, seed=3)
    among = among.filter(pa.compute.equal(among["sex"], "f"))
    assert kept.slice(0, 300).equals(among.slice(0, 300))


def test_more_rows_than_a_narrow_type_can_number_are_refused() -> None:
    table = pa.table({"order_id": pa.array(range(1, 61), pa.int8()), "y": ["a", "b"] * 30})
    generator = marginals(table)
    assert generator.sample(127, seed=0)["order_id"].to_pylist() == list(range(1, 128))
    with pytest.raises(
        UserError,
        match=r"--rows: identifiers 'order_id' of type int8 can number 127 rows; ask for fewer rows",
    ):
        generator.sample(128, seed=0)
    assert generator.sample(1000, seed=0, columns=["y"]).num_rows == 1000


@pytest.mark.parametrize("name", ["income_>50K", "a=b", "plain"])
def test_a_column_whose_name_has_an_operator_can_be_balanced(name: str) -> None:
    generator = marginals(pa.table({name: RNG.choice(["", "yes", "no"], 600), "x": RNG.normal(size=600)}))
    classes = classes_of(generator, name)
    plan = ShardPlan(
        rows=90, seed=0, balance=name, quotas=tuple(Quota(value=value, rows=30) for value in sorted(classes))
    )
    generator.check(plan)
    rows = generator.shard(plan, plan.shard(0))
    assert Counter(rows[name].to_pylist()) == {"": 30, "yes": 30, "no": 30}


def test_a_column_that_has_no_classes_is_refused_before_any_work() -> None:
    generator = marginals(pa.table({"order_id": range(1, 601), "x": RNG.normal(size=600)}))
    for name in ("order_id", "x"):
        with pytest.raises(DataError, match=f"--balance: '{name}' is not a categorical column"):
            generator.check(ShardPlan(rows=10, seed=0, balance=name))
