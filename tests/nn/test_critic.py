import pytest
import torch

from synthmill.nn.critic import Critic, gradient_penalty


def by_double_backward(critic: Critic, x: torch.Tensor, given: torch.Tensor) -> list[torch.Tensor]:
    x = x.clone().requires_grad_(True)
    score, _ = critic(critic.given(critic.project(x), given))
    (gradient,) = torch.autograd.grad(score.sum(), x, create_graph=True)
    weights = [layer.weight for layer in (critic.first, *critic.layers, critic.out)]
    found = torch.autograd.grad(gradient_penalty(gradient).mean(), weights)
    return [gradient.detach(), *found]


def by_product(critic: Critic, x: torch.Tensor, given: torch.Tensor) -> list[torch.Tensor]:
    with torch.no_grad():
        _, slopes = critic(critic.given(critic.project(x), given))
    gradient = critic.input_gradient(slopes)
    weights = [layer.weight for layer in (critic.first, *critic.layers, critic.out)]
    found = torch.autograd.grad(gradient_penalty(gradient).mean(), weights)
    return [gradient.detach(), *found]


@pytest.mark.parametrize("hidden", [(16,), (16, 8), (16, 8, 8)])
def test_the_explicit_gradient_penalty_equals_double_backward(hidden: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    critic = Critic(6, 4, hidden)
    x, given = torch.randn(10, 6), torch.randint(4, (10, 2))
    torch.manual_seed(1)
    expected = by_double_backward(critic, x, given)
    torch.manual_seed(1)
    for left, right in zip(by_product(critic, x, given), expected, strict=True):
        assert torch.allclose(left, right, atol=1e-6)


def test_the_penalty_is_right_under_autocast() -> None:
    torch.manual_seed(0)
    critic = Critic(40, 4, (64, 64)).eval()
    x, given = torch.randn(50, 40), torch.randint(4, (50, 2))
    exact = by_double_backward(critic, x, given)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = by_product(critic, x, given)
    for left, right in zip(low, exact, strict=True):
        assert left.float().sub(right).norm() < 0.03 * right.norm(), "bf16 has 8 bits: 0.4% an operation"
    assert gradient_penalty(low[0]).dtype == torch.float32


def test_dropout_is_off_in_evaluation_and_keeps_the_mean_in_training() -> None:
    torch.manual_seed(0)
    critic = Critic(6, 0, (2000,))
    before = torch.ones(20, 2000)
    assert float(critic._slopes(before).mean()) == pytest.approx(1.0, abs=0.02)
    assert float((critic._slopes(before) == 0).float().mean()) == pytest.approx(0.5, abs=0.02)
    assert torch.equal(critic.eval()._slopes(before), torch.ones(20, 2000))
