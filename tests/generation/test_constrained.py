"""Rows that are drawn again for constraints, and rows that are completed under them."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch

from encoded import Records, settings
from rules import CONSTRAINTS, orders
from synthmill.config import DataConfig
from synthmill.data.codecs.constrained import fit_codec
from synthmill.errors import ConditionError, DataError, TooRareError, UserError
from synthmill.generation.completing import complete, log_prob, predict_proba
from synthmill.generation.generator import Generator
from synthmill.generation.sampler import Sampler
from synthmill.generation.shards import ShardPlan, level_quotas
from synthmill.generation.stream import fresh_pieces, seeded_pieces
from synthmill.models.base import GenerativeModel, build, model_class
from synthmill.training.loop import train
from synthmill.training.parallel import Single

FREE = (
    {"type": "formula", "expression": "x < 1 or y > 20"},
    {"type": "unique", "columns": ["x", "y", "pack"]},
)


def generator_of(name: str, *own: dict[str, Any], **config: object) -> Generator:
    table = orders(1500)
    codec = fit_codec(model_class(name).encoding, table, DataConfig(source="x", constraints=own))
    torch.manual_seed(0)
    model: GenerativeModel = build(name, config, codec.layout)
    data = codec.encode(table)
    if model.stages():
        run = settings(max_steps=60, max_epochs=60)
        model.load_state_dict(train(model, data, run, parallel=Single(), reporter=Records()).state_dict)
    else:
        model.fit_closed([data])
    return Generator(model.eval(), codec, "m@1", "", {"model": name})


@pytest.fixture(scope="module")
def strict() -> Generator:
    return generator_of("marginals", *CONSTRAINTS, *FREE)


@pytest.fixture(scope="module")
def completing() -> Generator:
    return generator_of("autoregressive", *CONSTRAINTS, embedding_dim=16, hidden_dim=16)


def broken(generator: Generator, table: pa.Table) -> dict[str, int]:
    counts = {one.text: int((~one.holds(table)).sum()) for one in generator.codec.constraints}
    return {text: count for text, count in counts.items() if count}


def test_where_rows_are_cut_changes_none_of_them(strict: Generator) -> None:
    plan = ShardPlan(rows=9000, seed=5, shard_rows=4096)
    whole = pa.concat_tables([strict.shard(plan, shard) for shard in plan.shards()])
    assert broken(strict, whole) == {}
    for blocks in (1, 3):
        assert pa.concat_tables(seeded_pieces(strict, plan, blocks=blocks)).equals(whole)
    again = [strict.shard(plan, plan.shard(index)) for index in (2, 0, 1)]
    assert pa.concat_tables([again[1], again[2], again[0]]).equals(whole)


def test_classes_of_a_rebuilt_column_are_balanced_within_the_shard(strict: Generator) -> None:
    quotas = level_quotas(dict.fromkeys("abcdef", 0), 1200)
    plan = ShardPlan(rows=1200, seed=5, balance="city", quotas=quotas)
    rows = strict.shard(plan, plan.shard(0))
    assert {one["counts"] for one in rows["city"].value_counts().to_pylist()} == {200}
    assert broken(strict, rows) == {}


def test_rows_without_a_seed_meet_them_too(strict: Generator) -> None:
    sampler = Sampler(strict.model, strict.codec)
    pieces = fresh_pieces(strict, sampler, 1500, columns=None, piece_rows=400)
    rows = pa.concat_tables(pieces)
    assert rows.num_rows == 1500
    assert broken(strict, rows) == {}


def test_what_no_row_meets_stops_with_the_constraint_and_the_rate() -> None:
    found = generator_of("marginals", {"type": "formula", "expression": "x > 50"})
    with pytest.raises(TooRareError, match=r"data\.constraints: x > 50: only 0 of 262,144 generated rows"):
        found.sample(5, seed=0)


def test_more_rows_than_there_are_values_are_refused_before_any_is_drawn() -> None:
    found = generator_of("marginals", {"type": "unique", "columns": ["city", "hot 0"]})
    assert found.codec.levels("hot 0") is not None
    with pytest.raises(UserError, match="the model knows 12 different values; ask for fewer rows"):
        found.sample(13, seed=0)


def test_conditions_on_rebuilt_columns(completing: Generator) -> None:
    rows = completing.sample(300, seed=1, where=["land=y", "paid>=2021-06-01", "pack<=2400"])
    assert set(rows["land"].to_pylist()) == {"y"}
    assert max(rows["pack"].to_pylist()) <= 2400
    assert broken(completing, rows) == {}
    with pytest.raises(ConditionError, match="no generated row has that value of 'city'"):
        completing.sample(3, seed=1, where=["city=z"])
    # One category tells of the city: the model is told, and no row is rejected.
    before = completing.sampler.generated
    completing.sample(1000, seed=1, where=["city in {a, b}"])
    assert completing.sampler.generated - before == 1024


def test_completed_rows_meet_them_and_keep_what_is_known(completing: Generator) -> None:
    known = orders(1200, seed=4).select(["start", "net", "tax", "city", "low", "gross", "size"])
    rows = complete(completing, known, seed=2, field="rows")
    assert broken(completing, rows) == {}
    for name in known.column_names:
        both = zip(known[name].to_pylist(), rows[name].to_pylist(), strict=True)
        assert all(own is None or own == new for own, new in both), name
    assert complete(completing, known, seed=2, field="rows").equals(rows)


def test_the_part_of_a_known_total_that_is_missing_follows(completing: Generator) -> None:
    table = orders(50, seed=4)
    table = table.filter(pc.is_valid(table["gross"]))
    rows = complete(completing, table.select(["net", "cut", "gross"]), seed=2, field="rows")
    assert rows["tax"].to_pylist() == table["tax"].to_pylist()
    with pytest.raises(
        DataError, match=r"row 1: nothing that was drawn goes with its known cells and gross = "
    ):
        complete(completing, table.select(["gross", "cut"]), seed=2, field="rows")


def test_rows_are_judged_and_what_is_learnt_together_is_told(completing: Generator) -> None:
    scores = log_prob(completing, orders(20, seed=4), field="rows")
    assert scores.shape == (20,)
    with pytest.raises(DataError, match="learnt together with others, as combinations of city, land says"):
        predict_proba(completing, "city", orders(3), field="rows")
