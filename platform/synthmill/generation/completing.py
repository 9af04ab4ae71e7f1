"""Rows of which some cells are known: the others are drawn, what is missing is filled, a row is judged.

Known cells come out as they went in, to the bit: what is drawn stands only where nothing stood. Seeded as all
sampling is, in blocks of 1,024 rows of that shape, so a row's cells follow from its block and the seed.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from synthmill.data.batch import concat
from synthmill.data.codecs.base import Codec
from synthmill.data.columns import flat, plain_table
from synthmill.errors import DataError, UserError, did_you_mean
from synthmill.generation.generator import Generator
from synthmill.generation.sampler import BLOCK_ROWS, block_seed, device_of, one_thread

PATH = 2**31
"""Of these blocks' seeds: those of sampled rows begin with a shard's number, which is smaller."""


def complete(generator: Generator, table: pa.Table, *, seed: int, field: str) -> pa.Table:
    """A row for each row of `table`, in order, with all columns of the model. Cells of `table` that are
    missing are filled; columns that it lacks are drawn, and may be missing as they are in the training rows.

    Raises:
        UserError: a model that can't complete rows. DataError: a column that the model does not know, or
        whose cells are of another type; names `field`.
    """
    _check(generator, field)
    codec, table = generator.codec, plain_table(table)
    with one_thread():
        batch, given_BS = codec.encode_known(table, field=field)
        model, device = generator.model, device_of(generator.model)
        # A cell that is asked for is never filled with the code of a missing one.
        never = codec.missing_codes(table.column_names)
        blocks = []
        for number, first in enumerate(range(0, table.num_rows, BLOCK_ROWS)):
            draws = torch.Generator(device).manual_seed(block_seed(seed, PATH, number))
            codes_BS, given = (_block(part, first).to(device) for part in (batch["codes"], given_BS))
            with torch.inference_mode():
                made = model.complete(codes_BS, given, never=never, generator=draws)
            noise = torch.randint(2**62, (BLOCK_ROWS,), generator=draws, device=device)
            blocks.append(made.with_(noise=noise).to("cpu").take(slice(0, table.num_rows - first)))
        drawn = codec.decode(concat(blocks), first_row=0) if blocks else codec.schema.empty_table()
    columns = [
        _filled(codec, table[name], drawn[name], name) if name in table.column_names else drawn[name]
        for name in drawn.column_names
    ]
    return pa.table(columns, names=drawn.column_names)


def log_prob(generator: Generator, table: pa.Table, *, field: str) -> npt.NDArray[np.float32]:
    """log p of each row's codes, float32 (N,): low for rows unlike those of training. Missing cells count as
    such.

    Raises:
        DataError: also for a column that `table` lacks.
    """
    _check(generator, field)
    codec, table = generator.codec, plain_table(table)
    lacking = [name for name in codec.learnt_columns() if name not in table.column_names]
    if lacking:
        raise DataError(f"has no column {lacking[0]!r}, which the model knows; add it", field=field)
    batch, _ = codec.encode_known(table, field=field)
    model, device, parts = generator.model, device_of(generator.model), [torch.zeros(0)]
    with one_thread(), torch.inference_mode():
        for first in range(0, table.num_rows, BLOCK_ROWS):
            rows = batch.take(slice(first, first + BLOCK_ROWS)).to(device)
            parts.append(model.log_prob(rows).cpu())
    return torch.cat(parts).numpy()


def predict_proba(generator: Generator, column: str, table: pa.Table, *, field: str) -> pa.Table:
    """For each row p(column = level | the row's other cells that are not missing), a float column a level.

    Raises:
        DataError: also for a column that has no levels of one code each.
    """
    _check(generator, field)
    codec = generator.codec
    if column not in codec.schema.names:
        raise DataError(
            f"no column named {column!r}{did_you_mean(column, codec.schema.names)}", field="column"
        )
    levels = codec.levels(column) or []
    found = [codec.condition(column, level) for level in levels]
    codes = [tuple(one.codes.items()) for one in found if one is not None]
    if not codes or len(codes) < len(levels) or any(len(one) != 1 for one in codes):
        raise DataError(f"{column!r} has no levels whose probabilities could be told", field="column")
    batch, given_BS = codec.encode_known(plain_table(table), field=field)
    span, at = codes[0][0][0], torch.tensor([one[0][1] for one in codes])
    model, device, shares = generator.model, device_of(generator.model), [torch.zeros(0, len(levels))]
    with one_thread(), torch.inference_mode():
        for first in range(0, table.num_rows, BLOCK_ROWS):
            rows = slice(first, first + BLOCK_ROWS)
            part = model.probabilities(span, batch.take(rows).to(device), given_BS[rows].to(device))
            shares.append(part.cpu()[:, at])
    share_NL = torch.cat(shares).double()
    # Missing and rare values have codes of their own, and are no answer.
    share_NL /= share_NL.sum(1, keepdim=True)
    return pa.table({level: share_NL[:, index].numpy() for index, level in enumerate(levels)})


def _check(generator: Generator, field: str) -> None:
    if not generator.model.completes:
        name = generator.config.get("model", "this model")
        raise UserError(
            f"{name!r} can't tell what goes with known cells; train with model.name: autoregressive",
            field=field,
        )
    if generator.codec.steps is not None:
        raise UserError(
            f"{generator.ref} learnt sequences, which it continues (continue_); it completes no single rows",
            field=field,
        )


def _block(part: Tensor, first: int) -> Tensor:
    """The rows from `first` on in a block of full size: a short one would be computed in another shape."""
    some = part[first : first + BLOCK_ROWS]
    return torch.cat([some, some.new_zeros(BLOCK_ROWS - len(some), *some.shape[1:])])


def _filled(codec: Codec, own: pa.ChunkedArray, drawn: pa.ChunkedArray, name: str) -> pa.Array:
    """The cells that were there, and drawn ones where none was, in the type that they were in."""
    array = flat(own)
    missing = pc.is_null(array, nan_is_null=True)
    if not pc.any(missing).as_py():
        return array
    made = flat(drawn)
    if made.null_count and (levels := codec.levels(name)):
        # The digits of a column of many levels can make up the code of a missing cell.
        made = made.fill_null(pa.scalar(levels[0], pa.string()).cast(made.type))
    if pa.types.is_null(array.type):
        # Nothing in it says what it would hold.
        return made
    return pc.if_else(missing, made.cast(array.type, safe=False), array)
