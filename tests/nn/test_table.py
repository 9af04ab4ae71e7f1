import torch

from encoded import layout, table
from synthmill.nn.table import MixedTable, class_counts


def test_features_are_one_hot_codes_and_masked_values() -> None:
    data = table(50)
    mixed = MixedTable(layout(50))
    features = mixed.features(data.with_(values=torch.ones(50, 1)))
    assert torch.equal(mixed.spans.argmax(features[:, : mixed.spans.width]), data["codes"])
    assert torch.equal(features[:, -1], (data["codes"][:, 2] < 5).float())


def test_soft_values_take_each_segment_by_its_probability() -> None:
    mixed = MixedTable(layout())
    codes = torch.tensor([[0, 0, 3], [0, 0, 5], [0, 0, 0]])
    values_BV = torch.arange(5).float().expand(3, 5) / 10
    soft = mixed.soft_values(mixed.spans.one_hot(codes), values_BV)
    assert torch.allclose(soft[:, 0], torch.tensor([0.3, 0.0, 0.0]))
    assert mixed.value_columns(codes)[:, 0].tolist() == [3, 4, 0]


def test_counts_are_in_the_spans_columns() -> None:
    data = table()
    mixed = MixedTable(layout())
    counts = class_counts(data["codes"], mixed.spans)
    for span, width in enumerate((3, 4, 6)):
        assert torch.equal(
            counts[mixed.spans.columns_of(span)],
            torch.bincount(data["codes"][:, span], minlength=width).float(),
        )
