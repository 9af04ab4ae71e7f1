"""Rows of which some cells are known: the others are drawn, what is missing is filled, a row is judged.

Known cells come out as they went in, to the bit: what is drawn stands only where nothing stood. Seeded as all
sampling is, in blocks of 1,024 rows of that shape, so a row's cells follow from its block and the seed.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from synthmill.data.batch import Batch
from synthmill.data.codecs.base import Codec
from synthmill.data.columns import flat, plain_table
from synthmill.errors import DataError, UserError, did_you_mean
from synthmill.generation.generator import Generator
from synthmill.generation.sampler import BLOCK_ROWS, block_seed, device_of, one_thread

ATTEMPTS = 100
"""Times that a row is drawn until it meets the constraints together with its known cells."""
PATH = 2**31
"""Of these blocks' seeds: those of sampled rows begin with a shard's number, which is smaller."""


def complete(
    generator: Generator,
    table: pa.Table,
    *,
    seed: int,
    field: str,
    first_row: int = 0,
    shard: int | None = None,
) -> pa.Table:
    """A row for each row of `table`, in order, with all columns of the model. Cells of `table` that are
    missing are filled; columns that it lacks are drawn, and may be missing as they are in the training rows.
    `first_row`: the number of the first, from which identifiers are made; `shard`: which part of a larger
    table the rows are.

    Raises:
        UserError: a model that can't complete rows. DataError: a column that the model does not know, or
        whose cells are of another type; names `field`.
    """
    refuse_incomplete(generator, field)
    codec, table = generator.codec, plain_table(table)
    with one_thread():
        batch, given_BS = codec.encode_known(table, field=field)
        model, device = generator.model, device_of(generator.model)
        # A cell that is asked for is never filled with the code of a missing one.
        never = codec.missing_codes(table.column_names)
        parts = [codec.schema.empty_table()]
        for number, first in enumerate(range(0, table.num_rows, BLOCK_ROWS)):
            rows = table.slice(first, BLOCK_ROWS)
            known = [as_block(part, first).to(device) for part in (batch["codes"], given_BS)]

            def draw(attempt: int, number: int = number, known: list[Tensor] = known) -> Batch:
                part_path = (PATH, number) if shard is None else (PATH + 1, shard, number)
                path = (*part_path, attempt) if attempt else part_path
                draws = torch.Generator(device).manual_seed(block_seed(seed, *path))
                with torch.inference_mode():
                    made = model.complete(known[0], known[1], never=never, generator=draws)
                noise = torch.randint(2**62, (BLOCK_ROWS,), generator=draws, device=device)
                return made.with_(noise=noise).to("cpu")

            parts.append(_completed(codec, rows, draw, first + first_row, first, field))
    return pa.concat_tables(parts[1:] or [_all_columns(codec, table, parts[0])])


def _completed(
    codec: Codec, rows: pa.Table, draw: Callable[[int], Batch], first_row: int, first: int, field: str
) -> pa.Table:
    """The rows of one block, drawn again as long as known cells and drawn ones together break a constraint.

    Raises:
        DataError: they do so however often they are drawn.
    """
    done: pa.Table | None = None
    wrong = np.ones(rows.num_rows, dtype=bool)
    for attempt in range(ATTEMPTS):
        batch = draw(attempt).take(slice(0, rows.num_rows))
        drawn = codec.decode_known(batch, rows, first_row=first_row, field=field)
        made = _all_columns(codec, rows, drawn)
        if done is None:
            done = made
        else:
            index = np.arange(rows.num_rows) + np.where(wrong, rows.num_rows, 0)
            done = pa.concat_tables([done, made]).take(pa.array(index))
        if not codec.constraints:
            return done
        wrong = ~codec.holds(_as_learnt(codec, done))
        if not wrong.any():
            return done
    broken = int(np.flatnonzero(wrong)[0])
    typed = _as_learnt(codec, done).slice(broken, 1)
    texts = [one.text for one in codec.constraints if not one.holds(typed).all()]
    raise DataError(
        f"row {first + broken + 1:,}: nothing that was drawn goes with its known cells and {texts[0]}; give"
        " more of the columns that it names, or leave out those that are there",
        field=field,
    )


def _all_columns(codec: Codec, rows: pa.Table, drawn: pa.Table) -> pa.Table:
    columns = [
        _filled(codec, rows[name], drawn[name], name) if name in rows.column_names else drawn[name]
        for name in drawn.column_names
    ]
    return pa.table(columns, names=drawn.column_names)


def _as_learnt(codec: Codec, table: pa.Table) -> pa.Table:
    """Completed rows, whose known cells are in the types in which they were given, as the codec has them."""
    columns = [flat(table[column.name]).cast(column.type, safe=False) for column in codec.schema]
    return codec.read(pa.table(columns, schema=codec.schema))


def log_prob(generator: Generator, table: pa.Table, *, field: str) -> npt.NDArray[np.float32]:
    """log p of each row's codes, float32 (N,): low for rows unlike those of training. Missing cells count as
    such.

    Raises:
        DataError: also for a column that `table` lacks.
    """
    refuse_incomplete(generator, field)
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
    refuse_incomplete(generator, field)
    codec = generator.codec
    if column not in codec.schema.names:
        raise DataError(
            f"no column named {column!r}{did_you_mean(column, codec.schema.names)}", field="column"
        )
    levels = codec.levels(column) or []
    found = [codec.condition(column, level) for level in levels]
    codes = [tuple(one.codes.items()) for one in found if one is not None]
    if not codes or len(codes) < len(levels) or any(len(one) != 1 for one in codes):
        others = [one.text for one in codec.constraints if column in one.columns]
        why = f"; it is learnt together with others, as {others[0]} says" if others else ""
        raise DataError(f"{column!r} has no levels whose probabilities could be told{why}", field="column")
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


def refuse_incomplete(generator: Generator, field: str) -> None:
    """UserError for a model that can't say what goes with known cells."""
    if not generator.model.completes:
        name = generator.config.get("model", "this model")
        raise UserError(
            f"{name!r} can't tell what goes with known cells; train with model.name: autoregressive",
            field=field,
        )
    if generator.codec.steps is not None:
        raise UserError(
            f"{generator.ref} learnt sequences, which it continues (forecast); it completes no single rows",
            field=field,
        )


def as_block(part: Tensor, first: int) -> Tensor:
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
    bound = any(name in one.columns for one in codec.constraints)
    if made.null_count and not bound and (levels := codec.levels(name)):
        # The digits of a column of many levels can make up the code of a missing cell.
        made = made.fill_null(pa.scalar(levels[0], pa.string()).cast(made.type))
    if pa.types.is_null(array.type):
        # Nothing in it says what it would hold.
        return made
    return pc.if_else(missing, made.cast(array.type, safe=False), array)
