from pathlib import Path

import pytest
import torch

from encoded import MemoryFolder, Records, layout, settings, table
from synthmill.data.batch import Batch
from synthmill.data.records import Columns
from synthmill.data.shards import EncodedRows, ShardWriter
from synthmill.models.base import build
from synthmill.storage.folder import Folder
from synthmill.training.checkpoint import Checkpoints
from synthmill.training.loop import Outcome, train
from synthmill.training.parallel import Single
from synthmill.training.rng import StepRng
from synthmill.training.rows import ByCategory, InMemory
from synthmill.training.sharded import Sharded

CPU = torch.device("cpu")
ROWS = 21_000
SMALL = {
    "tvae": {"embedding_dim": 4, "compress_dims": [8], "decompress_dims": [8]},
    "ctgan": {"embedding_dim": 4, "generator_dim": [8], "discriminator_dim": [8]},
    "marginals": {},
}


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> EncodedRows:
    """Six blocks, the last of them short, in three parts."""
    return on_disk(table(ROWS), tmp_path_factory.mktemp("shards"))


def on_disk(data: Batch, path: Path) -> EncodedRows:
    with ShardWriter(Folder(path), layout(ROWS), key="k", by_code=True, part_rows=8000) as writer:
        writer.write(Columns.of(data))
        return EncodedRows(path, writer.finish())


def numbers(batch: Batch, data: Batch) -> list[int]:
    """Row numbers by their values, which are all different but for point masses."""
    order = data["values"][:, 0].argsort(stable=True)
    return order[torch.searchsorted(data["values"][order, 0], batch["values"][:, 0])].tolist()


def test_an_epoch_reads_every_row_once_in_an_order_that_ranks_share(encoded: EncodedRows) -> None:
    rows = Sharded(encoded, CPU, window_blocks=2)
    shuffled = rows.shuffled(1000, 0)
    assert shuffled.per_epoch == 21
    epochs = [[shuffled.batch(epoch * 21 + i, slice(0, 1000)) for i in range(21)] for epoch in range(2)]
    everything = table(ROWS)
    for batches in epochs:
        seen = torch.cat([batch["values"][:, 0] for batch in batches]).sort().values
        assert torch.equal(seen, everything["values"][:, 0].sort().values)
    assert not torch.equal(epochs[0][0]["values"], epochs[1][0]["values"])
    again = Sharded(encoded, CPU, window_blocks=2).shuffled(1000, 0)
    assert torch.equal(again.batch(28, slice(300, 700))["values"], epochs[1][7]["values"][300:700])


def test_a_batch_mixes_the_blocks_of_a_window(encoded: EncodedRows) -> None:
    everything = table(ROWS)
    first = Sharded(encoded, CPU, window_blocks=3).shuffled(1000, 0).batch(0, slice(0, 1000))
    continuous = Batch(**{key: first[key][first["codes"][:, 2] < 5] for key in first})
    found = numbers(continuous, everything)
    assert len({row // 4096 for row in found}) == 3
    assert found != sorted(found)


def test_sampling_by_category_draws_the_rows_that_memory_gives(encoded: EncodedRows) -> None:
    rng = StepRng(CPU, 0, 5000, slice(0, 5000)).at(0, "d", 0)
    expected = ByCategory(table(ROWS), layout(ROWS)).batch(rng)
    found = Sharded(encoded, CPU).by_category(layout(ROWS)).batch(rng)
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    alone = Sharded(encoded, CPU).by_category(layout(ROWS)).batch(rng, with_rows=False)
    assert list(alone) == ["condition"]


def test_what_weights_are_refitted_on_is_a_fair_bounded_sample(encoded: EncodedRows) -> None:
    batches = Sharded(encoded, CPU).for_finish(500, seed=3)
    assert sum(batch.num_rows for batch in batches) == 16_384
    everything = table(ROWS)
    found = [batch for batch in batches if bool((batch["codes"][:, 2] < 5).all())]
    assert not found or numbers(found[0], everything) == sorted(numbers(found[0], everything))
    share = torch.cat([batch["codes"][:, 0] for batch in batches]).bincount() / 16_384
    assert torch.allclose(share, everything["codes"][:, 0].bincount() / ROWS, atol=0.01)
    small = Sharded(encoded, CPU).counts()
    assert small is not None
    assert small[1].tolist() == everything["codes"][:, 1].bincount(minlength=4).tolist()


def run(encoded: EncodedRows | Batch, model: str = "tvae", **others: object) -> Outcome:
    torch.manual_seed(0)
    data = encoded if isinstance(encoded, Batch) else Sharded(encoded, CPU, window_blocks=2)
    arguments = {"parallel": Single(), "reporter": Records(), **others}
    config = arguments.pop("config", settings(max_steps=60))
    return train(build(model, SMALL[model], layout(ROWS)), data, config, **arguments)  # type: ignore[arg-type]


def test_ctgan_trains_from_disk_to_the_same_bits_as_from_memory(encoded: EncodedRows) -> None:
    """Its rows come by their codes, which both paths draw alike; frequencies are counted over all rows."""
    left, right = run(encoded, "ctgan"), run(table(ROWS), "ctgan")
    assert all(torch.equal(value, right.state_dict[name]) for name, value in left.state_dict.items())


def test_a_model_in_closed_form_counts_the_same_batch_by_batch(encoded: EncodedRows) -> None:
    torch.manual_seed(0)
    models = [build("marginals", {}, layout(ROWS)) for _ in range(2)]
    models[0].fit_closed(Sharded(encoded, CPU).batches())
    models[1].fit_closed([table(ROWS)])
    assert all(
        torch.equal(value, models[1].state_dict()[name]) for name, value in models[0].state_dict().items()
    )


def test_a_model_that_wants_all_rows_at_once_gets_a_fair_sample_of_those_on_disk(
    encoded: EncodedRows,
) -> None:
    sharded, everything = Sharded(encoded, CPU), table(ROWS)
    (some,) = sharded.fitted(2_000, 5)
    assert some.num_rows == 2_000
    (again,) = sharded.fitted(2_000, 5)
    assert all(torch.equal(some[key], again[key]) for key in some)
    (others,) = sharded.fitted(2_000, 6)
    assert not torch.equal(some["codes"], others["codes"])
    share = some["codes"][:, 0].bincount() / 2_000
    assert torch.allclose(share, everything["codes"][:, 0].bincount() / ROWS, atol=0.04)
    for rows in (sharded.fitted(None, 5), sharded.fitted(ROWS, 5), InMemory(everything, CPU).fitted(9, 5)):
        assert torch.equal(torch.cat([batch["codes"] for batch in rows]), everything["codes"])


def test_frequencies_that_a_model_begins_with_are_those_of_all_rows(encoded: EncodedRows) -> None:
    torch.manual_seed(0)
    models = [build("autoregressive", {}, layout(ROWS)) for _ in range(2)]
    with torch.no_grad():
        models[0].begin(Sharded(encoded, CPU).batches())
        models[1].begin([table(ROWS)])
    left, right = ({k: v for k, v in model.state_dict().items() if "bias" in k} for model in models)
    assert all(torch.equal(value, right[name]) for name, value in left.items())
    assert any((value != 0).any() for value in left.values())


def test_a_run_from_disk_resumes_where_it_was(encoded: EncodedRows) -> None:
    folder = MemoryFolder()
    whole = run(encoded)
    steps = iter([False] * 33 + [True])

    class InterruptError(Exception):
        pass

    def interrupt() -> bool:
        if next(steps):
            raise InterruptError
        return False

    often = settings(max_steps=60, checkpoint_seconds=1e-9)
    with pytest.raises(InterruptError):
        run(encoded, config=often, checkpoints=Checkpoints(folder), should_stop=interrupt)
    records = Records()
    resumed = run(encoded, config=often, checkpoints=Checkpoints(folder), reporter=records)
    assert records.records[0] == {"message": "resumed at step 33 of 60"}
    assert all(torch.equal(value, resumed.state_dict[name]) for name, value in whole.state_dict.items())
