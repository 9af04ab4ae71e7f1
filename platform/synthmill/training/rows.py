"""Which training rows a step reads: epochs of permutations, or training-by-sampling (arXiv 1907.00503,
section 4.3).

Nothing here is done row by row in Python, and nothing is kept across steps but the permutation of the current
epoch.
"""

import torch

from synthmill.data.batch import Batch
from synthmill.data.layout import MixedLayout
from synthmill.training.rng import StepRng, generator


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
            draws = generator("cpu", self._seed, "epoch", epoch)
            self._order = torch.randperm(self._data.num_rows, generator=draws).to(self._device)
            self._epoch = epoch
        start = position * self._batch_rows
        return self._data.take(self._order[start + local.start : start + local.stop])


class ByCategory:
    """Training-by-sampling: a `category` span uniformly, one of its codes by log(1 + rows), a row that has it
    uniformly."""

    def __init__(self, data: Batch, layout: MixedLayout) -> None:
        spans = [index for index, span in enumerate(layout.discrete) if span.role == "category"]
        assert spans, "training-by-sampling needs a category span"
        self._data = data
        codes_NS = data["codes"][:, spans]
        self._rows = codes_NS.T.contiguous().argsort(dim=1, stable=True).flatten()
        """Of each span in turn, the rows in order of their codes."""
        counts = [
            torch.bincount(codes_NS[:, i], minlength=layout.discrete[span].width)
            for i, span in enumerate(spans)
        ]
        weights = [count.double().log1p() / count.double().log1p().sum() / len(spans) for count in counts]
        self._cumulative_F = torch.cat(weights).cumsum(0)
        """Over all codes of all category spans, one after the other."""
        self._count_F = torch.cat(counts)
        self._start_F = torch.cat(
            [count.cumsum(0) - count + i * data.num_rows for i, count in enumerate(counts)]
        )
        """Where the rows of a code begin in the `_rows`."""
        device = codes_NS.device
        self._span_F = torch.cat(
            [torch.full((len(count),), span) for span, count in zip(spans, counts, strict=True)]
        ).to(device)
        self._code_F = torch.cat([torch.arange(len(count)) for count in counts]).to(device)

    def batch(self, rng: StepRng, *, with_rows: bool = True) -> Batch:
        """Local rows with their `condition` int64 (rows, 2); the condition alone without `with_rows`."""
        uniform_B2 = rng.uniform("category-rows", 2).double()
        flat_B = torch.searchsorted(
            self._cumulative_F, uniform_B2[:, 0].contiguous() * self._cumulative_F[-1], right=True
        )
        flat_B = flat_B.clamp_max(len(self._cumulative_F) - 1)
        condition_B2 = torch.stack([self._span_F[flat_B], self._code_F[flat_B]], 1)
        if not with_rows:
            return Batch(condition=condition_B2)
        within_B = (uniform_B2[:, 1] * self._count_F[flat_B]).long()
        rows_B = self._rows[self._start_F[flat_B] + within_B]
        return self._data.take(rows_B).with_(condition=condition_B2)


def chunks(data: Batch, batch_rows: int) -> list[Batch]:
    """The data in order, `batch_rows` at a time; the last may be shorter."""
    return [data.take(slice(start, start + batch_rows)) for start in range(0, data.num_rows, batch_rows)]
