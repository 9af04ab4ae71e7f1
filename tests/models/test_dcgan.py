"""DCGAN."""

import pytest
import torch
from torch import nn

from image_cases import halves, layout
from image_models import fidelity, step_rng, trained
from synthmill.models.base import build


def test_images_show_their_class() -> None:
    model, _ = trained("dcgan", {"noise": 8, "channels": 8, "learning_rate": 2e-3}, steps=120)
    assert fidelity(model) > 0.9


@pytest.mark.parametrize(
    ("height", "width", "coarsest", "levels"),
    [(8, 8, (4, 4), 1), (28, 28, (7, 7), 2), (32, 48, (4, 6), 3), (5, 9, (3, 5), 1)],
)
def test_any_size_can_be_grown(height: int, width: int, coarsest: tuple[int, int], levels: int) -> None:
    model = build("dcgan", {"channels": 4}, layout(height=height, width=width, channels=3, classes=0)).eval()
    grid = model.generator[0].grid
    assert ((grid.height, grid.width), grid.levels) == (coarsest, levels)
    with torch.inference_mode():
        assert model.sample(2, condition=None, generator=torch.Generator().manual_seed(0))[
            "pixels"
        ].shape == (2, 3, height, width)


def test_classes_enter_the_discriminator_by_projection() -> None:
    model = build("dcgan", {"channels": 4}, layout()).eval()
    x, zero = torch.zeros(2, 1, 8, 8), torch.zeros(2, 2)
    one = torch.eye(2)
    features = model.discriminator(x)
    weight, bias = model.head.weight, model.head.bias
    expected = features @ weight[0] + bias[0] + (features @ weight[1:].T + bias[1:]).diagonal()
    assert torch.allclose(model._score(x, one), expected, atol=1e-6)
    assert torch.allclose(model._score(x, zero), features @ weight[0] + bias[0], atol=1e-6)


def test_spectral_norm_bounds_the_discriminator() -> None:
    model = build("dcgan", {"channels": 4, "spectral_norm": True, "norm": "none"}, layout()).train()
    with torch.no_grad():
        for layer in model.discriminator.body:
            if isinstance(layer, nn.Conv2d):
                layer.parametrizations.weight.original.mul_(100.0)
        for _ in range(20):
            model.discriminator(torch.zeros(1, 1, 8, 8))
        weight = next(layer.weight for layer in model.discriminator.body if isinstance(layer, nn.Conv2d))
    assert abs(float(torch.linalg.matrix_norm(weight.flatten(1), 2)) - 1.0) < 0.05


def test_r1_is_a_phase_of_its_own_and_penalises_slope() -> None:
    assert [phase.name for phase in build("dcgan", {}, layout()).stages()[0].phases] == [
        "discriminator",
        "generator",
    ]
    model = build("dcgan", {"channels": 4, "r1": 1.0, "norm": "none"}, layout())
    phase = model.stages()[0].phases[2]
    assert (phase.name, phase.every_steps) == ("r1", 8)
    judge = model.stages()[0].phases[0].optimizer
    assert judge == phase.optimizer
    assert judge.learning_rate == pytest.approx(2e-4 * 8 / 9)
    assert judge.betas == pytest.approx((0.5 ** (8 / 9), 0.999 ** (8 / 9)))
    batch = halves(8)
    small = model.loss("r1", batch, rng=step_rng(8), progress=0.0)["r1"].mean()
    with torch.no_grad():
        model.head.weight.mul_(10.0)
    large = model.loss("r1", batch, rng=step_rng(8), progress=0.0)["r1"].mean()
    assert float((large / small).detach()) == pytest.approx(100.0, rel=1e-3)
