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

from synthmill.data.batch import Batch, concat
from synthmill.data.codecs.mixed import MixedCodec
from synthmill.data.columns import flat, plain_table, valid_rows
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
    codec = _codec_of(generator, field)
    table = _as_written(table, codec, field)
    with one_thread():
        batch, given_BS = _encoded(codec, table)
        model, device = generator.model, device_of(generator.model)
        # A cell that is asked for is never filled with the code of a missing one.
        never = {
            index: span.missing
            for index, span in enumerate(codec.layout.discrete)
            if span.missing is not None and span.column in table.column_names
        }
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
    codec = _codec_of(generator, field)
    lacking = [span.column for span in codec.layout.discrete if span.column not in table.column_names]
    if lacking:
        raise DataError(f"has no column {lacking[0]!r}, which the model knows; add it", field=field)
    batch, _ = _encoded(codec, _as_written(table, codec, field))
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
    codec = _codec_of(generator, field)
    if column not in codec.schema.names:
        raise DataError(
            f"no column named {column!r}{did_you_mean(column, codec.schema.names)}", field="column"
        )
    levels = codec.levels(column) or []
    codes = [codec.code_of(column, level) for level in levels]
    spans = {code[0] for code in codes if code is not None}
    if len(spans) != 1 or None in codes:
        raise DataError(f"{column!r} has no levels whose probabilities could be told", field="column")
    batch, given_BS = _encoded(codec, _as_written(table, codec, field))
    at, (span,) = torch.tensor([code[1] for code in codes if code is not None]), spans
    model, device, shares = generator.model, device_of(generator.model), [torch.zeros(0, len(levels))]
    with one_thread(), torch.inference_mode():
        for first in range(0, table.num_rows, BLOCK_ROWS):
            rows = slice(first, first + BLOCK_ROWS)
            found = model.probabilities(span, batch.take(rows).to(device), given_BS[rows].to(device))
            shares.append(found.cpu()[:, at])
    share_NL = torch.cat(shares).double()
    # Missing and rare values have codes of their own, and are no answer.
    share_NL /= share_NL.sum(1, keepdim=True)
    return pa.table({level: share_NL[:, index].numpy() for index, level in enumerate(levels)})


def _codec_of(generator: Generator, field: str) -> MixedCodec:
    if not generator.model.completes or not isinstance(generator.codec, MixedCodec):
        name = generator.config.get("model", "this model")
        raise UserError(
            f"{name!r} can't tell what goes with known cells; train with model.name: autoregressive",
            field=field,
        )
    return generator.codec


def _as_written(table: pa.Table, codec: MixedCodec, field: str) -> pa.Table:
    """The columns, as the caller has them, of which each can be read as the model's."""
    table = plain_table(table)
    known = codec.schema.names
    for name in table.column_names:
        if name not in known:
            raise DataError(
                f"has a column {name!r}, which the model does not know{did_you_mean(name, known)};"
                " leave it out, or rename it",
                field=field,
            )
    return table


def _encoded(codec: MixedCodec, table: pa.Table) -> tuple[Batch, Tensor]:
    """Codes of all columns, and which of them are known, bool (N, S)."""
    arrays, known = [], {}
    for column in codec.schema:
        if column.name not in table.column_names:
            arrays.append(pa.nulls(table.num_rows, column.type))
            known[column.name] = np.zeros(table.num_rows, dtype=bool)
            continue
        array = flat(table[column.name])
        try:
            # NaN is how data frames write missing numbers.
            array = pc.if_else(pc.is_nan(array), None, array) if pa.types.is_floating(array.type) else array
            arrays.append(array.cast(column.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise DataError(
                f"column {column.name!r} holds {array.type} that is no {column.type}, which the model learnt",
                field="rows",
            ) from None
        known[column.name] = _is_known(codec, column.name, arrays[-1])
    typed = codec.read(pa.table(arrays, schema=codec.schema))
    given = [known[span.column] & _valid(typed[span.column]) for span in codec.layout.discrete]
    return codec.encode(typed), torch.from_numpy(np.stack(given, 1))


def _is_known(codec: MixedCodec, name: str, array: pa.Array) -> npt.NDArray[np.bool_]:
    """Cells that say something to the model: not missing, and of a category that it has a code for."""
    profile = codec.profile.column(name)
    valid = _valid(array)
    if profile.kind != "categorical" or profile.folded_rows:
        return valid
    return valid & np.asarray(
        pc.is_in(array.cast(pa.string()), value_set=pa.array(profile.levels, pa.string()))
    )


def _valid(array: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    return valid_rows(flat(array) if isinstance(array, pa.ChunkedArray) else array)


def _block(part: Tensor, first: int) -> Tensor:
    """The rows from `first` on in a block of full size: a short one would be computed in another shape."""
    some = part[first : first + BLOCK_ROWS]
    return torch.cat([some, some.new_zeros(BLOCK_ROWS - len(some), *some.shape[1:])])


def _filled(codec: MixedCodec, own: pa.ChunkedArray, drawn: pa.ChunkedArray, name: str) -> pa.Array:
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
