"""What a model is: networks, a loss per phase and a way to sample. It sees no file, cluster, optimizer or
rank."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from synthmill import registry
from synthmill.config import FrozenModel, parse_model
from synthmill.data.batch import Batch, Condition
from synthmill.data.layout import Layout


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
    """An earlier phase of the stage with the same modules whose Adam moments this one shares. With moments of
    its own, a penalty's weight would have no effect: Adam divides it out (lazy regularisation, arXiv
    1912.04958, section 3.1)."""
    reads_real_data: bool = True
    """Whether the loss reads the batch (differential privacy needs to know)."""
    reads_progress: bool = False
    """Whether the loss changes with `progress`; a CUDA graph replays one number for ever."""
    second_order: bool = False
    """Whether the loss holds a gradient (a penalty), so that its own takes gradients of gradients; compiled
    code can't be."""
    sampling: Literal["shuffle", "category"] = "shuffle"
    """How its rows are drawn. shuffle: epochs of permutations. category: training-by-sampling (arXiv
    1907.00503, 4.3): a `category` span uniformly, one of its codes by log-frequency, a row that has it; the
    batch then carries
    `condition` int64 (N, 2): (discrete span index, code)."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A share of the steps with its own phases; vq_vae has two (codes, then prior). Run in order."""

    name: str
    share: float
    phases: tuple[Phase, ...]


@dataclass(frozen=True)
class Latent:
    """A named latent code that a condition can fix."""

    name: str
    low: float
    high: float
    """Values beyond these bounds are refused."""
    integer: bool = False


class Rng(Protocol):
    """Random numbers drawn for the *global* batch by (seed, step, phase, name); each rank gets its own
    rows."""

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
    """What `sample` can be given, and then every row has. label: a class. columns: one `category` span. any:
    any subset of spans."""
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

    @abstractmethod
    def stages(self) -> tuple[Stage, ...]:
        """The training plan; () = closed form, then `fit_closed` is called instead."""

    def fit_closed(self, batches: Iterable[Batch]) -> None:
        """Fit without gradients, reading the training rows once; results live in registered buffers."""
        raise NotImplementedError

    def loss(self, phase: str, batch: Batch, *, rng: Rng, progress: float) -> dict[str, Tensor]:
        """The terms of one phase's objective, each unreduced, float (rows,) or (rows / row_group,).

        The loop takes each term's mean over the global batch and minimises their sum. Keys that start with
        `log_` are recorded but not minimised. `progress` in [0, 1] is the share of the stage that is done.
        """
        raise NotImplementedError

    def finish(self, batches: Iterable[Batch], *, rng: Rng) -> None:
        """After training, with the weights that will be published (EMA): refit what depends on them
        (BatchNorm statistics, the aggregate posterior). `batches` may be iterated more than once. Called
        before every quality check as well, so it must be cheap."""
        return

    def nats(self, batch: Batch) -> Tensor | None:
        """How improbable rows of training data are: minus their log likelihood over the number of their
        discrete parts, float32 (rows,); None where the model has no likelihood. The check of images asks for
        validation rows, so that weights which learned the training rows by heart are not published. Called in
        eval mode under `torch.inference_mode`."""
        return None

    def interpolate(
        self, steps: int, *, condition: Condition | None, generator: torch.Generator
    ) -> Batch | None:
        """Rows along a walk between two random noises, for people to look at; None where a model's rows are
        not made of one noise vector."""
        return None

    @abstractmethod
    def sample(self, num_rows: int, *, condition: Condition | None, generator: torch.Generator) -> Batch:
        """`num_rows` rows, drawn with `generator` (on the model's device) and nothing else random.

        `mixed` models return `codes` int64 (N, discrete) and `values` float32 (N, numeric); `pixels` models
        `pixels` float32 (N, C, H, W) in [-1, 1] and `label`. Called in eval mode under
        `torch.inference_mode`.
        """


def model_class(name: str) -> type[GenerativeModel]:
    """The model that file `models/<name>.py` defines; NotFoundError names `model.name`."""
    return registry.load("models", name, GenerativeModel, field="model.name")


def build(name: str, config: Mapping[str, Any], layout: Layout) -> GenerativeModel:
    """A model with fresh weights; RecipeError names the wrong `model.config` key."""
    cls = model_class(name)
    return cls(parse_model(cls.Config, dict(config), prefix="model.config"), layout)
