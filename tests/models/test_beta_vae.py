"""beta-VAE."""

import pytest
import torch

from image_cases import layout
from image_models import fidelity, last, trained
from synthmill.models.base import build

CONFIG = {"latent": 4, "channels": 8, "hidden": 32}


def test_images_show_their_class_and_a_larger_beta_costs_information() -> None:
    found = {}
    for beta in (0.1, 8.0):
        model, records = trained("beta_vae", {**CONFIG, "beta": beta, "capacity": 0.0}, steps=100)
        found[beta] = last(records, "elbo/nats")
        if beta == 8.0:
            assert fidelity(model) > 0.9
    assert found[0.1] > 2 * found[8.0]


def test_the_capacity_rises_from_nothing_and_beta_weighs_the_distance_from_it() -> None:
    model = build("beta_vae", {**CONFIG, "beta": 4.0, "capacity": 6.0, "warmup_share": 0.2}, layout())
    nats = torch.tensor([0.0, 5.0, 9.0])
    assert model.divergence(nats, 0.0).tolist() == pytest.approx([0.0, 20.0, 36.0])
    assert model.divergence(nats, 0.1).tolist() == pytest.approx([12.0, 8.0, 24.0])
    assert (
        model.divergence(nats, 0.2).tolist()
        == model.divergence(nats, 1.0).tolist()
        == pytest.approx([24.0, 4.0, 12.0])
    )


def test_latents_tell_as_many_nats_as_the_capacity() -> None:
    _, records = trained("beta_vae", {**CONFIG, "capacity": 6.0}, steps=150)
    assert last(records, "elbo/nats") == pytest.approx(6.0, abs=1.0)


def test_pixels_are_bernoulli() -> None:
    model = build("beta_vae", CONFIG, layout())
    x, out = torch.full((2, 1, 8, 8), -0.5), torch.zeros(2, 1, 8, 8)
    assert model.reconstruction(out, x)["reconstruction"].tolist() == pytest.approx([64 * 0.6931472] * 2)
    assert torch.equal(model.image(out), torch.zeros(2, 1, 8, 8))
