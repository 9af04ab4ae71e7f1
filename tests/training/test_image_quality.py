"""The check of image models while they train."""

import pytest
import torch

from image_cases import digits, layout
from synthmill.config import ImageConfig
from synthmill.data.batch import Batch
from synthmill.data.image_file import read_image
from synthmill.errors import TrainingError
from synthmill.models.base import GenerativeModel, build
from synthmill.training.quality.image import ImageQuality

LAYOUT = layout(classes=10, rows=700)


def real() -> tuple[Batch, Batch, Batch]:
    """Train, validation and others."""
    pixels, labels = digits()
    order = torch.randperm(
        len(pixels), generator=torch.Generator().manual_seed(0)
    )  # writers follow one another
    whole = Batch(pixels=torch.from_numpy(pixels)[order], label=torch.from_numpy(labels)[order])
    return whole.take(slice(0, 700)), whole.take(slice(700, 900)), whole.take(slice(900, 1700))


class Fixed(torch.nn.Module):
    """Samples given images."""

    def __init__(self, batch: Batch, nats: float | None = None) -> None:
        super().__init__()
        self.of_a_image = nats
        self.batch, self.at = batch, 0
        self.register_buffer("anything", torch.zeros(1))

    def nats(self, batch: Batch) -> torch.Tensor | None:
        return None if self.of_a_image is None else torch.full((batch.num_rows,), self.of_a_image)

    def sample(self, num_rows: int, *, condition: object, generator: torch.Generator) -> Batch:
        index = (torch.arange(num_rows) + self.at) % self.batch.num_rows
        self.at += num_rows
        return self.batch.take(index).with_(pixels=self.batch["pixels"][index].float() / 127.5 - 1.0)


def check() -> ImageQuality:
    train, validation, _ = real()
    return ImageQuality(LAYOUT, train, validation, seed=0)


def test_real_images_reach_the_ceiling_and_noise_does_not() -> None:
    quality, (_, _, others) = check(), real()
    found = quality(Fixed(others))  # type: ignore[arg-type]
    assert found["score"] > 0.85
    assert found["coverage"] == pytest.approx(found["coverage_real"], abs=0.1)
    assert found["fd"] < 0.1
    noise = others.with_(
        pixels=torch.randint(0, 256, others["pixels"].shape, generator=torch.Generator().manual_seed(0)).to(
            torch.uint8
        )
    )
    assert quality(Fixed(noise))["score"] < found["score"] - 10 * found["noise"]  # type: ignore[arg-type]


def test_one_class_only_costs_coverage() -> None:
    quality, (_, _, others) = check(), real()
    zeros = others.take((others["label"] == 0).nonzero().flatten())
    assert quality(Fixed(zeros))["coverage"] < 0.3  # type: ignore[arg-type]


def test_the_preview_shows_a_row_for_each_class() -> None:
    quality = check()
    assert quality.preview is None
    quality(Fixed(real()[2]))  # type: ignore[arg-type]
    page = read_image(quality.preview or b"", ImageConfig())
    assert page is not None
    assert page.shape == (10 * (8 + 2) + 2, 10 * (8 + 2) + 2)
    assert len(set(page[2:10, 2:10].ravel().tolist())) > 4


def test_images_that_are_not_numbers_are_an_error() -> None:
    model: GenerativeModel = build("vae", {"channels": 4, "hidden": 8, "latent": 2}, LAYOUT).eval()
    with torch.no_grad():
        model.decoder[0].bias.fill_(float("nan"))
    with pytest.raises(TrainingError, match="images that are not numbers"), torch.inference_mode():
        check()(model)


def test_too_few_validation_images_are_no_check() -> None:
    train, validation, _ = real()

    class Codec:
        layout = LAYOUT

        def encode(self, rows: int) -> Batch:
            return validation.take(slice(0, rows))

    def check_of(rows: int) -> ImageQuality | None:
        return ImageQuality.of(Codec(), None, rows, train, seed=0)  # type: ignore[arg-type]

    assert check_of(31) is None
    assert check_of(32) is not None


def test_of_two_models_with_the_same_images_the_one_that_expects_validation_images_wins() -> None:
    quality, (_, _, others) = check(), real()
    without, surprised = quality(Fixed(others)), quality(Fixed(others, nats=1.25))  # type: ignore[arg-type]
    assert "validation_nats" not in without
    assert surprised["validation_nats"] == 1.25
    assert surprised["score"] == pytest.approx(without["score"] - 1.25)
