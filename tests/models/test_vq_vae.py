"""VQ-VAE: codes, then their prior."""

import math

import pytest
import torch
from torch.nn import functional

from image_cases import halves, layout
from image_models import fidelity, step_rng, trained
from synthmill.errors import RecipeError
from synthmill.models.base import build, parse_config

CONFIG = {
    "codes": 16,
    "code_width": 4,
    "channels": 16,
    "prior_width": 32,
    "prior_layers": 1,
    "prior_dropout": 0.0,
    "learning_rate": 3e-3,
}


def test_images_survive_their_codes_and_show_their_class() -> None:
    model, records = trained("vq_vae", CONFIG, steps=300)
    assert fidelity(model) > 0.9
    x = halves(64)["pixels"].float() / 127.5 - 1.0
    with torch.inference_mode():
        codes, _ = model.encode(x)
        again = model.decode(functional.normalize(model.codebook_VD, dim=1)[codes])
    assert float((again - x).square().mean()) < 0.2 * float(x.var())
    noise = halves(64).with_(
        pixels=torch.randint(0, 256, (64, *x.shape[1:]), generator=torch.Generator().manual_seed(0)).to(
            torch.uint8
        )
    )
    with torch.inference_mode():
        expected, unexpected = model.nats(halves(64)), model.nats(noise)
    assert expected.shape == (64,)
    assert float(expected.max()) < math.log(16) < float(unexpected.mean()), (
        "a uniform guess among 16 codes costs log 16"
    )
    [used] = [record["codes/codes_in_use"] for record in records.records if "codes/codes_in_use" in record][
        -1:
    ]
    assert used > 0.5, "of the codebook"
    stages = {name.split("/")[0] for record in records.records for name in record if "/" in name}
    assert stages == {"codes", "prior"}


def test_codes_are_the_nearest_of_the_codebook() -> None:
    model = build("vq_vae", CONFIG, layout())
    codes, vectors = model.encode(torch.randn(3, 1, 8, 8))
    distances = (vectors.unsqueeze(2) - functional.normalize(model.codebook_VD, dim=1)).square().sum(3)
    assert torch.equal(codes, distances.argmin(2))
    assert torch.allclose(vectors.norm(dim=2), torch.ones(3, 16), atol=1e-5)


def test_the_decoder_s_gradient_passes_the_lookup_straight_to_the_encoder() -> None:
    model = build("vq_vae", CONFIG, layout())
    model.loss("codes", halves(4), rng=step_rng(4), progress=0.0)["reconstruction"].mean().backward()
    assert any(bool(parameter.grad.abs().sum() > 0) for parameter in model.encoder.parameters())
    assert model.codebook_VD.grad is None


def test_the_prior_s_stage_leaves_the_codes_alone() -> None:
    model = build("vq_vae", CONFIG, layout())
    codes, prior = model.stages()
    assert (codes.share, prior.share) == (0.5, 0.5)
    model.loss("prior", halves(4), rng=step_rng(4), progress=0.0)["prior"].mean().backward()
    moved = {name.split(".")[0] for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert moved == {"prior"}


def test_usage_is_how_far_codes_are_from_equally_frequent() -> None:
    model = build("vq_vae", {**CONFIG, "codes": 4, "code_width": 4}, layout())
    codebook = torch.eye(4)
    assert float(model._usage_gap(codebook.repeat(2, 3, 1), codebook)) == pytest.approx(0.0, abs=1e-5)
    assert float(model._usage_gap(codebook[:1].repeat(2, 3, 1), codebook)) == pytest.approx(
        math.log(4), abs=0.01
    )


def test_heads_that_do_not_divide_the_width_of_the_prior() -> None:
    with pytest.raises(RecipeError, match=r"^model\.config\.prior_heads: must divide prior_dim, which is"):
        parse_config("vq_vae", {"prior_heads": 3})
    with pytest.raises(RecipeError, match="must divide prior_dim, which is 130"):
        parse_config("vq_vae", {"prior_dim": 130})
    assert dict(parse_config("vq_vae", {"prior_heads": 3, "prior_dim": 96}))["prior_heads"] == 3
