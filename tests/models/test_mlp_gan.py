"""The classical GAN."""

import torch
from torch import nn

from image_cases import layout
from image_models import fidelity, trained, variety
from synthmill.models.base import build


def test_the_default_networks_are_the_classical_ones() -> None:
    model = build("mlp_gan", {}, layout(height=28, width=28, classes=0))
    widths = [
        (part.in_features, part.out_features) for part in model.generator if isinstance(part, nn.Linear)
    ]
    assert widths == [(100, 256), (256, 512), (512, 784)]
    judge = [
        (part.in_features, part.out_features) for part in model.discriminator if isinstance(part, nn.Linear)
    ]
    assert judge == [(784, 1024), (1024, 512), (512, 1)]
    kinds = {type(part) for part in model.generator}
    assert kinds == {nn.Linear, nn.BatchNorm1d, nn.LeakyReLU, nn.Tanh}
    assert nn.Dropout in {type(part) for part in model.discriminator}
    for phase in model.stages()[0].phases:
        assert (phase.optimizer.learning_rate, phase.optimizer.betas) == (2e-4, (0.5, 0.999))


def test_images_show_their_class() -> None:
    config = {"noise": 8, "generator_widths": [32], "discriminator_widths": [32], "learning_rate": 2e-3}
    model, _ = trained("mlp_gan", config, steps=400)
    assert fidelity(model) > 0.9
    assert variety(model) > 0.05


def test_without_classes_there_is_no_label() -> None:
    model = build("mlp_gan", {}, layout(classes=0)).eval()
    with torch.inference_mode():
        rows = model.sample(3, condition=None, generator=torch.Generator().manual_seed(0))
    assert set(rows) == {"pixels"}
