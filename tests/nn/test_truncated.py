import pytest
import torch

from synthmill.nn import truncated

CASES = [(0.0, 0.5), (0.9, -1.0), (-0.7, -3.0), (0.3, 3.0)]


@pytest.mark.parametrize(("mean", "log_scale"), CASES)
def test_the_density_integrates_to_one(mean: float, log_scale: float) -> None:
    x = torch.linspace(-1, 1, 4001)
    density = torch.exp(-truncated.negative_log_density(x, torch.tensor(mean), torch.tensor(log_scale)))
    assert float(torch.trapezoid(density, x)) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(("mean", "log_scale"), CASES)
def test_samples_have_that_density(mean: float, log_scale: float) -> None:
    uniform = torch.rand(50_000, generator=torch.Generator().manual_seed(0))
    values = truncated.sample(uniform, torch.tensor(mean), torch.tensor(log_scale))
    assert float(values.abs().max()) <= 1
    x = torch.linspace(-1, 1, 4001)
    density = torch.exp(-truncated.negative_log_density(x, torch.tensor(mean), torch.tensor(log_scale)))
    assert float(values.mean()) == pytest.approx(float(torch.trapezoid(density * x, x)), abs=0.01)


def test_a_wide_scale_is_uniform() -> None:
    values = truncated.sample(torch.linspace(0, 0.999, 100), torch.tensor(0.5), torch.tensor(3.0))
    assert torch.allclose(values, torch.linspace(-1, 0.998, 100), atol=0.03)
