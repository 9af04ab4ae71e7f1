"""What passes between data, models and the loop: a frozen mapping of named tensors with equal row counts, and
the condition that sampled rows must meet."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

KEYS = (
    "codes",
    "values",
    "pixels",
    "tokens",
    "label",
    "mask",
    "lengths",
    "condition",
    "noise",
    "position",
    "memory",
)


class Batch(Mapping[str, Tensor]):
    """Named tensors whose first axis is the row.

    `codes` int64 (N, discrete spans) and `values` float32 (N, numeric spans) for tables, `pixels` uint8 or
    float (N, C, H, W), `tokens` int64 (N, T), `label` int64 (N,), `mask`, `lengths`, `condition`. `noise`
    int64 (N,) of generated rows decides what their codes leave open, and stays with them when others are
    filtered out. `position` int64 (N,) of generated sequences: how many rows of the same one come before,
    and `memory` int64 (N, sums and counts) what they come to.
    Rows of several kinds of data have a part for each: `image.pixels`, `text.tokens`.
    """

    __slots__ = ("_rows", "_tensors")

    def __init__(self, **tensors: Tensor) -> None:
        unknown = sorted(key for key in tensors if key.rpartition(".")[2] not in KEYS)
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

    def part(self, name: str) -> "Batch":
        """The tensors of one kind of data, without the kind in their names."""
        found = {
            key.removeprefix(f"{name}."): tensor
            for key, tensor in self._tensors.items()
            if key.startswith(f"{name}.")
        }
        return Batch(**found)

    def with_(self, **tensors: Tensor) -> "Batch":
        """The same batch with tensors added or replaced."""
        return Batch(**{**self._tensors, **tensors})


def join(parts: Mapping[str, Batch]) -> Batch:
    """One batch of rows that have several kinds of data; `Batch.part` gives each back."""
    named = ((f"{name}.{key}", tensor) for name, part in parts.items() for key, tensor in part.items())
    return Batch(**dict(named))


def with_noise(batch: Batch, generator: torch.Generator) -> Batch:
    """Generated rows with the noise that decoding draws from."""
    return batch.with_(
        noise=torch.randint(2**62, (batch.num_rows,), generator=generator, device=generator.device)
    )


def concat(batches: list[Batch]) -> Batch:
    """All rows of batches that have the same keys, in order."""
    return Batch(**{key: torch.cat([batch[key] for batch in batches]) for key in batches[0]})


@dataclass(frozen=True)
class Allowed:
    """Which codes a span may have, and where inside them a number may lie."""

    weight: Tensor
    """float64 (codes,): the share of each code's rows that is allowed; 0: none."""
    low: Tensor
    high: Tensor
    """float32 (codes,): the first and the last place that is allowed inside each bin, in [-1, 1]."""


@dataclass(frozen=True)
class Condition:
    """What every sampled row must have, in encoded form."""

    codes: Mapping[int, int] = field(default_factory=dict)
    """discrete span index -> code, for tables."""
    allowed: Mapping[int, Allowed] = field(default_factory=dict)
    """discrete span index -> which of its codes, for tables; a span is here or in `codes`."""
    label: int | None = None
    """class label, for images."""
    latent: Mapping[str, float] = field(default_factory=dict)
    """Named latent codes to fix, for models that have some (`latent_codes`)."""
    parts: Mapping[str, "Condition"] = field(default_factory=dict)
    """For rows of several kinds of data: the condition of each kind."""

    def merge(self, other: "Condition") -> "Condition":
        """Both conditions at once; where they differ, `other` counts."""
        return Condition(
            codes={**self.codes, **other.codes},
            allowed={**self.allowed, **other.allowed},
            label=self.label if other.label is None else other.label,
            latent={**self.latent, **other.latent},
            parts={**self.parts, **other.parts},
        )
