"""Where rows are sampled: the one place that draws blocks, passes a condition to the model and rejects what
does not satisfy it. Shards of a job, streams, requests to a server and quality checks are thin callers.

A row computed alone differs in its last bits from the same row in a larger batch, and an argmax can flip. So
seeded rows are always computed in whole blocks of 1,024, each its own forward pass at exactly that shape with
random numbers keyed by (seed, *path, block), and a request for fewer rows slices. What is written is then the
same whatever the number of workers, retries or the size of the request.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import numpy as np
import torch

from synthmill.data.batch import Batch, Condition, concat, with_noise
from synthmill.data.codecs.base import Codec
from synthmill.data.columns import Bool
from synthmill.errors import TooRareError
from synthmill.generation.clauses import FIELD
from synthmill.generation.condition import Where
from synthmill.generation.rejection import Once, kept_rows, rejects, subject
from synthmill.models.base import GenerativeModel

BLOCK_ROWS = 1024
SAMPLING = 3
"""Raised whenever the same model and seed come to give other rows; part of the compute class. 2: faster draws
of codes and latents; 3: rare categories are drawn for each row, not for each combination of codes."""
MOST_BLOCKS = 64
"""Blocks drawn before their rows are passed on; bounds memory, and does not change a row."""
LEAST_TRIES = 256 * BLOCK_ROWS
"""Rows generated at least before a condition is given up, however few rows are requested."""
TRIES_PER_ROW = 1000
"""Rows generated for each requested one before a condition is given up."""


class Sampler:
    """A model and the codec that its rows are decoded by."""

    def __init__(self, model: GenerativeModel, codec: Codec) -> None:
        self.model = model
        self.codec = codec
        self.generated = 0
        """Rows drawn so far by `seeded`, those that were rejected among them."""

    def draw(self, rows: int, *, generator: torch.Generator, condition: Condition | None = None) -> Batch:
        """One forward pass of `rows` rows, in packed form on the CPU; `generator` is on the model's
        device."""
        with torch.inference_mode():
            return self.codec.pack(draw_rows(self.model, rows, generator, condition)).to("cpu")

    def draw_fresh(self, rows: int, *, condition: Condition | None = None, once: Once | None = None) -> Batch:
        """Rows that can't be reproduced: their seed is the operating system's. `once`: what their unique
        columns may not hold; None: they are compared with each other.

        Raises:
            TooRareError: hardly a row meets the constraints.
        """
        generator = torch.Generator(device=device_of(self.model))
        generator.seed()
        first = self.draw(rows, generator=generator, condition=condition)
        if not rejects(self.codec):
            return first
        once, kept, accepted, tried = once or Once(self.codec), [], 0, 0
        while True:
            batch = first if not tried else self.draw(rows, generator=generator, condition=condition)
            tried += rows
            batch = self._kept(batch, once, np.ones(rows, dtype=bool)).take(slice(0, rows - accepted))
            kept.append(batch)
            accepted += batch.num_rows
            if accepted == rows:
                return concat(kept)
            if tried >= LEAST_TRIES + TRIES_PER_ROW * accepted:
                raise self._too_rare("", accepted, tried, rows, FIELD)

    def block(self, seed: int, path: tuple[int, ...], condition: Condition | None = None) -> Batch:
        """The `BLOCK_ROWS` rows of one block."""
        generator = torch.Generator(device=device_of(self.model)).manual_seed(block_seed(seed, *path))
        return self.draw(BLOCK_ROWS, generator=generator, condition=condition)

    def interpolate(self, steps: int, *, seed: int, condition: Condition | None) -> Batch | None:
        """Rows along a walk between two noises, packed; None where the model has no such walk."""
        label = condition.label if condition is not None else None
        generator = torch.Generator(device=device_of(self.model)).manual_seed(block_seed(seed, label or 0))
        with torch.inference_mode():
            rows = self.model.interpolate(steps, condition=condition, generator=generator)
        return None if rows is None else self.codec.pack(rows).to("cpu")

    def seeded(
        self,
        rows: int,
        *,
        seed: int,
        path: tuple[int, ...],
        where: Where | None = None,
        latent: Condition | None = None,
        tries_per_row: int = TRIES_PER_ROW,
        most_blocks: int = MOST_BLOCKS,
        field: str = FIELD,
        once: Once | None = None,
        shards: int = 1,
    ) -> Iterator[Batch]:
        """The first `rows` rows of the blocks (seed, *path, 0), (.., 1), ... that satisfy `where`, in order
        and in batches of at most `most_blocks` blocks; a batch is empty where no row of its blocks did.

        The model gets as much of the condition as it takes, together with `latent`; rows that do not satisfy
        the rest, or constraints that are not met by construction, are rejected. Where the batches are cut
        changes no row. `once` knows the unique columns of the rows before, of one of so many `shards`.

        Raises:
            TooRareError: `tries_per_row` rows were generated for each requested one; names `field`, and
            states the share of generated rows that satisfied the condition.
        """
        where = where or Where()
        condition, residual = where.split(self.codec, self.model)
        if latent is not None:
            condition = (condition or Condition()).merge(latent)
        limit = max(LEAST_TRIES, rows * tries_per_row)
        accepted = generated = block = found = 0
        if once is None and self.codec.unique:
            once = Once(self.codec)
        while accepted < rows:
            # Values that are all taken are not there to be waited for, however many rows are missing.
            used_up = bool(self.codec.unique) and generated - found >= LEAST_TRIES * shards
            if generated >= limit * shards or used_up:
                raise self._too_rare(str(where), accepted, generated, rows, field)
            size = _next_blocks(
                rows - accepted,
                accepted,
                generated,
                min(most_blocks, max(1, -(-(limit - generated) // BLOCK_ROWS))),
            )
            batch = concat([self.block(seed, (*path, block + i), condition) for i in range(size)])
            block, generated = block + size, generated + batch.num_rows
            self.generated += batch.num_rows
            if residual.clauses or rejects(self.codec):
                batch = self._kept(batch, once, None, residual)
            # Whole blocks were generated, whatever was missing.
            batch = batch.take(slice(0, rows - accepted))
            accepted += batch.num_rows
            found = generated if batch.num_rows else found
            yield batch

    def _kept(
        self, batch: Batch, once: Once | None, may: Bool | None, residual: Where | None = None
    ) -> Batch:
        """The rows of whole blocks that satisfy a condition and meet the constraints."""
        table = self.codec.condition_table(batch)
        may = residual.mask(table) if residual is not None else may
        assert may is not None, "rows may be kept, or are held against a condition"
        mask = kept_rows(self.codec, table, once, may, BLOCK_ROWS)
        return batch.take(torch.from_numpy(np.flatnonzero(mask)))

    def _too_rare(self, where: str, accepted: int, generated: int, rows: int, field: str) -> TooRareError:
        fix = "relax the condition, or train on more rows that satisfy it"
        if rejects(self.codec):
            fix = "ask for fewer rows, relax it, or train on more rows that satisfy it"
        return TooRareError(
            f"{subject(self.codec, where)}: only {accepted:,} of {generated:,} generated rows satisfied it"
            f" ({accepted / generated:.4%}) where {rows:,} were requested; {fix}",
            field=field,
        )


def draw_rows(
    model: GenerativeModel, rows: int, generator: torch.Generator, condition: Condition | None = None
) -> Batch:
    """Rows as the model gives them, on its device, with the noise that decoding draws from."""
    return with_noise(model.sample(rows, condition=condition, generator=generator), generator)


def device_of(model: GenerativeModel) -> torch.device:
    """Where its weights are."""
    return next((tensor.device for tensor in chain(model.parameters(), model.buffers())), torch.device("cpu"))


def block_seed(seed: int, *path: int) -> int:
    """A 63-bit seed that depends on every number of (seed, *path) and on their order."""
    text = ",".join(str(part) for part in (seed, *path))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch computes with one thread inside: the shape of the work, and so its last bits, don't depend on the
    machine's load."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _next_blocks(missing: int, accepted: int, generated: int, most: int) -> int:
    """Blocks that will hold the missing rows at the rate of acceptance so far, at most `most`."""
    # Half a row stands for none accepted yet: the rate is then small, but no division by zero.
    rate = max(accepted, 0.5) / generated if generated else 1.0
    return max(1, min(most, int(-(-missing // (rate * BLOCK_ROWS)))))
