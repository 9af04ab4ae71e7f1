"""CTGAN: a conditional Wasserstein GAN of table rows (arXiv 1907.00503, sections 4.2 to 4.4).

A row is generated given one code of one category column; training draws that column uniformly and its code by
log-frequency, with a real row that has it, and generation draws it by the original frequencies. The critic
sees `pac` rows at once (arXiv 1712.04086) and is trained with a gradient penalty (arXiv 1704.00028). Differs
from the paper where the encoding does: a number is read from the output that belongs to its segment.
Legend: B rows, D one-hot columns, C condition columns, S spans, N numeric spans, V value columns.
"""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from synthmill.config import FrozenModel, tunable
from synthmill.data.batch import Batch, Condition
from synthmill.models.base import Adam, GenerativeModel, Phase, Rng, Stage
from synthmill.nn.blocks import ConditionEmbedding, Residual, compute_dtype, refit_norms
from synthmill.nn.critic import Critic, gradient_penalty
from synthmill.nn.digits import Digits
from synthmill.nn.spans import Spans
from synthmill.nn.table import MixedTable, class_counts

NORM_BATCHES = 20
SMOOTHING_ROWS = 0.5
"""Added to the rows of every code before frequencies are stored, so that none is impossible."""


class _Generator(nn.Module):
    """Noise and condition -> logits (B, D) and value columns (B, V) in [-1, 1]."""

    def __init__(
        self, inputs: int, conditions: int, hidden: tuple[int, ...], columns: int, values: int
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        for width in hidden:
            self.blocks.append(Residual(inputs, conditions, width))
            inputs += width
        self.widths = [columns, values]
        self.out = nn.Linear(inputs, columns + values)
        self.given = ConditionEmbedding(conditions, columns + values, fan_in=inputs + conditions)

    def forward(self, z_BL: Tensor, given_B1: Tensor) -> tuple[Tensor, Tensor]:
        z_BL = z_BL.to(compute_dtype(z_BL.device))
        for block in self.blocks:
            z_BL = block(z_BL, given_B1)
        out = self.given(self.out(z_BL), given_B1).float()
        logits_BD, values_BV = torch.split(out, self.widths, dim=1)
        # A number is stored as its place within a segment, from -1 to 1.
        return logits_BD, torch.tanh(values_BV)


class Ctgan(GenerativeModel):
    """A conditional GAN of `mixed` rows."""

    class Config(FrozenModel):
        """Names and defaults as users of CTGAN know them."""

        embedding_dim: int = tunable(128, choices=(64, 128, 256), ge=1)
        """Noise dimensions."""
        generator_dim: tuple[int, ...] = (256, 256)
        """Widths of the generator's residual blocks."""
        discriminator_dim: tuple[int, ...] = Field((256, 256), min_length=1)
        """Hidden widths of the critic."""
        generator_lr: float = tunable(2e-4, low=5e-5, high=2e-3, log=True, gt=0)
        """Adam's step size for the generator."""
        generator_decay: float = Field(1e-6, ge=0)
        """Weight decay of the generator."""
        discriminator_lr: float = tunable(2e-4, low=5e-5, high=2e-3, log=True, gt=0)
        """Adam's step size for the critic."""
        discriminator_decay: float = Field(1e-6, ge=0)
        """Weight decay of the critic."""
        discriminator_steps: int = tunable(1, choices=(1, 2, 5), ge=1)
        """Critic updates per generator update."""
        pac: int = tunable(10, choices=(1, 5, 10), ge=1)
        """Rows that the critic sees together."""
        tau: float = Field(0.2, gt=0)
        """Temperature of the Gumbel softmax."""
        lambda_: float = Field(10.0, ge=0)
        """Weight of the gradient penalty."""

    modalities: ClassVar[tuple[str, ...]] = ("table",)
    reference: ClassVar[str] = "arXiv 1907.00503, sections 4.2 to 4.4"
    encoding = "mixed"
    conditions = "columns"
    config: Config
    categories_S: Tensor
    frequency_C: Tensor
    pack_P: Tensor

    def __init__(self, config: Any, layout: Any) -> None:
        super().__init__(config, layout)
        self.table = MixedTable(layout)
        roles = [span.role for span in layout.discrete]
        self.category_spans = [index for index, role in enumerate(roles) if role == "category"]
        """Spans that can be conditions, in order."""
        self.given = Spans([layout.discrete[index].width for index in self.category_spans])
        categories = {span: index for index, span in enumerate(self.category_spans)}
        categories_S = torch.tensor([categories.get(span, -1) for span in range(len(roles))])
        self.register_buffer("categories_S", categories_S, persistent=False)
        self.register_buffer("frequency_C", self.given.normalised(torch.ones(self.given.width)))
        self._known_C: Tensor | None = None
        columns, values, conditions = self.table.spans.width, self.table.num_values, self.given.width
        self.generator = _Generator(config.embedding_dim, conditions, config.generator_dim, columns, values)
        self.digits = Digits(layout, self.table.spans)
        inputs = (columns + self.table.num_numeric) * config.pac
        self.discriminator = Critic(inputs, conditions * config.pac, config.discriminator_dim)
        # Each of the rows side by side has its own conditions' columns in the critic's first layer.
        self.register_buffer("pack_P", torch.arange(config.pac) * conditions, persistent=False)

    @property
    def row_group(self) -> int:
        return int(self.config.pac)

    def stages(self) -> tuple[Stage, ...]:
        config = self.config
        sampling: Literal["category", "shuffle"] = "category" if self.category_spans else "shuffle"
        critic = Phase(
            name="discriminator",
            modules=("discriminator",),
            optimizer=Adam(
                learning_rate=config.discriminator_lr,
                betas=(0.5, 0.9),
                weight_decay=config.discriminator_decay,
            ),
            repeats=config.discriminator_steps,
            sampling=sampling,
        )
        generator = Phase(
            name="generator",
            modules=("generator", "digits"),
            optimizer=Adam(
                learning_rate=config.generator_lr, betas=(0.5, 0.9), weight_decay=config.generator_decay
            ),
            reads_real_data=False,
            sampling=sampling,
        )
        return (Stage(name="gan", share=1.0, phases=(critic, generator)),)

    def loss(self, phase: str, batch: Batch, *, rng: Rng, progress: float) -> dict[str, Tensor]:
        given_B1 = self._given(batch)
        given_RP = given_B1.reshape(-1, self.config.pac) + self.pack_P
        z_BL = rng.normal("z", self.config.embedding_dim)
        # Gumbel noise over the temperature: -log(-log u) / tau.
        noise_BD = rng.uniform("gumbel", self.table.spans.width)
        noise_BD = noise_BD.log_().neg_().log_().mul_(-1.0 / self.config.tau)
        if phase == "generator":
            logits_BD, values_BV = self.generator(z_BL, given_B1)
            before_RH = self.discriminator.project(self._fake(logits_BD, values_BV, noise_BD))
            score_R, _ = self.discriminator(self.discriminator.given(before_RH, given_RP))
            terms = {"adversarial": -score_R}
            if self.category_spans:
                terms["condition"] = self.table.spans.cross_entropy_at(logits_BD, batch["condition"])
            return terms
        # Without gradient: this phase moves the critic alone.
        with torch.no_grad():
            logits_BD, values_BV = self.generator(z_BL, given_B1)
            fake_RI = self._fake(logits_BD, values_BV, noise_BD)
            rows = torch.cat([self._packed(self.table.features(batch)), fake_RI])
        # One share for each packed row, which is what the critic scores.
        share_R1 = rng.uniform("mix", 1)[:: self.config.pac]
        critic = self.discriminator
        both = critic.given(critic.project(rows), given_RP.repeat(2, 1))
        real_RH, fake_RH = both.detach().float().chunk(2)
        # The first layer is linear: a mixed row's sums are the mix of the two rows' sums. Only its slopes are
        # needed, and they carry no gradient.
        mixed_RH = torch.lerp(real_RH, fake_RH, share_R1).to(both.dtype)
        score, slopes = critic(torch.cat([both, mixed_RH]))
        real_R, fake_R, _ = score.chunk(3)
        gradient_RI = critic.input_gradient([slope.chunk(3)[2] for slope in slopes])
        return {
            "real": -real_R,
            "fake": fake_R,
            "penalty": self.config.lambda_ * gradient_penalty(gradient_RI),
        }

    def know_counts(self, counts: Sequence[Tensor]) -> None:
        known_C = torch.zeros_like(self.frequency_C)
        for span, count in enumerate(counts):
            known_C[self.given.columns_of(span)] = count.to(known_C)
        self._known_C = known_C

    def finish(self, batches: Iterable[Batch], *, rng: Rng) -> None:
        """Category frequencies, and the generator's BatchNorm statistics under conditions as in training."""
        # Zeros to begin with: without categories there is nothing to add up.
        counts_C = self._known_C
        if counts_C is None:
            counts_C = sum(
                (class_counts(batch["codes"][:, self.category_spans], self.given) for batch in batches),
                self.frequency_C * 0,
            )
        self.frequency_C.copy_(self.given.normalised(counts_C + SMOOTHING_ROWS))
        # Training draws codes by log-frequency, and the averaged weights belong to what it drew.
        drawn_C = self.given.normalised(counts_C.log1p())

        def forward(number: int) -> None:
            z_BL = rng.normal(f"norm-{number}", self.config.embedding_dim)
            self.generator(z_BL, self._draw(drawn_C, rng.uniform(f"norm-condition-{number}")))

        refit_norms(self.generator, forward, NORM_BATCHES)

    def sample(self, num_rows: int, *, condition: Condition | None, generator: torch.Generator) -> Batch:
        device = self.frequency_C.device
        z_BL = torch.randn(num_rows, self.config.embedding_dim, generator=generator, device=device)
        fixed = dict(condition.codes) if condition is not None else {}
        if fixed:
            given_B1 = self._fixed(fixed).expand(num_rows, 1)
        else:
            given_B1 = self._draw(self.frequency_C, torch.rand(num_rows, generator=generator, device=device))
        logits_BD, values_BV = self.generator(z_BL, given_B1)
        codes_BS = self.digits.sample(self.table.spans, logits_BD, generator)
        # Training only rewards the generator for the condition; here it is certain.
        for span, code in fixed.items():
            codes_BS[:, span] = code
        values_BN = values_BV.gather(1, self.table.value_columns(codes_BS))
        return Batch(codes=codes_BS, values=values_BN * self.table.continuous(codes_BS))

    def _fake(self, logits_BD: Tensor, values_BV: Tensor, noise_BD: Tensor) -> Tensor:
        """Soft codes (Gumbel softmax, arXiv 1611.01144) and the values they weigh, packed."""
        soft_BD = self.table.spans.softmax(torch.add(noise_BD, logits_BD, alpha=1.0 / self.config.tau))
        if self.digits.pairs:
            # Once more, with the members' logits moved by the groups that the first pass made likely.
            moved_BD = self.digits.given_soft(logits_BD, soft_BD)
            soft_BD = self.table.spans.softmax(torch.add(noise_BD, moved_BD, alpha=1.0 / self.config.tau))
        rows_BF = torch.cat([soft_BD, self.table.soft_values(soft_BD, values_BV)], 1)
        return self._packed(rows_BF.to(compute_dtype(rows_BF.device)))

    def _packed(self, rows_BF: Tensor) -> Tensor:
        """`pac` rows side by side, (B / pac, pac * F)."""
        return rows_BF.reshape(rows_BF.shape[0] // self.config.pac, -1)

    def _given(self, batch: Batch) -> Tensor:
        """The condition's column, int64 (B, 1)."""
        if not self.category_spans:
            # Embeddings of no columns ignore it.
            return torch.zeros(batch.num_rows, 1, dtype=torch.int64, device=self.frequency_C.device)
        span_B, code_B = batch["condition"].unbind(1)
        return (self.given.offsets_S[self.categories_S[span_B]] + code_B).unsqueeze(1)

    def _fixed(self, codes: dict[int, int]) -> Tensor:
        """The condition that one category span has one code, int64 (1, 1)."""
        assert len(codes) == 1, "ctgan takes a condition on one column"
        ((span, code),) = codes.items()
        assert span in self.category_spans, f"span {span} is no category"
        return (self.given.offsets_S[self.categories_S[span]] + code).reshape(1, 1)

    def _draw(self, frequency_C: Tensor, uniform_B: Tensor) -> Tensor:
        """A condition per row, int64 (B, 1): a category span uniformly, then a code by frequency."""
        if not self.category_spans:
            return torch.zeros(len(uniform_B), 1, dtype=torch.int64, device=uniform_B.device)
        # Each span's frequencies sum to one, so one search draws span and code; in double, as float32 sums
        # over thousands of columns would shift the bounds.
        bounds_C = frequency_C.double().cumsum(0)
        column_B = torch.searchsorted(bounds_C, uniform_B.double() * bounds_C[-1], right=True)
        return column_B.clamp_max(len(bounds_C) - 1).unsqueeze(1)
