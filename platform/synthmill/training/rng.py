"""Random numbers for the *global* batch, keyed by (seed, step, phase, repeat, name), of which each rank takes
its rows.

So N workers compute what one does, a resumed run draws the same noise, and no state has to be saved.
"""

import hashlib
from collections.abc import Hashable

import torch
from torch import Tensor


def key(*parts: Hashable) -> int:
    """A 63-bit seed from any printable parts."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(device: torch.device | str, *parts: Hashable) -> torch.Generator:
    """A generator on `device` seeded by `key(parts)`."""
    return torch.Generator(device).manual_seed(key(*parts))


class StepRng:
    """The `Rng` of `models/base.py`; `at` moves it to another place in the run."""

    def __init__(self, device: torch.device, seed: int, global_rows: int, local: slice) -> None:
        self._generator = torch.Generator(device)
        self._seed = seed
        self._rows = global_rows
        self._local = local
        self._place: tuple[Hashable, ...] = ()

    def at(self, *place: Hashable) -> "StepRng":
        """Draw for this (step, phase, repeat) from now on."""
        self._place = place
        return self

    def normal(self, name: str, *shape: int) -> Tensor:
        # All rows of the global batch, and then a slice: the numbers of a row don't depend on who draws it.
        generator = self._keyed(name)
        return torch.randn(self._rows, *shape, generator=generator, device=generator.device)[self._local]

    def uniform(self, name: str, *shape: int) -> Tensor:
        generator = self._keyed(name)
        return torch.rand(self._rows, *shape, generator=generator, device=generator.device)[self._local]

    def integers(self, name: str, high: int, *shape: int) -> Tensor:
        generator = self._keyed(name)
        numbers = torch.randint(high, (self._rows, *shape), generator=generator, device=generator.device)
        return numbers[self._local]

    def _keyed(self, name: str) -> torch.Generator:
        return self._generator.manual_seed(key(self._seed, *self._place, name))
