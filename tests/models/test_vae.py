"""The variational autoencoder of images."""

import math

import pytest
import torch

from image_cases import halves, layout
from image_models import fidelity, step_rng, trained
from synthmill.models.base import build


def test_images_show_their_class() -> None:
    model, _ = trained("vae", {"latent": 4, "channels": 8, "hidden": 32, "learning_rate": 5e-3}, steps=150)
    assert fidelity(model) > 0.95


def test_the_terms_are_those_of_the_bound() -> None:
    """Posterior N(0, 1): no divergence. A decoder that is off by d everywhere with scale s: its Gaussian in
    nats."""
    model = build("vae", {"latent": 4, "channels": 4, "hidden": 8}, layout())
    x = torch.zeros(3, 1, 8, 8)
    model.encode = lambda x, y: (torch.zeros(3, 4), torch.zeros(3, 4))  # type: ignore[method-assign]
    assert model.loss("elbo", halves(3), rng=step_rng(3), progress=0.0)["divergence"].tolist() == [0.0] * 3
    off, scale = 0.3, 0.5
    with torch.no_grad():
        model.log_scale.fill_(math.log(scale))
    nats = model.reconstruction(torch.full_like(x, math.atanh(off)), x)["reconstruction"]
    density = torch.distributions.Normal(off, scale).log_prob(torch.zeros(())).item()
    assert nats.tolist() == pytest.approx([-64 * density] * 3, rel=1e-5)


def test_divergence_is_that_of_gaussians() -> None:
    model = build("vae", {"latent": 2, "channels": 4, "hidden": 8}, layout())
    mean, log_variance = torch.tensor([[0.5, -1.0]]), torch.tensor([[0.2, -0.7]])
    model.encode = lambda x, y: (mean, log_variance)  # type: ignore[method-assign]
    found = model.loss("elbo", halves(1), rng=step_rng(1), progress=0.0)["divergence"]
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(
        normal(mean, (0.5 * log_variance).exp()), normal(0.0, 1.0)
    ).sum(1)
    assert torch.allclose(found, expected, atol=1e-6)


def test_latents_are_sampled_where_the_images_of_a_class_lie() -> None:
    """Posteriors N(+-2, 0.5^2) by class: so are the latents that samples are made of, not N(0, 1)."""
    model = build("vae", {"latent": 2, "channels": 4, "hidden": 8}, layout()).eval()
    model.encode = lambda x, y: (
        (4.0 * y[:, :1] - 2.0).expand(-1, 2),
        torch.full((len(x), 2), 2 * math.log(0.5)),
    )  # type: ignore[method-assign]
    with torch.no_grad():
        model.finish([halves(4096)], rng=step_rng(4096))
    seen = []
    model.decoder.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    with torch.inference_mode():
        for label in (0, 1):
            y = torch.eye(2)[torch.full((2000,), label)]
            model.generate(y, torch.Generator().manual_seed(0))
    for label, given in enumerate(seen):
        assert given[:, :2].mean(0).tolist() == pytest.approx([2.0 - 4.0 * label] * 2, abs=0.1)
        assert given[:, :2].std(0).tolist() == pytest.approx([0.5] * 2, rel=0.1)
