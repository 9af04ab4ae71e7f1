"""Which training rows a step reads: epochs of permutations, or training-by-sampling (arXiv 1907.00503,
section 4.3).

Nothing here is done row by row in Python, and only the permutation of the current epoch stays across steps.
"""

from collections.abc import Iterable, Iterator
from typing import Protocol

import torch
from torch import Tensor

from synthmill.data.batch import Batch
from synthmill.data.layout import MixedLayout
from synthmill.training.rng import StepRng, generator


class Shuffle(Protocol):
    """Epochs of batches."""

    def batch(self, number: int, local: slice) -> Batch:
        """The local rows of the run's batch `number` (0, 1, ...)."""


class CategoryRows(Protocol):
    """Training-by-sampling."""

    def batch(self, rng: StepRng, *, with_rows: bool = True) -> Batch:
        """Local rows with their `condition` int64 (rows, 2); the condition alone without `with_rows`."""


class TrainingRows(Protocol):
    """All training rows, encoded, wherever they lie; every rank has the same."""

    num_rows: int

    def shuffled(self, batch_rows: int, seed: int) -> Shuffle:
        """Batches of `batch_rows` rows, epoch by epoch."""

    def by_category(self, layout: MixedLayout) -> CategoryRows:
        """Rows drawn by their codes; the layout has a category span."""

    def for_finish(self, batch_rows: int, seed: int) -> list[Batch]:
        """What the published weights are refitted on, `batch_rows` at a time: all rows, or a fair sample."""

    def counts(self) -> list[Tensor] | None:
        """Rows of each code of each category span, where `for_finish` does not give all rows."""

    def batches(self) -> Iterable[Batch]:
        """All rows once, some at a time."""

    def fitted(self, most_rows: int | None, seed: int) -> Iterable[Batch]:
        """What a model in closed form reads: all rows, or where they are on disk a fair sample of so many."""


class InMemory:
    """Rows that lie whole on the device that trains."""

    def __init__(self, data: Batch, device: torch.device) -> None:
        self._data = data.to(device)
        self._device = device
        self.num_rows = data.num_rows

    def shuffled(self, batch_rows: int, seed: int) -> "Shuffled":
        return Shuffled(self._data, batch_rows, seed, self._device)

    def by_category(self, layout: MixedLayout) -> "ByCategory":
        return ByCategory(self._data, layout)

    def for_finish(self, batch_rows: int, seed: int) -> list[Batch]:
        return chunks(self._data, batch_rows)

    def counts(self) -> list[Tensor] | None:
        return None

    def batches(self) -> Iterator[Batch]:
        yield self._data

    def fitted(self, most_rows: int | None, seed: int) -> Iterator[Batch]:
        return self.batches()


class Shuffled:
    """Epochs of permutations drawn by (seed, epoch); a batch that an epoch can't fill is left out."""

    def __init__(self, data: Batch, batch_rows: int, seed: int, device: torch.device) -> None:
        self._data = data
        self._batch_rows = batch_rows
        self._seed = seed
        self._device = device
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.int64)

    @property
    def per_epoch(self) -> int:
        """Batches in an epoch."""
        return self._data.num_rows // self._batch_rows

    def batch(self, number: int, local: slice) -> Batch:
        """The local rows of the run's batch `number` (0, 1, ...)."""
        epoch, position = divmod(number, self.per_epoch)
        if epoch != self._epoch:
            # On the CPU whatever the device: CPUs and GPUs permute differently.
            draws = generator("cpu", self._seed, "epoch", epoch)
            self._order = torch.randperm(self._data.num_rows, generator=draws).to(self._device)
            self._epoch = epoch
        start = position * self._batch_rows
        return self._data.take(self._order[start + local.start : start + local.stop])


class CategoryDraws:
    """Which codes training-by-sampling draws, and which of the rows that have them: a `category` span
    uniformly, one of its codes by log(1 + rows), a row that has it uniformly."""

    def __init__(self, spans: list[int], counts: list[Tensor], device: torch.device) -> None:
        """`counts`: rows of each code of each of the category `spans`, int64."""
        assert spans, "training-by-sampling needs a category span"
        weights = [count.double().log1p() / count.double().log1p().sum() / len(spans) for count in counts]
        self._cumulative_F = torch.cat(weights).cumsum(0).to(device)
        """Over all codes of all category spans, one after the other."""
        self._count_F = torch.cat(counts).to(device)
        self._span_F = torch.cat(
            [torch.full((len(count),), span) for span, count in zip(spans, counts, strict=True)]
        ).to(device)
        self._code_F = torch.cat([torch.arange(len(count)) for count in counts]).to(device)

    def draw(self, rng: StepRng) -> tuple[Tensor, Tensor, Tensor]:
        """Of each local row: its code among all (B,), its condition (B, 2), and the number of the row among
        those that have the code (B,)."""
        # In double, as the cumulative weights are.
        uniform_B2 = rng.uniform("category-rows", 2).double()
        flat_B = torch.searchsorted(
            self._cumulative_F, uniform_B2[:, 0].contiguous() * self._cumulative_F[-1], right=True
        )
        # Rounding may carry a draw past the last code.
        flat_B = flat_B.clamp_max(len(self._cumulative_F) - 1)
        condition_B2 = torch.stack([self._span_F[flat_B], self._code_F[flat_B]], 1)
        return flat_B, condition_B2, (uniform_B2[:, 1] * self._count_F[flat_B]).long()


class ByCategory:
    """Training-by-sampling of rows in memory."""

    def __init__(self, data: Batch, layout: MixedLayout) -> None:
        spans = [index for index, span in enumerate(layout.discrete) if span.role == "category"]
        self._data = data
        codes_NS = data["codes"][:, spans]
        self._rows = codes_NS.T.contiguous().argsort(dim=1, stable=True).flatten()
        """Of each span in turn, the rows in order of their codes."""
        counts = [
            torch.bincount(codes_NS[:, i], minlength=layout.discrete[span].width)
            for i, span in enumerate(spans)
        ]
        self._draws = CategoryDraws(spans, counts, codes_NS.device)
        self._start_F = torch.cat(
            [count.cumsum(0) - count + i * data.num_rows for i, count in enumerate(counts)]
        )
        """Where the rows of a code begin in the `_rows`."""

    def batch(self, rng: StepRng, *, with_rows: bool = True) -> Batch:
        """Local rows with their `condition` int64 (rows, 2); the condition alone without `with_rows`."""
        flat_B, condition_B2, within_B = self._draws.draw(rng)
        if not with_rows:
            return Batch(condition=condition_B2)
        rows_B = self._rows[self._start_F[flat_B] + within_B]
        return self._data.take(rows_B).with_(condition=condition_B2)


def chunks(data: Batch, batch_rows: int) -> list[Batch]:
    """The data in order, `batch_rows` at a time; the last may be shorter."""
    return [data.take(slice(start, start + batch_rows)) for start in range(0, data.num_rows, batch_rows)]
