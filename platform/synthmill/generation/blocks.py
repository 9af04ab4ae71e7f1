"""The unit of computation: a block of 1,024 rows, its own forward pass at exactly that shape, with its own
random numbers.

A row computed alone differs in its last bits from the same row in a larger batch, and an argmax can flip. So
rows are always computed in whole blocks, keyed by (seed, shard, group, block), and a request for fewer rows
slices. What is written is then the same whatever the number of workers, retries or the size of the request.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import torch

from synthmill.data.batch import Batch, with_noise
from synthmill.data.pixels import to_uint8
from synthmill.models.base import Condition, GenerativeModel

BLOCK_ROWS = 1024
SAMPLING = 3
"""Raised whenever the same model and seed come to give other rows; part of the compute class. 2: faster draws
of codes and latents; 3: rare categories are drawn for each row, not for each combination of codes."""


def block_seed(seed: int, *path: int) -> int:
    """A 63-bit seed that depends on every number of (seed, *path) and on their order."""
    text = ",".join(str(part) for part in (seed, *path))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def sample_block(
    model: GenerativeModel, *, seed: int, path: tuple[int, ...], condition: Condition | None
) -> Batch:
    """The `BLOCK_ROWS` rows of one block, on the CPU."""
    device = next(
        (tensor.device for tensor in chain(model.parameters(), model.buffers())), torch.device("cpu")
    )
    generator = torch.Generator(device=device).manual_seed(block_seed(seed, *path))
    with torch.inference_mode():
        batch = with_noise(model.sample(BLOCK_ROWS, condition=condition, generator=generator), generator)
    if "pixels" in batch:
        # A quarter of the memory, and the bytes that would be written anyway.
        batch = batch.with_(pixels=to_uint8(batch["pixels"]))
    return batch.to("cpu")


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
