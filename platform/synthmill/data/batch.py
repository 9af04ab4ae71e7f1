"""The one thing that passes between data, models and the loop: a frozen mapping of named tensors with equal
row counts."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

KEYS = ("codes", "values", "pixels", "tokens", "label", "mask", "lengths", "condition", "noise")


class Batch(Mapping[str, Tensor]):
    """Named tensors whose first axis is the row.

    `codes` int64 (N, discrete spans) and `values` float32 (N, numeric spans) for tables, `pixels` uint8 or
    float (N, C, H, W), `tokens` int64 (N, T), `label` int64 (N,), `mask`, `lengths`, `condition`. `noise`
    int64 (N,) of generated rows decides what their codes leave open, and stays with them when others are
    filtered out.
    """

    __slots__ = ("_rows", "_tensors")

    def __init__(self, **tensors: Tensor) -> None:
        unknown = sorted(set(tensors) - set(KEYS))
        assert not unknown, f"unknown batch keys {unknown}"
        rows = {tensor.shape[0] for tensor in tensors.values()}
        assert len(rows) == 1, f"tensors of a batch differ in rows: {sorted(rows)}"
        self._tensors = dict(tensors)
        self._rows = rows.pop()

    def __getitem__(self, key: str) -> Tensor:
        return self._tensors[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    @property
    def num_rows(self) -> int:
        return self._rows

    def take(self, index: Tensor | slice) -> "Batch":
        """The rows at `index` (int64 (M,) on the tensors' device, or a slice), in that order."""
        if isinstance(index, slice):
            return Batch(**{key: tensor[index] for key, tensor in self._tensors.items()})
        return Batch(**{key: tensor.index_select(0, index) for key, tensor in self._tensors.items()})

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on a device."""
        return Batch(**{key: tensor.to(device) for key, tensor in self._tensors.items()})

    def with_(self, **tensors: Tensor) -> "Batch":
        """The same batch with tensors added or replaced."""
        return Batch(**{**self._tensors, **tensors})


def with_noise(batch: Batch, generator: torch.Generator) -> Batch:
    """Generated rows of a table with the noise that decoding draws from; other batches as they are."""
    if "codes" not in batch:
        return batch
    return batch.with_(
        noise=torch.randint(2**62, (batch.num_rows,), generator=generator, device=generator.device)
    )


def concat(batches: list[Batch]) -> Batch:
    """All rows of batches that have the same keys, in order."""
    return Batch(**{key: torch.cat([batch[key] for batch in batches]) for key in batches[0]})
