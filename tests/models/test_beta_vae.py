"""beta-VAE."""

import pytest
import torch

from pictures import halves, layout
from pictures_models import fidelity, last, step_rng, trained
from synthmill.models.base import build

CONFIG = {"latent": 4, "channels": 8, "hidden": 32}


def test_pictures_show_their_class_and_a_larger_beta_costs_information() -> None:
    found = {}
    for beta in (0.1, 8.0):
        model, records = trained("beta_vae", {**CONFIG, "beta": beta}, steps=100)
        found[beta] = last(records, "elbo/divergence") / beta
        if beta == 8.0:
            assert fidelity(model) > 0.9
    assert found[0.1] > 2 * found[8.0]


def test_beta_rises_from_nothing_over_the_warm_up() -> None:
    model = build("beta_vae", {**CONFIG, "beta": 4.0, "warmup_share": 0.2}, layout())
    assert [model.divergence_weight(progress) for progress in (0.0, 0.1, 0.2, 1.0)] == pytest.approx([0.0, 2.0, 4.0, 4.0])
    assert float(model.loss("elbo", halves(4), rng=step_rng(4), progress=0.0)["divergence"].detach().abs().max()) == 0.0


def test_pixels_are_bernoulli() -> None:
    model = build("beta_vae", CONFIG, layout())
    x, out = torch.full((2, 1, 8, 8), -0.5), torch.zeros(2, 1, 8, 8)
    assert model.reconstruction(out, x)["reconstruction"].tolist() == pytest.approx([64 * 0.6931472] * 2)
    assert torch.equal(model.picture(out), torch.zeros(2, 1, 8, 8))
