"""DiffAugment."""

import torch

from synthmill.nn.augment import NUMBERS, diff_augment


def numbers(*values: float) -> torch.Tensor:
    return torch.tensor([list(values) + [0.5] * (NUMBERS - len(values))])


X = torch.arange(64.0).view(1, 1, 8, 8) / 32 - 1


def test_no_policy_changes_nothing() -> None:
    assert torch.equal(diff_augment(X, (), torch.rand(1, NUMBERS)), X)


def test_brightness_and_contrast() -> None:
    assert torch.allclose(diff_augment(X, ("brightness",), numbers(0.75)), X + 0.25)
    assert torch.allclose(diff_augment(X, ("contrast",), numbers(0.0, 0.0)), (X - X.mean()) * 0.5 + X.mean())


def test_translation_moves_whole_pixels_and_background_moves_in() -> None:
    """u = 0: one pixel down and right (an eighth of 8)."""
    moved = diff_augment(X, ("translation",), numbers(0, 0, 0.0, 0.0))
    assert torch.equal(moved[0, 0, 1:, 1:], X[0, 0, :-1, :-1])
    assert bool((moved[0, 0, 0] == -1).all())
    assert torch.equal(diff_augment(X, ("translation",), numbers(0, 0, 0.5, 0.5)), X)


def test_cutout_blanks_a_square_of_half_the_side() -> None:
    cut = diff_augment(X + 5, ("cutout",), numbers(0, 0, 0, 0, 0.5, 0.5))
    assert int((cut == 0).sum()) == 16
    assert bool((cut[0, 0, 2:6, 2:6] == 0).all())


def test_gradients_pass_through_everything() -> None:
    x = X.clone().requires_grad_(True)
    diff_augment(
        x, ("brightness", "contrast", "translation", "cutout"), torch.full((1, NUMBERS), 0.4)
    ).square().sum().backward()
    assert x.grad is not None
    assert float(x.grad.abs().sum()) > 0
