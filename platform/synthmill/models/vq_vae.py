"""VQ-VAE: images as a small grid of discrete codes, and a prior over the codes (arXiv 1711.00937).

Two stages: codes (equation 3), then prior (section 3.3). Codes are looked up among unit vectors of few
dimensions (arXiv 2110.04627, section 3.2). A penalty keeps them in use equally often (the entropy of their
mean, as in arXiv 2310.05737). The prior is a causal transformer that begins with the class; with little data
it learns images by heart unless dropout leaves some of it out.
Legend: B rows, T codes of an image, D dimensions of a code, V codebook, K classes.
"""

import math
from typing import Any, ClassVar

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn
from torch.nn import functional

from synthmill.config import FrozenModel, tunable
from synthmill.data.batch import Batch
from synthmill.models._images import ImageModel
from synthmill.models.base import Adam, Phase, Rng, Stage
from synthmill.nn.causal import CausalTransformer
from synthmill.nn.convolution import crop, grid_of
from synthmill.nn.equalized import pad_to
from synthmill.nn.pixels import unit

SOFTNESS = 0.1
"""Temperature at which a vector's likeness to codes, a cosine, becomes its shares in them."""


class VqVae(ImageModel):
    """Codes of images and their prior."""

    class Config(FrozenModel):
        """Sizes for images of 8 to 64 pixels."""

        codebook_size: int = tunable(128, choices=(64, 128, 256, 512), ge=2)
        """Size of the codebook."""
        code_dim: int = Field(8, ge=2)
        """Dimensions in which codes are looked up."""
        channels: int = tunable(64, choices=(32, 64, 128), ge=1)
        """Channels of encoder and decoder."""
        commitment_weight: float = tunable(0.25, low=0.1, high=2.0, log=True, gt=0)
        """Weight beta that keeps the encoder near its codes."""
        usage_weight: float = tunable(0.1, low=0.02, high=0.5, log=True, ge=0)
        """Weight of how far, in nats, the codes are from being used equally often."""
        prior_dim: int = tunable(128, choices=(64, 128, 192), ge=4)
        """Width of the prior."""
        prior_layers: int = tunable(3, low=2, high=6, ge=1)
        """Layers of the prior."""
        prior_heads: int = Field(4, ge=1, validate_default=True)
        """Attention heads of the prior; must divide `prior_dim`."""
        prior_dropout: float = tunable(0.3, low=0.0, high=0.5, ge=0, lt=1)
        """Share of the prior's activations left out of a step."""
        temperature: float = Field(1.0, gt=0, le=2)
        """Below 1, sampled codes are more probable and less varied."""
        codes_share: float = Field(0.5, gt=0, lt=1)
        """Share of the steps for the codes; the rest trains the prior."""
        learning_rate: float = tunable(1e-3, low=2e-4, high=2e-3, log=True, gt=0)
        """Adam's step size."""

        @field_validator("prior_heads")
        @classmethod
        def _divides_width(cls, heads: int, info: ValidationInfo) -> int:
            # Each head gets an equal share of the width.
            width = info.data.get("prior_dim", heads)
            if width % heads:
                raise ValueError(f"must divide prior_dim, which is {width}")
            return heads

    reference: ClassVar[str] = "arXiv 1711.00937, equation 3; lookup as in arXiv 2110.04627"
    config: Config

    def __init__(self, config: Any, layout: Any) -> None:
        super().__init__(config, layout)
        channels, height, width = self.shape
        self.grid = grid_of(height, width)
        wide = config.channels
        down: list[nn.Module] = [nn.Conv2d(channels, wide, 3, padding=1), nn.ReLU()]
        up: list[nn.Module] = [nn.Conv2d(config.code_dim, wide, 3, padding=1), nn.ReLU()]
        for _ in range(self.grid.levels):
            down += [nn.Conv2d(wide, wide, 4, stride=2, padding=1), nn.ReLU()]
            up += [nn.ConvTranspose2d(wide, wide, 4, stride=2, padding=1), nn.ReLU()]
        self.encoder = nn.Sequential(
            *down, nn.Conv2d(wide, wide, 3, padding=1), nn.ReLU(), nn.Conv2d(wide, config.code_dim, 1)
        )
        self.decoder = nn.Sequential(*up, nn.Conv2d(wide, channels, 3, padding=1))
        self.codebook_VD = nn.Parameter(torch.randn(config.codebook_size, config.code_dim))
        self.prior = CausalTransformer(
            config.codebook_size,
            self.grid.height * self.grid.width,
            self.classes,
            width=config.prior_dim,
            layers=config.prior_layers,
            heads=config.prior_heads,
            dropout=config.prior_dropout,
        )

    @property
    def needs_whole_batch(self) -> str | None:
        # The entropy of a mean over the batch is no mean of entropies.
        return "the term that spreads the use of codes"

    def stages(self) -> tuple[Stage, ...]:
        adam = Adam(learning_rate=self.config.learning_rate, schedule="cosine", clip_norm=5.0)
        codes = Phase(name="codes", modules=("encoder", "decoder", "codebook_VD"), optimizer=adam)
        prior = Phase(name="prior", modules=("prior",), optimizer=adam)
        share = self.config.codes_share
        return (
            Stage(name="codes", share=share, phases=(codes,)),
            Stage(name="prior", share=1.0 - share, phases=(prior,)),
        )

    def loss(self, phase: str, batch: Batch, *, rng: Rng, progress: float) -> dict[str, Tensor]:
        x_BCHW = self.real(batch, rng)
        if phase == "prior":
            return {"prior": self._prior_nats(x_BCHW, self.labels(batch))}
        codes_BT, e_BTD = self.encode(x_BCHW)
        codebook_VD = functional.normalize(self.codebook_VD, dim=1)
        q_BTD = codebook_VD[codes_BT]
        # Straight-through: the encoder gets the decoder's gradient as if it had made the codes' vectors.
        out_BCHW = self.decode(e_BTD + (q_BTD - e_BTD).detach())
        in_use_V = torch.zeros(self.config.codebook_size, device=codes_BT.device)
        in_use_V.index_fill_(0, codes_BT.flatten(), 1.0)
        # Without the usage term 28x28 digits fell to one of 128 codes within 5 steps, and to gray images:
        # the encoder's vectors all point the same way at first, and commitment ties them to one code.
        return {
            "reconstruction": (out_BCHW - x_BCHW).square().flatten(1).mean(1),
            "codebook": (q_BTD - e_BTD.detach()).square().sum(2).mean(1),
            "commitment": self.config.commitment_weight * (q_BTD.detach() - e_BTD).square().sum(2).mean(1),
            "usage": self.config.usage_weight * self._usage_gap(e_BTD, codebook_VD).expand(len(x_BCHW)),
            "log_codes_in_use": in_use_V.mean().expand(len(x_BCHW)),
        }

    def _prior_nats(self, x_BCHW: Tensor, y_BK: Tensor) -> Tensor:
        """Minus the log likelihood of an image's codes under the prior, a code's mean, float32 (B,)."""
        # The second stage trains the prior alone; its codes are data.
        with torch.no_grad():
            codes_BT, _ = self.encode(x_BCHW)
        logits_BTV = self.prior(codes_BT, y_BK)
        return functional.cross_entropy(logits_BTV.transpose(1, 2), codes_BT, reduction="none").mean(1)

    def nats(self, batch: Batch) -> Tensor:
        return self._prior_nats(unit(batch["pixels"]), self.labels(batch)).float()

    def _usage_gap(self, e_BTD: Tensor, codebook_VD: Tensor) -> Tensor:
        """log V minus the entropy of the mean of softly chosen codes, a scalar in nats."""
        share_V = torch.softmax((e_BTD @ codebook_VD.T).float() / SOFTNESS, 2).mean((0, 1))
        # Zero when all are used equally often. The floor keeps 0 log 0 from being NaN.
        return math.log(len(share_V)) + (share_V * share_V.clamp_min(1e-9).log()).sum()

    def encode(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest codes, int64 (B, T), and the encoder's unit vectors, float32 (B, T, D)."""
        height, width, levels = self.grid
        e_BDHW = self.encoder(pad_to(x_BCHW, height << levels, width << levels)).float()
        e_BTD = functional.normalize(e_BDHW.flatten(2).transpose(1, 2), dim=2)
        # Of unit vectors the one with the largest product is the nearest.
        likeness_BTV = e_BTD.detach() @ functional.normalize(self.codebook_VD.detach(), dim=1).T
        return likeness_BTV.argmax(2), e_BTD

    def decode(self, q_BTD: Tensor) -> Tensor:
        """Images from the vectors of their codes."""
        q_BDHW = q_BTD.transpose(1, 2).reshape(len(q_BTD), -1, self.grid.height, self.grid.width)
        return crop(torch.tanh(self.decoder(q_BDHW).float()), *self.shape[1:])

    @property
    def noise_width(self) -> int:
        return 0  # The prior draws each code; there is no vector to walk between.

    def from_noise(self, z_BZ: Tensor, y_BK: Tensor, generator: torch.Generator) -> Tensor:
        codes_BT = self.prior.sample(y_BK, generator, temperature=self.config.temperature)
        return self.decode(functional.normalize(self.codebook_VD, dim=1)[codes_BT])
