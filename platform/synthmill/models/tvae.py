"""TVAE: a variational autoencoder of table rows (arXiv 1907.00503, 4.4, over arXiv 1312.6114, equation 10).

Differs from the paper where that is better: latents are drawn from a mixture fitted to the aggregate
posterior instead of N(0, I), discrete outputs from their softmax instead of its argmax, and numbers from the
decoder's own noise, a logistic truncated to the segment. Legend: B rows, L latent dimensions, D one-hot
columns, N numeric spans, V value columns.
"""

from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from synthmill.config import FrozenModel, tunable
from synthmill.data.batch import Batch, Condition
from synthmill.models.base import Adam, GenerativeModel, Phase, Rng, Stage, batch_of_table
from synthmill.nn import truncated
from synthmill.nn.blocks import perceptron
from synthmill.nn.digits import Digits
from synthmill.nn.mixture import POINTS_PER_COMPONENT, GaussianMixture
from synthmill.nn.table import MixedTable

LARGEST_FIT_ROWS = 8_192
FIRST_ITERATIONS, MORE_ITERATIONS = 20, 4
"""Of the latent density, at the first fit and at each later one, which starts from the one before."""
SMALLEST_EXPLAINED = 0.02
"""A latent whose posterior variance is nearer than this to the prior's carries nothing and stays N(0, 1)."""


class _Encoder(nn.Module):
    """Row features -> mean and log variance of q(z | x), each (B, L)."""

    def __init__(self, inputs: int, hidden: tuple[int, ...], latent: int) -> None:
        super().__init__()
        self.body, width = perceptron(inputs, hidden)
        self.out = nn.Linear(width, 2 * latent)

    def forward(self, x_BF: Tensor) -> tuple[Tensor, Tensor]:
        mean_BL, log_variance_BL = self.out(self.body(x_BF)).float().chunk(2, dim=1)
        # Bounds that no useful latent reaches: exp of an early outlier would be infinite.
        return mean_BL, log_variance_BL.clamp(-12.0, 6.0)


class _Decoder(nn.Module):
    """Latents -> logits (B, D) and, per value column, the mean (B, V) of p(x | z), whose scale is learned."""

    def __init__(self, latent: int, hidden: tuple[int, ...], columns: int, values: int) -> None:
        super().__init__()
        self.widths = [columns, values]
        self.body, width = perceptron(latent, hidden)
        self.out = nn.Linear(width, columns + values)
        self.log_scale_V = nn.Parameter(torch.zeros(values))

    def forward(self, z_BL: Tensor) -> tuple[Tensor, Tensor]:
        out = self.out(self.body(z_BL)).float()
        logits_BD, means_BV = torch.split(out, self.widths, dim=1)
        return logits_BD, torch.tanh(means_BV)


class Tvae(GenerativeModel):
    """A variational autoencoder of `mixed` rows."""

    class Config(FrozenModel):
        """Names and defaults as users of TVAE know them."""

        embedding_dim: int = tunable(128, choices=(32, 64, 128), ge=1)
        """Latent dimensions."""
        compress_dims: tuple[int, ...] = (128, 128)
        """Hidden widths of the encoder."""
        decompress_dims: tuple[int, ...] = (128, 128)
        """Hidden widths of the decoder."""
        learning_rate: float = tunable(1e-3, low=2e-4, high=3e-3, log=True, gt=0)
        """Adam's step size."""
        l2scale: float = tunable(1e-5, low=1e-6, high=1e-3, log=True, ge=0)
        """Weight decay."""
        loss_factor: float = tunable(2.0, low=1.0, high=8.0, log=True, gt=0)
        """Weight of the reconstruction against the divergence from the prior."""
        mixture_components: int = Field(20, ge=1)
        """Gaussians in the density that latents are drawn from; fewer with few rows."""

    modalities: ClassVar[tuple[str, ...]] = ("table",)
    reference: ClassVar[str] = "arXiv 1907.00503, section 4.4"
    encoding = "mixed"
    conditions = "none"
    config: Config

    def __init__(self, config: Any, layout: Any) -> None:
        super().__init__(config, layout)
        self.table = MixedTable(layout)
        columns = self.table.spans.width
        self.encoder = _Encoder(columns + self.table.num_numeric, config.compress_dims, config.embedding_dim)
        self.decoder = _Decoder(config.embedding_dim, config.decompress_dims, columns, self.table.num_values)
        self.digits = Digits(layout, self.table.spans)
        self.latents = GaussianMixture(config.mixture_components, config.embedding_dim)

    def stages(self) -> tuple[Stage, ...]:
        optimizer = Adam(learning_rate=self.config.learning_rate, weight_decay=self.config.l2scale)
        phase = Phase(name="elbo", modules=("encoder", "decoder", "digits"), optimizer=optimizer)
        most = batch_of_table(self.layout.rows)
        return (Stage(name="vae", share=1.0, phases=(phase,), most_batch_rows=most),)

    def loss(self, phase: str, batch: Batch, *, rng: Rng, progress: float) -> dict[str, Tensor]:
        mean_BL, log_variance_BL = self.encoder(self.table.features(batch))
        z_BL = mean_BL + torch.exp(0.5 * log_variance_BL) * rng.normal("z", mean_BL.shape[1])
        logits_BD, means_BV = self.decoder(z_BL)
        divergence_B = 0.5 * (mean_BL.square() + log_variance_BL.exp() - 1.0 - log_variance_BL).sum(1)
        logits_BD = self.digits.given_codes(logits_BD, batch["codes"])
        codes_B = self.table.spans.cross_entropy(logits_BD, batch["codes"]).sum(1)
        terms = {"divergence": divergence_B, "codes": self.config.loss_factor * codes_B}
        if self.table.num_numeric:
            columns_BN = self.table.value_columns(batch["codes"])
            mean_BN, log_scale_BN = means_BV.gather(1, columns_BN), self._log_scale(columns_BN)
            nats_BN = truncated.negative_log_density(batch["values"], mean_BN, log_scale_BN)
            # A point mass or a missing value has no number to explain.
            values_B = (nats_BN * self.table.continuous(batch["codes"])).sum(1)
            terms["values"] = self.config.loss_factor * values_B
        return terms

    def _log_scale(self, columns_BN: Tensor) -> Tensor:
        # Bounded: where a segment's numbers are all alike the likelihood has no maximum.
        return self.decoder.log_scale_V.clamp(-5.0, 3.0)[columns_BN]

    def finish(self, batches: Iterable[Batch], *, rng: Rng) -> None:
        """Fit the latent density to the aggregate posterior, sampled at rows spread evenly over the data."""
        batches = list(batches)
        # Rounded up: never more points than that, and evenly spread ones, as sources are often sorted.
        stride = -(-sum(batch.num_rows for batch in batches) // LARGEST_FIT_ROWS) or 1
        points: list[Tensor] = []
        explained_L = torch.zeros(self.config.embedding_dim, device=self.table.spans_N.device)
        # Batch by batch, so that posteriors of the whole table are never in memory at once.
        for number, batch in enumerate(batches):
            some = batch.take(slice(None, None, stride))
            mean_BL, log_variance_BL = self.encoder(self.table.features(some))
            noise_BL = rng.normal(f"posterior-{number}", mean_BL.shape[1])[: len(mean_BL)]
            points.append(mean_BL + torch.exp(0.5 * log_variance_BL) * noise_BL)
            explained_L += 1.0 - log_variance_BL.exp().mean(0)
        used_L = explained_L / len(points) > SMALLEST_EXPLAINED
        self.latents.fit(
            torch.cat(points), used_L, first_iterations=FIRST_ITERATIONS, more_iterations=MORE_ITERATIONS
        )

    def finish_steps(self, rows: int, batch_rows: int) -> float:
        points = min(rows, LARGEST_FIT_ROWS)
        components = max(1, min(self.config.mixture_components, points // POINTS_PER_COMPONENT))
        # Two products a component and iteration; of the latents some seven in ten carry something.
        used = 0.7 * self.config.embedding_dim
        products = 2.0 * MORE_ITERATIONS * components * points * used**2
        # A step multiplies each weight by each row three times; what it costs besides is as much as 200 rows.
        weights = sum(parameter.numel() for parameter in self.parameters())
        return products / (3.0 * weights * (batch_rows + 200))

    def sample(self, num_rows: int, *, condition: Condition | None, generator: torch.Generator) -> Batch:
        assert condition is None, "tvae takes no condition"
        logits_BD, means_BV = self.decoder(self.latents.sample(num_rows, generator))
        codes_BS = self.digits.sample(self.table.spans, logits_BD, generator)
        columns_BN = self.table.value_columns(codes_BS)
        uniform_BN = torch.rand(columns_BN.shape, generator=generator, device=columns_BN.device)
        mean_BN, log_scale_BN = means_BV.gather(1, columns_BN), self._log_scale(columns_BN)
        values_BN = truncated.sample(uniform_BN, mean_BN, log_scale_BN)
        return Batch(codes=codes_BS, values=values_BN * self.table.continuous(codes_BS))
