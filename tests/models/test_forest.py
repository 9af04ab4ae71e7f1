import numpy as np
import pyarrow as pa
import pytest
import torch

from encoded import agreement, layout, table
from synthmill.config import DataConfig
from synthmill.data.batch import Batch, Condition, concat
from synthmill.data.codecs.discrete import DiscreteCodec
from synthmill.data.layout import DiscreteSpan, MixedLayout
from synthmill.errors import TooRareError
from synthmill.generation.condition import Where
from synthmill.generation.sampler import Sampler
from synthmill.models.base import GenerativeModel, build, model_class
from tables import customers


def grown(shape: MixedLayout, data: Batch, name: str = "forest", **config: object) -> GenerativeModel:
    model = build(name, config, shape)
    model.fit_closed([data.take(slice(0, 700)), data.take(slice(700, None))])
    return model.eval()


def drawn(model: GenerativeModel, rows: int = 20_000, condition: Condition | None = None) -> Batch:
    return model.sample(rows, condition=condition, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("target", [None, "b"])
def test_keeps_columns_and_their_dependence(target: str | None) -> None:
    data, shape = table(4000), layout(4000).model_copy(update={"target": target})
    rows = drawn(grown(shape, data))
    for span, width in enumerate((3, 4, 6)):
        expected = torch.bincount(data["codes"][:, span], minlength=width) / 4000
        made = torch.bincount(rows["codes"][:, span], minlength=width) / 20_000
        assert torch.allclose(made, expected, atol=0.02)
    assert abs(agreement(rows) - agreement(data)) < 0.02
    inside = rows["codes"][:, 2] // 2 == rows["codes"][:, 0]
    assert inside.float().mean() > 0.98


def test_leaves_are_counts_of_at_least_ten_rows() -> None:
    model = grown(layout(), table())
    ends, counts = model.trees.leaf_end.long(), model.trees.count.long()
    totals = counts.cumsum(0)[ends - 1].diff(prepend=torch.zeros(1, dtype=torch.int64))
    assert totals.min() >= 10
    assert not any(tensor.is_floating_point() for name, tensor in model.trees.state_dict().items())


def test_a_condition_on_what_an_order_begins_with_leaves_the_rest_as_it_was() -> None:
    data, shape = table(8000), layout(8000).model_copy(update={"target": "b"})
    model = grown(shape, data)
    assert model.takes({1}) == {1}
    assert model.takes({0, 2}) == {0, 2}
    for codes in ({1: 2}, {0: 2, 2: 4}):
        rows = drawn(model, condition=Condition(codes=codes))["codes"]
        real = data["codes"]
        keep = torch.stack([real[:, span] == code for span, code in codes.items()]).all(0)
        for span in set(range(3)) - set(codes):
            shares = [torch.bincount(some[:, span], minlength=6) / len(some) for some in (rows, real[keep])]
            assert (shares[0] - shares[1]).abs().max() < 0.05, (codes, span)


def test_what_no_order_begins_with_is_rejected_for() -> None:
    rows = customers(1500)
    codec = DiscreteCodec.fit(rows, DataConfig(source="x", target="churned"))
    model = grown(codec.layout, codec.encode(rows))
    where = Where.parse(["churned=true", "plan=pro", "member=true", "age<40"])
    native, residual = where.split(codec, model)
    assert native is not None
    assert len(native.codes) + len(residual.clauses) == 4
    assert len(native.codes) == 1
    batches = list(Sampler(model, codec).seeded(200, seed=1, path=(0, 0), where=where))
    made = codec.decode(concat(batches), first_row=0)
    assert made["churned"].to_pylist() == [True] * 200
    assert made["plan"].to_pylist() == ["pro"] * 200
    assert max(made["age"].to_pylist()) < 40
    with pytest.raises(TooRareError, match="only 0 of"):
        list(
            Sampler(model, codec).seeded(
                5, seed=1, path=(0, 0), where=Where.parse(["visits=0", "visits>0"]), tries_per_row=1
            )
        )


def test_training_rows_hardly_come_more_often_than_new_ones_and_a_memoriser_is_caught() -> None:
    """Columns of noise are the worst case: whatever is learnt of them is training rows. By chance a row
    equals one of training as often as one of as many new rows."""
    widths = (2, 3, 4, 4, 4, 4, 4, 5)
    shape = MixedLayout(
        discrete=tuple(
            DiscreteSpan(column=f"c{i}", role="category", width=width) for i, width in enumerate(widths)
        ),
        numeric=(),
        rows=3000,
    )

    def rows(seed: int) -> Batch:
        draws = np.random.default_rng(seed)
        first = draws.integers(0, 2, 3000)
        codes = np.stack([(draws.integers(0, width, 3000) + first) % width for width in widths], 1)
        return Batch(codes=torch.from_numpy(codes), values=torch.zeros(3000, 0))

    def hits(made: Batch, real: Batch) -> float:
        known = {tuple(row) for row in real["codes"].tolist()}
        return sum(tuple(row) in known for row in made["codes"].tolist()) / made.num_rows

    seen, new = rows(0), rows(1)
    ratios = {}
    for name, config in (("forest", {}), ("forest", {"least_rows": 40}), ("bootstrap", {})):
        made = drawn(grown(shape, seen, name, **config), rows=3000)
        ratios[name, *config] = hits(made, seen) / hits(made, new)
    assert ratios["forest",] < 2
    assert ratios["forest", "least_rows"] < 1.3
    assert ratios["bootstrap",] > 5


def test_missing_cells_and_two_digits_come_back() -> None:
    towns = [f"town {i % 600:03d}" for i in range(6000)]
    spend = [None if i % 5 == 0 else float(i % 600) for i in range(6000)]
    rows = pa.table({"town": towns, "spend": spend})
    codec = DiscreteCodec.fit(rows, DataConfig(source="x"))
    made = codec.decode(drawn(grown(codec.layout, codec.encode(rows)), 2000), first_row=0)
    assert abs(made["spend"].null_count / 2000 - 0.2) < 0.04
    assert len(set(made["town"].to_pylist())) > 400
    assert model_class("forest").conditions == "any"
