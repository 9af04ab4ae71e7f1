"""Progressive GAN: levels, and how a new one fades in."""

import torch

from image_cases import halves, layout
from image_models import sampled, step_rng, trained
from synthmill.models.base import build
from synthmill.models.progressive_gan import double

CONFIG = {"noise": 8, "channels": 4, "most_channels": 8}


def test_one_stage_for_each_resolution() -> None:
    model = build("progressive_gan", CONFIG, layout(height=28, width=28))
    assert [stage.name for stage in model.stages()] == ["level-0", "level-1", "level-2"]
    assert [stage.share for stage in model.stages()] == [1.0, 2.0, 3.0]
    z = torch.zeros(2, 10)
    assert [model.generator(z, level, 1.0).shape[2] for level in range(3)] == [7, 14, 28]


def test_a_new_level_fades_in_from_the_doubled_old_one() -> None:
    model = build("progressive_gan", CONFIG, layout())
    z = torch.randn(4, 10)
    old, half, new = (
        double(model.generator(z, 0, 1.0)),
        model.generator(z, 1, 0.5),
        model.generator(z, 1, 1.0),
    )
    assert torch.allclose(model.generator(z, 1, 0.0), old, atol=1e-6)
    assert torch.allclose(half, (old + new) / 2, atol=1e-6)


def test_training_moves_through_the_levels_and_the_published_model_knows_where_it_is() -> None:
    model, records = trained("progressive_gan", CONFIG, steps=30, rows=16)
    assert model.place.tolist() == [1.0, 1.0]
    seen = {name.split("/")[0] for record in records.records for name in record if "/" in name}
    assert seen == {"critic-0", "generator-0", "critic-1", "generator-1"}


def test_an_unfinished_level_is_sampled_at_its_own_resolution() -> None:
    model = build("progressive_gan", CONFIG, layout())
    model.loss("generator-0", halves(4), rng=step_rng(4), progress=0.5)
    assert model.place.tolist() == [0.0, 1.0]
    pixels = sampled(model.eval(), 2)["pixels"]
    assert torch.equal(pixels, double(pixels[..., ::2, ::2])), "a coarse image, each pixel four times"
