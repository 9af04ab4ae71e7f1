"""Training rows that lie on disk: the same readings as of those in memory (`rows.py`), without ever holding
more of them than a window of blocks.

Epochs permute blocks of 4,096 rows, and mix the rows of 256 blocks at a time: what a step reads follows from
(seed, epoch) alone, whatever the number of workers, and reading stays sequential enough for any disk. A batch
of a source that is sorted has rows of 256 places of it.
"""

from collections.abc import Iterator

import numpy as np
import torch

from synthmill.data.batch import Batch
from synthmill.data.columns import Int64
from synthmill.data.layout import MixedLayout
from synthmill.data.records import Bytes
from synthmill.data.shards import BLOCK_ROWS, EncodedRows
from synthmill.training.rng import StepRng, generator
from synthmill.training.rows import CategoryDraws, chunks

WINDOW_BLOCKS = 256
FINISH_ROWS = 16_384
"""Rows that statistics of the published weights are refitted on."""


class Sharded:
    """Encoded rows on disk, read to a device."""

    def __init__(
        self, data: EncodedRows, device: torch.device, *, window_blocks: int = WINDOW_BLOCKS
    ) -> None:
        self._data, self._device, self._window_blocks = data, device, window_blocks
        self.num_rows = data.num_rows
        self._for_finish: list[Batch] = []

    def shuffled(self, batch_rows: int, seed: int) -> "BlockShuffled":
        return BlockShuffled(self._data, batch_rows, seed, self._device, self._window_blocks)

    def by_category(self, layout: MixedLayout) -> "IndexedByCategory":
        return IndexedByCategory(self._data, self._device)

    def for_finish(self, batch_rows: int, seed: int) -> list[Batch]:
        """16,384 rows; all where there are fewer."""
        # Kept: every check asks for the same rows.
        if not self._for_finish:
            self._for_finish = chunks(self._sample(FINISH_ROWS, seed, "finish-rows"), batch_rows)
        return self._for_finish

    def counts(self) -> list[torch.Tensor] | None:
        """Rows of each code of each category span, all rows counted."""
        return _by_span(self._data)

    def batches(self) -> Iterator[Batch]:
        """All rows once, in order."""
        return (batch.to(self._device) for batch in self._data.batches())

    def fitted(self, most_rows: int | None, seed: int) -> Iterator[Batch]:
        if most_rows is None or self.num_rows <= most_rows:
            return self.batches()
        return iter([self._sample(most_rows, seed, "fitted-rows")])

    def _sample(self, most_rows: int, seed: int, name: str) -> Batch:
        """One row, drawn by the seed, of each of so many stretches of equal length; all rows where there are
        fewer."""
        rows, count = self.num_rows, min(self.num_rows, most_rows)
        draws = torch.rand(count, generator=generator("cpu", seed, name), dtype=torch.float64)
        picked = ((torch.arange(count) + draws) * (rows / count)).long().clamp_max(rows - 1)
        return self._data.take(picked).to(self._device)


class BlockShuffled:
    """Epochs of permuted blocks drawn by (seed, epoch); a batch that an epoch can't fill is left out."""

    def __init__(
        self, data: EncodedRows, batch_rows: int, seed: int, device: torch.device, window_blocks: int
    ) -> None:
        self._data, self._batch_rows, self._seed, self._device = data, batch_rows, seed, device
        self._window_blocks = window_blocks
        self._epoch = -1
        self._blocks: Int64 = np.zeros(0, np.int64)
        self._starts: Int64 = np.zeros(0, np.int64)
        self._window: tuple[int, int, Bytes] | None = None
        """(epoch, number, records in the order in which steps read them)."""

    @property
    def per_epoch(self) -> int:
        """Batches in an epoch."""
        return self._data.num_rows // self._batch_rows

    def batch(self, number: int, local: slice) -> Batch:
        """The local rows of the run's batch `number` (0, 1, ...)."""
        epoch, position = divmod(number, self.per_epoch)
        if epoch != self._epoch:
            self._begin(epoch)
        start = position * self._batch_rows
        at, last = start + local.start, start + local.stop
        parts = []
        # A batch may end in the next window; with few rows a window, in one after that.
        while at < last:
            window = int(np.searchsorted(self._starts, at, side="right")) - 1
            within = at - int(self._starts[window])
            records = self._records(window)[within : within + last - at]
            parts.append(records)
            at += len(records)
        joined = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return self._data.record.read(joined).to(self._device)

    def _begin(self, epoch: int) -> None:
        """The order of the blocks of an epoch, and where its windows begin."""
        rows = self._data.num_rows
        count = -(-rows // BLOCK_ROWS)
        self._blocks = torch.randperm(count, generator=generator("cpu", self._seed, "blocks", epoch)).numpy()
        sizes = np.minimum(rows - self._blocks * BLOCK_ROWS, BLOCK_ROWS)
        self._starts = (np.cumsum(sizes) - sizes)[:: self._window_blocks]
        self._epoch = epoch

    def _records(self, window: int) -> Bytes:
        """The records of one window, in the order of the epoch."""
        if self._window is None or self._window[:2] != (self._epoch, window):
            # Forgotten first: two windows at once would be twice the memory.
            self._window = None
            blocks = self._blocks[window * self._window_blocks : (window + 1) * self._window_blocks]
            firsts = (blocks * BLOCK_ROWS).tolist()
            records = np.concatenate(
                [self._data.records(first, min(first + BLOCK_ROWS, self._data.num_rows)) for first in firsts]
            )
            draws = generator("cpu", self._seed, "window", self._epoch, window)
            order = torch.randperm(len(records), generator=draws).numpy()
            self._window = (self._epoch, window, np.take(records, order, axis=0))
        return self._window[2]


class IndexedByCategory:
    """Training-by-sampling with the index that lies beside each part; draws the same rows as `ByCategory`."""

    def __init__(self, data: EncodedRows, device: torch.device) -> None:
        self._data, self._device = data, device
        self._draws = CategoryDraws(list(data.record.spans), _by_span(data), device)

    def batch(self, rng: StepRng, *, with_rows: bool = True) -> Batch:
        """Local rows with their `condition` int64 (rows, 2); the condition alone without `with_rows`."""
        flat_B, condition_B2, within_B = self._draws.draw(rng)
        if not with_rows:
            return Batch(condition=condition_B2)
        rows = self._data.having(flat_B.cpu().numpy(), within_B.cpu().numpy())
        batch = self._data.take(torch.from_numpy(rows)).to(self._device)
        return batch.with_(condition=condition_B2)


def _by_span(data: EncodedRows) -> list[torch.Tensor]:
    """Rows of each code of each category span, int64 (width,) each."""
    return list(torch.split(torch.from_numpy(data.counts_PF.sum(0)), list(data.record.widths)))
