"""What every quality check does: score a model while it trains. One file a kind of data, found by its
name."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import NamedTuple, Self

import pyarrow as pa

from synthmill import registry
from synthmill.data.batch import Batch
from synthmill.data.codecs.base import Codec
from synthmill.generation.sampler import BLOCK_ROWS, device_of, draw_rows
from synthmill.models.base import GenerativeModel
from synthmill.training.rng import generator

FOLDER = "training/quality"


class Cost(NamedTuple):
    """What a check costs, counted and not timed, so that it is the same on every machine."""

    steps: float
    """Training steps, whatever the batch."""
    rows: float
    """Rows of a batch, which a step of training takes as long for."""

    def in_steps(self, batch_rows: int) -> float:
        """Steps of so many rows."""
        return self.steps + self.rows / batch_rows


class QualityCheck(ABC):
    """Compares what a model generates with validation rows; is made once a run and called at every check."""

    rows: int
    """Rows it samples at a check."""
    preview: bytes | None = None
    """A PNG of what the last check sampled, where a person can see that."""

    @property
    def cost(self) -> Cost:
        """Of sampling, decoding and scoring."""
        return Cost(10.0, self.rows)

    @classmethod
    @abstractmethod
    def of(
        cls, codec: Codec, train: pa.Table, validation: pa.Table, encoded: Batch, *, seed: int
    ) -> Self | None:
        """The check of a run on `train`, whose encoded form is `encoded`; None when there is too little to
        compare with."""

    @abstractmethod
    def __call__(self, model: GenerativeModel) -> dict[str, float]:
        """`score` (higher is better), its standard error `noise`, and what else is worth recording:
        `selection`, what a run's checks are compared by, if that is not the score. Called in eval mode under
        `torch.inference_mode`.

        Raises:
            TrainingError: the model generates what is no data.
        """


class Elsewhere:
    """The check of a run as ranks above 0 know it: rank 0 has it, and says what it costs."""

    preview: bytes | None = None

    def __init__(self, cost: Cost) -> None:
        self.cost = cost

    def __call__(self, model: GenerativeModel) -> dict[str, float]:
        raise AssertionError("rank 0 checks")


def quality_check(
    kind: str, codec: Codec, train: pa.Table, validation: pa.Table, encoded: Batch, *, seed: int
) -> QualityCheck | None:
    """The check of a kind of data, `training/quality/<kind>.py`; None when there is nothing to compare."""
    check = registry.load(FOLDER, kind, QualityCheck, field="data.kind")
    return check.of(codec, train, validation, encoded, seed=seed)


def sample_blocks(model: GenerativeModel, num_rows: int, seed: int) -> Iterator[Batch]:
    """`num_rows` unconditional rows, block by block on the CPU; keyed by (seed, block), so that checks of one
    run differ by the weights alone. One block at a time: a wide table's fill gigabytes."""
    device = device_of(model)
    for first in range(0, num_rows, BLOCK_ROWS):
        draws = generator(device, seed, "quality", first // BLOCK_ROWS)
        yield draw_rows(model, BLOCK_ROWS, draws).take(slice(0, num_rows - first)).to("cpu")
