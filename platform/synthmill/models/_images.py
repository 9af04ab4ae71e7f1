"""What image models share: classes, real images from a batch, and sampling a class before its image."""

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from synthmill.data.batch import Batch, Condition
from synthmill.data.layout import PixelLayout
from synthmill.models.base import GenerativeModel, Rng
from synthmill.nn.augment import NUMBERS, Policy, diff_augment
from synthmill.nn.blocks import refit_norms
from synthmill.nn.pixels import mirror, one_hot, unit

# Batches whose statistics are averaged: few, as every quality check needs them anew.
REFIT_PASSES = 8


class ImageModel(GenerativeModel):
    """A model of images, class-conditional when the layout has classes."""

    modalities: ClassVar[tuple[str, ...]] = ("image",)
    encoding = "pixels"
    conditions = "label"
    layout: PixelLayout
    label_share_K: Tensor

    def __init__(self, config: Any, layout: Any) -> None:
        super().__init__(config, layout)
        self.classes: int = layout.classes
        self.shape: tuple[int, int, int] = (layout.channels, layout.height, layout.width)
        self.register_buffer("label_share_K", torch.full((self.classes,), 1.0 / max(1, self.classes)))

    def real(self, batch: Batch, rng: Rng) -> Tensor:
        """Images of a batch, float32 (B, C, H, W) in [-1, 1], mirrored at random if the recipe says so."""
        x_BCHW = unit(batch["pixels"])
        return mirror(x_BCHW, rng.uniform("mirror")) if self.layout.flip else x_BCHW

    def labels(self, batch: Batch) -> Tensor:
        """One-hot classes of a training batch, (B, K); K is 0 without classes."""
        if self.classes:
            return one_hot(batch["label"], self.classes)
        return batch["pixels"].new_zeros(batch.num_rows, 0, dtype=torch.float32)

    def augmented(self, x_BCHW: Tensor, policy: tuple[Policy, ...], rng: Rng, name: str) -> Tensor:
        """DiffAugment of real or generated images, with random numbers of that name."""
        if not policy:
            return x_BCHW  # Before the numbers are drawn: most models have no policy.
        return diff_augment(x_BCHW, policy, rng.uniform(f"augment-{name}", NUMBERS))

    def finish(self, batches: Iterable[Batch], *, rng: Rng) -> None:
        """Count the classes, and refit what averaged weights need."""
        batches = list(batches)
        if self.classes:
            counts = torch.bincount(torch.cat([batch["label"] for batch in batches]), minlength=self.classes)
            self.label_share_K.copy_(counts / counts.sum())
        self.refit(batches, rng)

    def refit(self, batches: list[Batch], rng: Rng) -> None:
        """Refit what else depends on the final weights; nothing by default."""

    def refit_generator(self, generator: nn.Module, inputs: int, batches: list[Batch], rng: Rng) -> None:
        """BatchNorm statistics of a network that reads `inputs` normal numbers and a one-hot class."""

        def forward(number: int) -> None:
            # Numbers come for whole batches; the last one may be short.
            z_BZ = rng.normal(f"refit-{number}", inputs)[: batches[number].num_rows]
            generator(torch.cat([z_BZ, self.labels(batches[number])], 1))

        refit_norms(generator, forward, self.refit_passes(batches))

    def refit_passes(self, batches: list[Batch]) -> int:
        """How many batches to average statistics over."""
        # Whole ones: a short last one would count as much as the others.
        whole = sum(batch.num_rows == batches[0].num_rows for batch in batches)
        return min(whole, REFIT_PASSES)

    def sample(self, num_rows: int, *, condition: Condition | None, generator: torch.Generator) -> Batch:
        label_B, y_BK = self.draw_labels(num_rows, condition, generator)
        return self.as_batch(self.generate(y_BK, generator), label_B)

    def draw_labels(
        self, num_rows: int, condition: Condition | None, generator: torch.Generator
    ) -> tuple[Tensor | None, Tensor]:
        """The condition's class, or classes as frequent as in training: int64 (B,) and one-hot (B, K).

        Without classes None and a width of 0.
        """
        wanted = condition.label if condition is not None else None
        device = self.label_share_K.device
        if not self.classes:
            assert wanted is None, "a model without classes takes no class"
            return None, torch.zeros(num_rows, 0, device=device)
        # Drawn even for a fixed class: the noise that follows is then the same with and without a condition.
        uniform_B = torch.rand(num_rows, generator=generator, device=device)
        label_B = torch.searchsorted(self.label_share_K.cumsum(0), uniform_B, right=True)
        # Rounding can leave the last sum below 1.
        label_B = label_B.clamp_max(self.classes - 1)
        label_B = label_B if wanted is None else torch.full_like(label_B, wanted)
        return label_B, one_hot(label_B, self.classes)

    def as_batch(self, x_BCHW: Tensor, label_B: Tensor | None) -> Batch:
        """The batch that `sample` returns."""
        # Not every model's output is squashed to the range that the codec expects.
        pixels = x_BCHW.float().clamp(-1.0, 1.0)
        return Batch(pixels=pixels) if label_B is None else Batch(pixels=pixels, label=label_B)

    @property
    def noise_width(self) -> int:
        """Width of the noise vector that an image is made of; 0: it is not made of one."""
        return int(self.config.latent_dim)

    def generate(self, y_BK: Tensor, generator: torch.Generator) -> Tensor:
        """Images of these classes, float32 (B, C, H, W)."""
        z_BZ = torch.randn(len(y_BK), self.noise_width, generator=generator, device=y_BK.device)
        return self.from_noise(z_BZ, y_BK, generator)

    @abstractmethod
    def from_noise(self, z_BZ: Tensor, y_BK: Tensor, generator: torch.Generator) -> Tensor:
        """Images of this noise and these classes; other random numbers come from `generator`."""

    def interpolate(
        self, steps: int, *, condition: Condition | None, generator: torch.Generator
    ) -> Batch | None:
        """Images along the great circle between two noises (arXiv 1609.04468)."""
        # Not the straight line: its middle is shorter than nearly every noise that the model was trained on.
        if not self.noise_width:
            return None
        label = condition.label if condition is not None else None
        device = self.label_share_K.device
        ends = torch.randn(2, self.noise_width, generator=generator, device=device)
        share = torch.linspace(0.0, 1.0, steps, device=device).unsqueeze(1)
        angle = torch.acos(torch.cosine_similarity(ends[0], ends[1], dim=0).clamp(-0.999, 0.999))
        both = torch.sin((1 - share) * angle) * ends[0] + torch.sin(share * angle) * ends[1]
        z_BZ = both / torch.sin(angle)
        y_BK = one_hot(torch.full((steps,), label or 0, device=device), self.classes)
        return self.as_batch(self.from_noise(z_BZ, y_BK, generator), None)
