import torch
from torch.nn import functional

from synthmill.nn.spans import Spans

WIDTHS = (2, 40, 7, 6, 1, 31)


def spans_and_logits(rows: int = 5) -> tuple[Spans, torch.Tensor, torch.Tensor]:
    spans = Spans(WIDTHS)
    draws = torch.Generator().manual_seed(0)
    codes = torch.stack([torch.randint(width, (rows,), generator=draws) for width in WIDTHS], 1)
    return spans, torch.randn(rows, spans.width, generator=draws), codes


def own(spans: Spans, span: int, x: torch.Tensor) -> torch.Tensor:
    return x[:, spans.columns_of(span)]


def test_padding_is_at_most_a_quarter_of_a_span_and_columns_do_not_overlap() -> None:
    spans = Spans(WIDTHS)
    columns = [column for span in range(len(WIDTHS)) for column in range(spans.width)[spans.columns_of(span)]]
    assert len(set(columns)) == len(columns) == sum(WIDTHS)
    assert spans.width <= sum(WIDTHS) / 0.75


def test_one_hot_argmax_and_back() -> None:
    spans, _, codes = spans_and_logits()
    one_hot = spans.one_hot(codes)
    assert torch.equal(one_hot.sum(1), torch.full((5,), float(len(WIDTHS))))
    assert torch.equal(spans.argmax(one_hot), codes)


def test_softmax_and_cross_entropy_equal_those_of_each_span_alone() -> None:
    spans, logits, codes = spans_and_logits()
    probabilities, surprise = spans.softmax(logits), spans.cross_entropy(logits, codes)
    for span in range(len(WIDTHS)):
        alone = own(spans, span, logits)
        assert torch.allclose(own(spans, span, probabilities), alone.softmax(1))
        expected = functional.cross_entropy(alone, codes[:, span], reduction="none")
        assert torch.allclose(surprise[:, span], expected, atol=1e-6)
        chosen = torch.stack([torch.full((5,), span), codes[:, span]], 1)
        assert torch.allclose(spans.cross_entropy_at(logits, chosen), expected, atol=1e-6)
    assert torch.allclose(probabilities.sum(1), torch.full((5,), float(len(WIDTHS))))


def test_samples_follow_the_softmax() -> None:
    spans, logits, _ = spans_and_logits(1)
    codes = spans.sample(logits.expand(40_000, -1), torch.Generator().manual_seed(0))
    for span, width in enumerate(WIDTHS):
        shares = torch.bincount(codes[:, span], minlength=width) / 40_000
        assert len(shares) == width, "a code outside its span"
        assert torch.allclose(shares, own(spans, span, logits).softmax(1)[0], atol=0.01)


def test_normalised_weights_sum_to_one_in_each_span() -> None:
    spans = Spans(WIDTHS)
    weights = spans.normalised(torch.arange(spans.width).float())
    assert torch.allclose(
        torch.stack([weights[spans.columns_of(span)].sum() for span in range(len(WIDTHS))]),
        torch.ones(len(WIDTHS)),
    )
    assert weights[spans.padding_D < 0].sum() == 0


def test_a_table_without_discrete_spans_is_empty_not_an_error() -> None:
    spans = Spans([])
    assert spans.softmax(torch.zeros(3, 0)).shape == (3, 0)
    assert spans.sample(torch.zeros(3, 0), torch.Generator()).shape == (3, 0)
