"""StyleGAN: its parts against the papers' equations."""

import pytest
import torch
from torch.nn import functional

from image_cases import halves, layout
from image_models import sampled, step_rng, trained
from synthmill.models.base import build
from synthmill.models.style_gan import _Modulated

CONFIG = {"noise": 8, "channels": 4, "most_channels": 8, "mapping_layers": 2}


def test_modulation_is_that_of_the_weights() -> None:
    """Scaling activations is the same as convolving each row with its own demodulated weights."""
    torch.manual_seed(0)
    layer = _Modulated(3, 5, 8)
    x, w = torch.randn(2, 3, 6, 6), torch.randn(2, 8)
    for row in range(2):
        style = layer.affine(w[row : row + 1])[0]
        weight = layer.weight * layer.scale * style.view(1, 3, 1, 1)
        weight = weight * torch.rsqrt(weight.square().sum((1, 2, 3), keepdim=True) + 1e-8)
        assert torch.allclose(layer(x, w)[row], functional.conv2d(x[row], weight, padding=1), atol=1e-5)


def test_phases_of_the_lazy_penalties() -> None:
    phases = {phase.name: phase for phase in build("style_gan", CONFIG, layout()).stages()[0].phases}
    assert [phase.every_steps for phase in phases.values()] == [1, 1, 16, 8]
    assert phases["path"].modules == ("mapping", "synthesis", "log_path")
    assert (phases["r1"].moments, phases["path"].moments) == ("discriminator", "generator")
    assert phases["discriminator"].optimizer.betas[1] == pytest.approx(0.99 ** (16 / 17))
    assert set(
        build("style_gan", {**CONFIG, "r1": 0.0, "path_length": 0.0}, layout()).stages()[0].phases[-1].modules
    ) == {
        "mapping",
        "synthesis",
    }


def test_a_class_moves_the_style_as_much_as_the_noise_does() -> None:
    model = build("style_gan", {**CONFIG, "noise": 64}, layout())
    z, other = torch.randn(2, 64, 64)
    zero, one = (
        functional.one_hot(torch.zeros(64, dtype=torch.int64), 2).float(),
        functional.one_hot(torch.ones(64, dtype=torch.int64), 2).float(),
    )
    with torch.inference_mode():
        by_class = (model.mapping(z, zero) - model.mapping(z, one)).norm(dim=1).mean()
        by_noise = (model.mapping(z, zero) - model.mapping(other, zero)).norm(dim=1).mean()
    assert 0.5 < float(by_class / by_noise) < 2.0


def test_mixed_styles_change_from_some_convolution_on() -> None:
    model = build("style_gan", {**CONFIG, "mixing": 1.0}, layout(height=28, width=28))
    styles = model._mixed_styles(torch.zeros(16, 2), step_rng(16))
    changes = (styles[:, 1:] != styles[:, :-1]).any(2)
    assert changes.sum(1).tolist() == [1] * 16, "each row changes once"
    assert len({int(row.int().argmax()) for row in changes}) > 1, "not always at the same place"
    same = build("style_gan", {**CONFIG, "mixing": 0.0}, layout(height=28, width=28))._mixed_styles(
        torch.zeros(16, 2), step_rng(16)
    )
    assert torch.equal(same[:, :1].expand_as(same), same)


def test_no_truncation_left_is_no_variety_left() -> None:
    """At 0 every image of a class has the class's mean style; only the noise inputs differ, and their
    strength starts at 0."""
    model = build("style_gan", {**CONFIG, "truncation": 0.0}, layout())
    model.finish([halves(64)], rng=step_rng(64))
    batch = sampled(model.eval(), 32)
    for label in (0, 1):
        pixels = batch["pixels"][batch["label"] == label]
        assert float((pixels - pixels[0]).abs().max()) < 1e-5


def test_path_length_pulls_its_running_mean_and_the_networks_together() -> None:
    model = build("style_gan", CONFIG, layout())
    terms = model.loss("path", halves(8), rng=step_rng(8), progress=0.0)
    length, mean = terms["log_path_length"].detach(), model.log_path.detach().exp()
    assert terms["path"].tolist() == pytest.approx((8 * (length - mean).square()).tolist(), rel=1e-4)
    terms["path_mean"].mean().backward()
    assert float(model.log_path.grad) == pytest.approx(float(2 * (mean - length.mean()) * mean), rel=1e-3)


def test_it_trains() -> None:
    model, records = trained("style_gan", {**CONFIG, "augment": ["translation", "cutout"]}, steps=20, rows=16)
    seen = {name.split("/")[0] for record in records.records for name in record if "/" in name}
    assert seen == {"discriminator", "generator", "r1", "path"}
    assert bool(model.mean_style_KW.abs().sum(1).gt(0).all())
