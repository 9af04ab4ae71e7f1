import torch

from encoded import layout, table
from synthmill.training.rng import StepRng
from synthmill.training.rows import ByCategory, Shuffled, chunks

CPU = torch.device("cpu")


def test_an_epoch_reads_every_row_once_and_another_epoch_in_another_order() -> None:
    data = table(100)
    numbered = data.with_(label=torch.arange(100))
    rows = Shuffled(numbered, 30, 0, CPU)
    assert rows.per_epoch == 3
    epochs = [[rows.batch(epoch * 3 + i, slice(0, 30))["label"] for i in range(3)] for epoch in range(2)]
    for batches in epochs:
        assert len(set(torch.cat(batches).tolist())) == 90
    assert not torch.equal(epochs[0][0], epochs[1][0])
    again = Shuffled(numbered, 30, 0, CPU)
    assert torch.equal(again.batch(4, slice(0, 30))["label"], epochs[1][1]), "a resumed run finds its place"
    assert torch.equal(again.batch(4, slice(10, 20))["label"], epochs[1][1][10:20]), "a rank takes its rows"


def test_sampling_by_category_takes_rows_that_have_the_code() -> None:
    data = table()
    batch = ByCategory(data, layout()).batch(StepRng(CPU, 0, 20_000, slice(0, 20_000)).at(0, "d", 0))
    span, code = batch["condition"].unbind(1)
    assert torch.equal(batch["codes"].gather(1, span.unsqueeze(1)).squeeze(1), code)
    assert set(span.tolist()) == {0, 1}, "segments are no conditions"
    assert abs(float((span == 0).float().mean()) - 0.5) < 0.02
    counts = torch.bincount(data["codes"][:, 0], minlength=3).double()
    expected = counts.log1p() / counts.log1p().sum()
    found = torch.bincount(code[span == 0], minlength=3) / int((span == 0).sum())
    assert torch.allclose(found.double(), expected, atol=0.02)
    alone = ByCategory(data, layout()).batch(
        StepRng(CPU, 0, 20_000, slice(0, 20_000)).at(0, "d", 0), with_rows=False
    )
    assert set(alone) == {"condition"}
    assert torch.equal(alone["condition"], batch["condition"])


def test_sampling_by_category_never_draws_a_code_that_no_row_has() -> None:
    data = table(500)
    codes = data["codes"].clone()
    codes[:, 1] = torch.where(codes[:, 1] == 3, 2, codes[:, 1])
    batch = ByCategory(data.with_(codes=codes), layout()).batch(
        StepRng(CPU, 0, 5000, slice(0, 5000)).at(0, "d", 0)
    )
    assert not bool(((batch["condition"][:, 0] == 1) & (batch["condition"][:, 1] == 3)).any())


def test_chunks_cover_all_rows_in_order() -> None:
    data = table(250).with_(label=torch.arange(250))
    assert torch.cat([chunk["label"] for chunk in chunks(data, 100)]).tolist() == list(range(250))
    assert [chunk.num_rows for chunk in chunks(data, 100)] == [100, 100, 50]
