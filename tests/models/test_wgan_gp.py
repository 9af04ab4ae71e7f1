"""WGAN-GP."""

import pytest
import torch

from image_cases import halves, layout
from image_models import fidelity, step_rng, trained
from synthmill.models.base import build


def test_images_show_their_class() -> None:
    model, _ = trained(
        "wgan_gp", {"noise": 8, "channels": 8, "critic_updates": 2, "learning_rate": 2e-3}, steps=120
    )
    assert fidelity(model) > 0.9


def test_the_critic_moves_more_often_than_the_generator() -> None:
    critic, generator = build("wgan_gp", {"critic_updates": 3}, layout()).stages()[0].phases
    assert (critic.name, critic.repeats, generator.repeats) == ("critic", 3, 1)
    assert critic.optimizer.betas == (0.0, 0.9)


def test_the_penalty_is_ten_times_the_squared_distance_of_the_slope_from_one() -> None:
    """A linear critic of slope s everywhere: 10 (s - 1)^2, whatever is real or fake."""
    model = build("wgan_gp", {"channels": 4}, layout(classes=0))
    slope = 3.0 / 8.0  # 64 pixels of it have norm 3
    model._score = lambda x, y: slope * x.flatten(1).sum(1)  # type: ignore[method-assign]
    terms = model.loss("critic", halves(4), rng=step_rng(4), progress=0.0)
    assert terms["penalty"].tolist() == pytest.approx([10.0 * (3.0 - 1.0) ** 2] * 4, rel=1e-4)
    assert torch.allclose(terms["log_distance"], -terms["critic"])
