"""Layers with an equalized learning rate: what is folded into weights is what the papers write one after the
other."""

import pytest
import torch
from torch.nn import functional

from synthmill.models.style_gan import _double
from synthmill.nn.equalized import EqualConv, activated, gain, with_spread


@pytest.mark.parametrize("width", [1, 3])
def test_halving_is_the_mean_of_four_results(width: int) -> None:
    torch.manual_seed(0)
    halving = EqualConv(3, 5, width, halves=True)
    whole = EqualConv(3, 5, width)
    whole.load_state_dict(halving.state_dict() | {"bias": torch.randn(5)})
    halving.load_state_dict(whole.state_dict())
    x = torch.randn(2, 3, 8, 12)
    assert torch.allclose(halving(x), functional.avg_pool2d(whole(x), 2), atol=1e-5)
    assert torch.allclose(halving(x, 2.0), 2.0 * halving(x), atol=1e-5)
    assert torch.allclose(activated(whole, x), gain(whole(x)), atol=1e-5)


def test_the_spread_is_the_mean_standard_deviation_of_each_four_rows() -> None:
    torch.manual_seed(0)
    x = torch.randn(8, 3, 2, 2)
    spread = with_spread(x)[:, 3]
    for rows in (slice(0, 4), slice(4, 8)):
        wanted = x[rows].std(0, unbiased=False).mean()
        assert torch.allclose(spread[rows], wanted.expand(4, 2, 2), atol=1e-4)


def test_doubling_is_bilinear_and_so_are_its_first_and_second_gradients() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4, 6, dtype=torch.float64, requires_grad=True)
    bilinear = functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
    assert torch.equal(_double(x), bilinear)
    weight = torch.randn_like(bilinear)
    (ours,), (theirs,) = (torch.autograd.grad((y * weight).sum(), x) for y in (_double(x), bilinear))
    assert torch.allclose(ours, theirs)
    assert torch.autograd.gradcheck(_double, x)
    assert torch.autograd.gradgradcheck(_double, x)
