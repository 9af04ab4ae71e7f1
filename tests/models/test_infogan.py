"""InfoGAN: codes that can be set, and a bound that is logged."""

import math

import pytest
import torch

from image_cases import halves, layout
from image_models import fidelity, last, sampled, step_rng, trained
from synthmill.data.batch import Batch, Condition
from synthmill.models.base import build


def test_images_show_their_class_and_codes_are_read_back() -> None:
    model, records = trained(
        "infogan", {"noise": 8, "channels": 8, "discriminator_rate": 1e-3, "generator_rate": 2e-3}, steps=300
    )
    assert fidelity(model) > 0.9
    assert last(records, "generator/mutual_information") > 0.5


def test_a_code_that_is_set_is_used_and_nothing_else_changes() -> None:
    model = build("infogan", {"channels": 4}, layout(classes=0)).eval()
    assert [latent.name for latent in model.latent_codes] == ["category", "c1", "c2"]
    low, high = (
        sampled(model, 4, condition=Condition(latent={"c1": value}))["pixels"] for value in (-1.0, 1.0)
    )
    assert not torch.equal(low, high)
    assert torch.equal(low, sampled(model, 4, condition=Condition(latent={"c1": -1.0}))["pixels"])
    with pytest.raises(AssertionError, match="c9"):
        sampled(model, 4, condition=Condition(latent={"c9": 0.0}))


def test_with_classes_the_category_is_the_class() -> None:
    model = build("infogan", {"continuous": 1}, layout(classes=2))
    assert [latent.name for latent in model.latent_codes] == ["c1"]
    assert model.categories == 2


def test_the_bound_is_the_entropy_of_the_codes_minus_what_reading_them_costs() -> None:
    """A reader that always says `any category, N(0, 1)`: log K are lost, and of each uniform code its
    cross-entropy."""
    model = build("infogan", {"channels": 4, "categories": 5, "continuous": 2}, layout(classes=0))
    with torch.no_grad():
        for parameter in model.reader.parameters():
            parameter.zero_()
    batch = Batch(pixels=halves(512)["pixels"])
    terms = model.loss("generator", batch, rng=step_rng(512), progress=0.0)
    normal = 0.5 * math.log(2 * math.pi) + 0.5 / 3
    assert float(terms["log_mutual_information"].mean()) == pytest.approx(
        2 * (math.log(2) - normal), abs=0.05
    )
