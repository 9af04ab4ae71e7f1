"""Gradient penalties against their closed form."""

import pytest
import torch

from synthmill.nn.penalty import (
    discriminator_terms,
    generator_term,
    gradient_norm_squared,
    r1,
    wasserstein_penalty,
)


def score(x: torch.Tensor) -> torch.Tensor:
    return 0.5 * x.flatten(1).square().sum(1)


def test_the_norm_of_a_quadratic_s_gradient_is_the_norm_of_its_argument() -> None:
    x = torch.randn(3, 1, 2, 2)
    assert torch.allclose(gradient_norm_squared(score, x), x.flatten(1).square().sum(1))
    assert torch.allclose(r1(score, x, 4.0), 2.0 * x.flatten(1).square().sum(1))


def test_the_penalty_is_taken_between_real_and_fake() -> None:
    real, fake = torch.zeros(2, 1, 1, 1), torch.full((2, 1, 1, 1), 4.0)
    found = wasserstein_penalty(score, real, fake, torch.tensor([0.0, 0.5]), 10.0)
    assert found.tolist() == pytest.approx([10.0, 10.0], rel=1e-4)  # |0| and |2| are both 1 away from 1


def test_it_can_be_differentiated_again() -> None:
    weight = torch.tensor(3.0, requires_grad=True)
    r1(lambda x: weight * x.flatten(1).sum(1), torch.zeros(2, 1, 1, 2), 1.0).mean().backward()
    assert weight.grad is not None
    assert float(weight.grad) == pytest.approx(6.0)  # d/dw of (w^2 * 2) / 2


def test_undecided_costs_log_two() -> None:
    zero = torch.zeros(2)
    terms = discriminator_terms(zero, zero)
    assert [float(terms[name][0]) for name in ("real", "fake")] == pytest.approx([0.6931472] * 2)
    assert float(generator_term(zero)[0]) == pytest.approx(0.6931472)
    assert float(discriminator_terms(torch.ones(1), -torch.ones(1))["log_accuracy"]) == 1.0
