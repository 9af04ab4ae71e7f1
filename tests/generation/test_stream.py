import pyarrow as pa
import pytest
import torch

from served import publish_customers
from synthmill.catalog.store import Store
from synthmill.errors import ConditionError
from synthmill.generation.generator import Generator
from synthmill.generation.shards import ShardPlan
from synthmill.generation.stream import fresh_pieces, seeded_pieces


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Generator:
    return Generator.load(publish_customers(Store(tmp_path_factory.mktemp("store"))))


@pytest.mark.parametrize("blocks", [1, 3, 8])
@pytest.mark.parametrize(
    "plan",
    [
        ShardPlan(rows=10, seed=7),
        ShardPlan(rows=5000, seed=7),
        ShardPlan(rows=6000, seed=7, shard_rows=2048),
        ShardPlan(rows=3000, seed=7, shard_rows=2048, where=("plan=pro",)),
        ShardPlan(rows=700, seed=0, where=("age>=50", "plan!=basic"), columns=("plan", "customer", "age")),
    ],
    ids=str,
)
def test_pieces_are_the_rows_of_the_job(generator: Generator, plan: ShardPlan, blocks: int):
    whole = pa.concat_tables([generator.shard(plan, shard) for shard in plan.shards()])
    pieces = list(seeded_pieces(generator, plan, blocks=blocks))
    assert pa.concat_tables(pieces).combine_chunks().equals(whole.combine_chunks())
    assert max(piece.num_rows for piece in pieces) <= blocks * 1024
    assert whole["customer"].to_pylist() == [f"C-{i + 1:05d}" for i in range(plan.rows)]


def test_the_number_of_threads_and_what_else_is_drawn_change_nothing(generator: Generator):
    plan = ShardPlan(rows=3000, seed=3)
    expected = pa.concat_tables(list(seeded_pieces(generator, plan)))
    torch.manual_seed(99)
    pieces = []
    for piece in seeded_pieces(generator, plan, blocks=1):
        list(fresh_pieces(generator, generator.sampler, 100, columns=None, piece_rows=64))
        pieces.append(piece)
    assert pa.concat_tables(pieces).combine_chunks().equals(expected.combine_chunks())


def test_a_condition_that_is_hardly_ever_met_stops_with_the_rate(
    generator: Generator, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("synthmill.generation.sampler.LEAST_TRIES", 16 * 1024)
    plan = ShardPlan(rows=1000, seed=0, where=("age>=80", "visits>=79", "spend>=1350"), max_tries_per_row=1)
    with pytest.raises(
        ConditionError,
        match=r"age>=80 and visits>=79 and spend>=1350: only [0-9,]+ of 16,384 generated rows satisfied it",
    ):
        list(seeded_pieces(generator, plan))


def test_work_is_done_piece_by_piece(generator: Generator, monkeypatch: pytest.MonkeyPatch):
    blocks = []
    sample = generator.model.sample
    monkeypatch.setattr(
        generator.model, "sample", lambda rows, **options: blocks.append(rows) or sample(rows, **options)
    )
    pieces = seeded_pieces(generator, ShardPlan(rows=65_536, seed=0), blocks=2)
    next(pieces)
    pieces.close()
    assert blocks == [1024, 1024]


def test_unseeded_rows_differ_each_time_and_come_in_pieces(generator: Generator):
    first, second = (
        list(fresh_pieces(generator, generator.sampler, 250, columns=("age", "plan"), piece_rows=100))
        for _ in range(2)
    )
    assert [piece.num_rows for piece in first] == [100, 100, 50]
    assert first[0].column_names == ["age", "plan"]
    assert not pa.concat_tables(first).equals(pa.concat_tables(second))
