"""Whole sequences from their first rows: all of a block grow row by row at once, until each has drawn its
last row or is as long as any may be.

Blocks are of 1,024 sequences in one shape whatever is asked for, and random numbers are keyed by (seed, path,
block, row), so a sequence is the same wherever and with whichever others it is computed. Legend: B sequences
of a block, S spans.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from synthmill.data.batch import Batch, concat
from synthmill.data.sequences.steps import Steps
from synthmill.generation.sampler import BLOCK_ROWS, block_seed, device_of
from synthmill.models.base import GenerativeModel

GROWING = -1
"""Behind a shard's number in the seeds of these rows: those of first rows have the number of a group
there."""


def grown(
    model: GenerativeModel, steps: Steps, first: Batch, *, seed: int, path: tuple[int, ...]
) -> Iterator[Batch]:
    """All rows of the sequences whose first rows are given, in order, a block of sequences at a time, on the
    CPU."""
    for block, at in enumerate(range(0, first.num_rows, BLOCK_ROWS)):
        rows = first.take(slice(at, at + BLOCK_ROWS))
        yield _grow(model, steps, rows, seed=seed, path=(*path, GROWING, block))


def _grow(model: GenerativeModel, steps: Steps, first: Batch, *, seed: int, path: tuple[int, ...]) -> Batch:
    device = device_of(model)
    rows = steps.begun(whole_block(first)).to(device)
    is_growing_B = torch.arange(BLOCK_ROWS, device=device) < first.num_rows
    parts, sequences = [], []
    for position in range(steps.plan.max_length):
        if position:
            rows = next_rows(model, steps, rows, torch.tensor(position), seed=seed, path=(*path, position))
        kept = is_growing_B.nonzero()[:, 0]
        positions = torch.full_like(kept, position)
        parts.append(rows.take(kept).with_(position=positions).to("cpu"))
        sequences.append(kept.cpu())
        is_growing_B &= rows["codes"][:, steps.last] != steps.last_code
        if not bool(is_growing_B.any()):
            break
    # Stable: the rows of a sequence were drawn in their order.
    return concat(parts).take(torch.cat(sequences).argsort(stable=True))


def next_rows(
    model: GenerativeModel,
    steps: Steps,
    rows: Batch,
    positions: Tensor,
    *,
    seed: int,
    path: tuple[int, ...],
    is_known: Tensor | None = None,
    not_last: bool = False,
) -> Batch:
    """The rows after a whole block of rows, at `positions` () or (B,), on the model's device.

    `is_known` bool (B, S) leaves out what is given of a row but not known; `not_last`: another row follows.
    """
    device = device_of(model)
    draws = torch.Generator(device).manual_seed(block_seed(seed, *path))
    codes_BS = steps.after(rows, positions)
    given_BS = steps.is_given.to(device).expand_as(codes_BS)
    if is_known is not None:
        given_BS = given_BS & is_known
    if not_last:
        given_BS = given_BS.clone()
        given_BS[:, steps.last], codes_BS[:, steps.last] = True, steps.other_code
    with torch.inference_mode():
        made = model.complete(codes_BS, given_BS, never=steps.never, generator=draws)
    values = made["values"].clone()
    for number in steps.fixed_values:
        # Where a number of the whole sequence lies inside its bin was drawn with the first row.
        is_given_B = given_BS[:, steps.layout.numeric[number].discrete]
        values[:, number] = torch.where(is_given_B, rows["values"][:, number], values[:, number])
    noise = torch.randint(2**62, (BLOCK_ROWS,), generator=draws, device=device)
    memory = steps.remembered(rows, made["codes"])
    return Batch(codes=made["codes"], values=values, noise=noise, memory=memory)


def whole_block(rows: Batch) -> Batch:
    """Rows of one shape, or other kernels would compute other last bits: repeated ones make it full."""
    index = torch.arange(BLOCK_ROWS, device=rows["codes"].device) % rows.num_rows
    return rows.take(index)
