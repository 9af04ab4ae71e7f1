import torch

from encoded import agreement, layout, table
from synthmill.data.batch import Batch
from synthmill.data.layout import DiscreteSpan, MixedLayout
from synthmill.models.base import build


def sampled(shape: MixedLayout, data: Batch) -> Batch:
    model = build("marginals", {}, shape)
    model.fit_closed([data.take(slice(0, 700)), data.take(slice(700, None))])
    return model.sample(20_000, condition=None, generator=torch.Generator().manual_seed(0))


def test_keeps_each_column_and_no_dependence() -> None:
    data = table()
    rows = sampled(layout(), data)
    for span, width in enumerate((3, 4, 6)):
        expected = torch.bincount(data["codes"][:, span], minlength=width) / 2000
        assert torch.allclose(
            torch.bincount(rows["codes"][:, span], minlength=width) / 20_000, expected, atol=0.02
        )
    assert abs(agreement(rows) - 0.44) < 0.03


def test_numbers_stay_with_their_segment() -> None:
    data = table()
    low = data["codes"][:, 2:] == 0
    rows = sampled(layout(), data.with_(values=torch.where(low, -0.95, data["values"])))
    values, segments = rows["values"][:, 0], rows["codes"][:, 2]
    assert values[segments == 0].max() < -0.75
    assert values[segments == 1].std() > 0.5
    assert values[segments == 5].abs().max() == 0


def test_the_two_digits_of_one_column_stay_together() -> None:
    digits = tuple(
        DiscreteSpan(column="city", role=role, width=width) for role, width in (("group", 3), ("member", 5))
    )
    group = torch.randint(3, (1000,), generator=torch.Generator().manual_seed(0))
    data = Batch(codes=torch.stack([group, group + 1], 1), values=torch.zeros(1000, 0))
    rows = sampled(MixedLayout(discrete=digits, numeric=(), rows=1000), data)
    assert torch.equal(rows["codes"][:, 0] + 1, rows["codes"][:, 1])
