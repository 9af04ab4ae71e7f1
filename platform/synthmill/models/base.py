"""What a model is: networks, a loss per phase and a way to sample.

It sees no file, cluster, optimizer or rank, so that one loop trains every model on any number of workers.
"""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from synthmill import registry
from synthmill.config import FrozenModel, parse_model
from synthmill.data.batch import Batch, Condition
from synthmill.data.layout import Layout
from synthmill.errors import RecipeError


@dataclass(frozen=True, kw_only=True)
class Adam:
    """Settings of one Adam optimizer (arXiv 1412.6980; decoupled decay as in arXiv 1711.05101)."""

    learning_rate: float
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    clip_norm: float | None = None
    """Gradients of the phase are scaled down to this L2 norm; None: never."""
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    """How the learning rate falls over the stage."""
    warmup_steps: int = 0
    """Steps over which it first rises."""

    def beside_lazy(self, every_steps: int) -> "Adam":
        """These settings where a penalty adds an update every k steps: rate c and decays to the power c.

        With c = k / (k + 1) the moments forget as much in a given time as they would without the penalty
        (arXiv 1912.04958, appendix B). 0: no penalty, nothing changes.
        """
        c = every_steps / (every_steps + 1) if every_steps else 1.0
        betas = (self.betas[0] ** c, self.betas[1] ** c)
        return dataclasses.replace(self, learning_rate=self.learning_rate * c, betas=betas)


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One kind of update: which parameters move, how often, by what optimizer."""

    name: str
    modules: tuple[str, ...]
    """Attribute names of the model's submodules (or parameters) that this phase moves; all others stay."""
    optimizer: Adam
    every_steps: int = 1
    """Runs on steps divisible by it."""
    repeats: int = 1
    """Updates in one step, each with its own batch."""
    moments: str | None = None
    """An earlier phase of the stage, with the same modules, whose Adam moments this one shares.

    With moments of its own a penalty's weight would have no effect, as Adam divides it out (lazy
    regularisation, arXiv 1912.04958, section 3.1)."""
    reads_real_data: bool = True
    """Whether the loss reads the batch (differential privacy needs to know)."""
    reads_progress: bool = False
    """Whether the loss changes with `progress`; a CUDA graph replays one number for ever."""
    second_order: bool = False
    """Whether the loss contains a gradient (a penalty), so that training takes gradients of gradients, which
    compiled code does not support."""
    sampling: Literal["shuffle", "category"] = "shuffle"
    """How its rows are drawn. shuffle: epochs of permutations. category: training-by-sampling (arXiv
    1907.00503, 4.3): a `category` span uniformly, one of its codes by log-frequency, a row that has it; the
    batch then carries `condition` int64 (N, 2): (discrete span index, code)."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A share of the steps with its own phases; vq_vae has two (codes, then prior). Run in order."""

    name: str
    share: float
    phases: tuple[Phase, ...]
    most_epochs: int | None = None
    """Passes over the rows after which there is nothing left to learn; a run of one stage ends there, if
    `training.max_epochs` does not end it sooner. None: the recipe decides."""
    most_batch_rows: int | None = None
    """Rows of a batch beyond which a small table is learnt from in too few steps; where the recipe states
    no number, the default is reduced to it. None: the default stays."""


@dataclass(frozen=True)
class Latent:
    """A named latent code that a condition can fix."""

    name: str
    low: float
    high: float
    """Values beyond these bounds are refused."""
    integer: bool = False


class Rng(Protocol):
    """Random numbers of the *global* batch by (seed, step, phase, name), of which a rank gets its own rows.

    So results depend neither on the number of workers nor on the order of the calls.
    """

    def normal(self, name: str, *shape: int) -> Tensor:
        """Standard normal float32 (local rows, *shape) on the training device."""

    def uniform(self, name: str, *shape: int) -> Tensor:
        """Uniform in [0, 1) float32 (local rows, *shape)."""

    def integers(self, name: str, high: int, *shape: int) -> Tensor:
        """int64 in [0, high) (local rows, *shape)."""


class GenerativeModel(nn.Module, ABC):
    """Base of every model. The constructor takes (config, layout), builds the networks with torch's global
    generator (the loop seeds it) and keeps no data."""

    Config: ClassVar[type[FrozenModel]]
    modalities: ClassVar[tuple[str, ...]]
    """table | image | text | audio"""
    reference: ClassVar[str]
    """Paper and equation."""
    encoding: ClassVar[str]
    """The file in `data/codecs/` whose codec makes its tensors: mixed | pixels | ..."""
    conditions: ClassVar[Literal["none", "label", "columns", "any"]]
    """What `sample` takes as a condition that every row then meets. label: a class. columns: one `category`
    span. any: any subset of spans."""
    completes: ClassVar[bool] = False
    """Whether rows of which any columns are known can be completed and judged: `complete`, `log_prob` and
    `probabilities`."""
    takes_ranges: ClassVar[bool] = False
    """Whether a condition may limit a span to some of its codes (`Condition.allowed`)."""
    most_fitted_rows: ClassVar[int | None] = None
    """Rows that `fit_closed` gets of a source that is larger than memory: a fair sample. None: all, some at a
    time."""
    copies_training_rows: ClassVar[bool] = False
    """True only for the `bootstrap` control; such an artifact says so and is refused by serving."""

    def __init__(self, config: Any, layout: Any) -> None:
        super().__init__()
        self.config = config
        self.layout = layout

    @property
    def latent_codes(self) -> tuple[Latent, ...]:
        """Latent codes that a condition can fix."""
        return ()

    @property
    def row_group(self) -> int:
        """Rows that must stay together (pac); batches and ranks get multiples of it."""
        return 1

    @property
    def needs_whole_batch(self) -> str | None:
        """What a pass in training takes from, or does once for, the whole batch, in words.

        None: every loss is a mean over rows, or groups of `row_group`, which parts of the batch add up to.
        """
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                return "BatchNorm"
            # Each pass in training moves its estimate of the largest singular value.
            if type(module).__name__ == "_SpectralNorm":
                return "spectral normalisation"
        return None

    @abstractmethod
    def stages(self) -> tuple[Stage, ...]:
        """The training plan; () = closed form, then `fit_closed` is called instead."""

    def fit_closed(self, batches: Iterable[Batch]) -> None:
        """Fit without gradients, reading the training rows once; results live in registered buffers."""
        raise NotImplementedError

    def begin(self, batches: Iterable[Batch]) -> None:
        """Set initial weights that follow from the training rows, such as biases, reading them once or not at
        all; called before the first step, on every rank with the same rows."""
        return

    def loss(self, phase: str, batch: Batch, *, rng: Rng, progress: float) -> dict[str, Tensor]:
        """The terms of one phase's objective, each unreduced, float (rows,) or (rows / row_group,).

        The loop takes each term's mean over the global batch and minimises their sum. Keys that start with
        `log_` are recorded but not minimised. `progress` in [0, 1] is the share of the stage that is done.
        """
        raise NotImplementedError

    def know_counts(self, counts: Sequence[Tensor]) -> None:
        """Take in how many training rows have each code of each category span, int64 (width,) each. Called
        once, before the first `finish`, where its batches are a sample of the rows."""
        return

    def finish(self, batches: Iterable[Batch], *, rng: Rng) -> None:
        """Refit what depends on the final (EMA) weights: BatchNorm statistics, the aggregate posterior.

        Called after training and before every quality check, so it must be cheap. `batches` may be iterated
        more than once; they are all training rows, or a fair sample where those are too many to read.
        """
        return

    def finish_steps(self, rows: int, batch_rows: int) -> float:
        """What a `finish` after the first costs in training steps of `batch_rows` rows, counted from `rows`
        training rows and the configuration: checks are spaced by it."""
        if type(self).finish is GenerativeModel.finish:
            return 0.0
        # A forward pass over rows, of which running statistics need some thousands at most.
        return 0.2 * min(rows, 20_000) / batch_rows

    def nats(self, batch: Batch) -> Tensor | None:
        """How improbable these rows are: minus their log likelihood over the number of their discrete parts.

        float32 (rows,); None where the model has no likelihood. Quality checks read it for validation rows,
        so that weights which learned training rows by heart are not published. Called in
        eval mode under `torch.inference_mode`.
        """
        return None

    def complete(
        self,
        codes_BS: Tensor,
        given_BS: Tensor,
        *,
        never: Mapping[int, int] | None = None,
        generator: torch.Generator,
    ) -> Batch:
        """Rows of int64 `codes_BS` whose codes at the bool `given_BS` stay as they are, and whose others are
        drawn given them; `never` names a code of a span that is not drawn. Only asked where `completes`."""
        raise NotImplementedError

    def log_prob(self, batch: Batch) -> Tensor:
        """log p of the rows' codes, float32 (rows,). Only asked where `completes`."""
        raise NotImplementedError

    def probabilities(self, span: int, batch: Batch, given_BS: Tensor) -> Tensor:
        """p(code of a span | the codes at `given_BS`, but its own), float32 (rows, codes). Only asked where
        `completes`."""
        raise NotImplementedError

    def takes(self, spans: Collection[int]) -> frozenset[int]:
        """Of the discrete spans that a condition is about, those that `sample` can be told together; rows are
        rejected for the others. Only asked where `conditions` is any."""
        return frozenset(spans)

    def interpolate(
        self, steps: int, *, condition: Condition | None, generator: torch.Generator
    ) -> Batch | None:
        """Rows along a walk between two random noises, to look at; None: rows are not made of one noise."""
        return None

    @abstractmethod
    def sample(self, num_rows: int, *, condition: Condition | None, generator: torch.Generator) -> Batch:
        """`num_rows` rows, drawn with `generator` (on the model's device) and nothing else random.

        `mixed` models return `codes` int64 (N, discrete) and `values` float32 (N, numeric); `pixels` models
        `pixels` float32 (N, C, H, W) in [-1, 1] and `label`. Called in eval mode under
        `torch.inference_mode`.
        """


def batch_of_table(rows: int) -> int:
    """Rows of a batch that a table of so many rows is learnt well in: a tenth, and at least 50."""
    return max(50, rows // 10)


def model_class(name: str) -> type[GenerativeModel]:
    """The model that file `models/<name>.py` defines; NotFoundError names `model.name`."""
    return registry.load("models", name, GenerativeModel, field="model.name")


EARLIER_NAMES = {
    "noise": "latent_dim",
    "latent": "latent_dim",
    "hidden": "hidden_dim",
    "most_channels": "max_channels",
    "beta_1": "adam_beta1",
    "r1": "r1_gamma",
    "penalty": "gradient_penalty",
    "critic_updates": "critic_steps",
    "mixing": "style_mixing",
    "path_length": "path_length_weight",
    "information": "information_weight",
    "continuous": "continuous_codes",
    "discriminator_rate": "discriminator_learning_rate",
    "generator_rate": "generator_learning_rate",
    "codes": "codebook_size",
    "code_width": "code_dim",
    "commitment": "commitment_weight",
    "usage": "usage_weight",
    "prior_width": "prior_dim",
}
"""Hyper-parameters' names in recipes and artifacts of earlier versions. One thing has one name in all models
now, except for CTGAN's and TVAE's own, which stay as their users know them."""


def parse_config(name: str, raw: Mapping[str, Any]) -> FrozenModel:
    """The `Config` of model `name`; earlier names of its fields are accepted.

    Raises:
        RecipeError: an unknown, wrong or doubly named field of `model.config`.
    """
    cls = model_class(name)
    fields = cls.Config.model_fields
    present: dict[str, Any] = {}
    for key, value in raw.items():
        # A model may have a field that is another's earlier name: its own fields go first.
        renamed = EARLIER_NAMES.get(key, key) if key not in fields else key
        known = renamed if renamed in fields else key
        if known in present:
            raise RecipeError(f"is given twice, as {key!r} too", field=f"model.config.{known}")
        present[known] = value
    return parse_model(cls.Config, present, prefix="model.config")


def build(name: str, config: Mapping[str, Any], layout: Layout) -> GenerativeModel:
    """A model with fresh weights; RecipeError names the wrong `model.config` key."""
    return model_class(name)(parse_config(name, config), layout)
