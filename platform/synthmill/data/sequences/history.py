"""Sequences that have begun: what a model is given of them, and the rows after them as a table."""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from synthmill.data.batch import Batch
from synthmill.data.codecs.base import as_type
from synthmill.data.columns import Bool, Int64, UInt64, flat, valid_rows
from synthmill.data.sequences.codec import SequenceCodec
from synthmill.data.sequences.constrained import ConstrainedSequences
from synthmill.data.sequences.order import Runs, runs_of
from synthmill.data.written import forms_of, write_texts
from synthmill.errors import DataError, did_you_mean

MOST_NUMBER = 2**40
"""The number from which identifiers of new rows count, where a column has room for it: others begin at 0."""


AnyCodec = SequenceCodec | ConstrainedSequences


@dataclass(frozen=True)
class History:
    """The last rows of given sequences, in order of the sequences' first rows. Legend: G sequences, S
    spans."""

    last: Batch
    """Encoded wide rows (G)."""
    known_GS: Tensor
    """bool (G, S): which codes of the rows after them are known."""
    positions_G: Tensor
    """int64 (G,) of the last rows."""
    learnt: pa.Table
    """The last rows themselves, as they are learnt; columns that were not given hold missing cells."""
    learnt_given: frozenset[str]
    """Learnt columns that were given."""
    rows: pa.Table
    """The last rows with the source's columns, typed."""
    given: frozenset[str]
    """Columns of the source that were given."""

    def take(self, kept: Int64) -> "History":
        """Some of the sequences."""
        at, rows = torch.from_numpy(kept), pa.array(kept)
        return replace(
            self,
            last=self.last.take(at),
            known_GS=self.known_GS[at],
            positions_G=self.positions_G[at],
            learnt=self.learnt.take(rows),
            rows=self.rows.take(rows),
        )


def sequences_of(codec: AnyCodec) -> SequenceCodec:
    """The codec that knows how a row follows from those before it."""
    return codec.inner if isinstance(codec, ConstrainedSequences) else codec


def typed_history(codec: AnyCodec, table: pa.Table, *, field: str) -> pa.Table:
    """Rows of some sequences with all columns of the model, typed; those that are lacking hold missing cells.

    Raises:
        DataError: no rows, no key or order, a missing cell in one, a column that the model does not know or
        whose cells are of another type; names `field`.
    """
    plan, names = sequences_of(codec).plan, codec.schema.names
    if not table.num_rows:
        raise DataError("has no rows; give some of each sequence", field=field)
    odd = next((name for name in table.column_names if name not in names), None)
    if odd is not None:
        what = f"has a column {odd!r}, which the model does not know{did_you_mean(odd, names)}"
        raise DataError(f"{what}; leave it out, or rename it", field=field)
    needed = (*plan.keys, *(() if plan.order is None else (plan.order,)))
    lacking = next((name for name in needed if name not in table.column_names), None)
    if lacking is not None:
        raise DataError(
            f"has no column {lacking!r}, which says whose rows are and in which order", field=field
        )
    columns = [
        as_type(flat(table[f.name]), f, field)
        if f.name in table.column_names
        else pa.nulls(table.num_rows, f.type)
        for f in codec.schema
    ]
    typed = codec.read(pa.table(columns, schema=codec.schema))
    missing = next((name for name in needed if typed[name].null_count), None)
    if missing is not None:
        raise DataError(f"has rows without {missing!r}, or where it can't be read; fill them", field=field)
    return typed


def runs_of_history(codec: AnyCodec, typed: pa.Table, most_rows: int | None, *, field: str) -> Runs:
    """The sequences of a history, whose rows are put in order.

    Raises:
        DataError: one has more than `most_rows` rows, which the recipe states; names `field`.
    """
    plan = sequences_of(codec).plan
    runs = runs_of(typed, plan.keys, plan.order)
    longest = int(runs.lengths.max(initial=0))
    if most_rows is not None and longest > most_rows:
        first = int(runs.rows[runs.starts[int(runs.lengths.argmax())]])
        whose = ", ".join(repr(typed[name][first].as_py()) for name in plan.keys)
        raise DataError(
            f"the sequence {whose} has {longest:,} rows, and sequences have at most {most_rows:,}"
            " (data.max_length of the recipe); give its last rows",
            field=field,
        )
    return runs


def read_history(codec: AnyCodec, table: pa.Table, *, field: str, most_rows: int | None = None) -> History:
    """The history of every key in the rows of a table; raises as `typed_history` and `runs_of_history`."""
    typed = typed_history(codec, table, field=field)
    runs = runs_of_history(codec, typed, most_rows, field=field)
    ends = runs.starts + runs.lengths - 1
    inner = sequences_of(codec)
    if isinstance(codec, ConstrainedSequences):
        found = codec.learnt_history(table, field)
        given = frozenset(found.column_names)
        arrays = [
            flat(found[f.name]).cast(f.type) if f.name in given else pa.nulls(table.num_rows, f.type)
            for f in inner.typed_schema
        ]
        learnt = pa.table(arrays, schema=inner.typed_schema)
    else:
        learnt, given = typed, frozenset(table.column_names)
    unrolled = inner.unroll(learnt)
    wide = unrolled.take(pa.array(ends))
    memory = inner.totals(unrolled)[torch.from_numpy(ends)]
    last = pa.array(runs.rows[ends])
    return History(
        last=inner.encode(wide).with_(memory=memory),
        known_GS=_known(inner, wide, given),
        positions_G=torch.from_numpy(runs.lengths - 1),
        learnt=learnt.take(last),
        learnt_given=given,
        rows=typed.take(last),
        given=frozenset(table.column_names),
    )


def continued(codec: AnyCodec, history: History, rows: Batch, first: int, numbers: UInt64) -> pa.Table:
    """Rows after those of the sequences from `first` on, as the source writes them; `position` of the rows
    counts from 0 for each, and identifiers of rows follow from `numbers` (N,)."""
    inner = sequences_of(codec)
    plan = inner.plan
    position = rows["position"].cpu().numpy()
    begins = np.flatnonzero(position == 0)
    of_first = np.repeat(np.arange(len(begins)), np.diff(np.append(begins, len(position))))
    whose = pa.array(of_first + first)
    room = min((room for _, room in inner.inner.id_rooms()), default=2**63)
    made, decoded = inner.inner.decode_numbered(
        inner.steps.own(rows), numbers + np.uint64(min(MOST_NUMBER, room // 2))
    )
    columns = {name: flat(made[name]) for name in plan.moving}
    for name in (*plan.keys, *plan.static):
        # What was given comes back as it was; what was not is one draw for the whole sequence.
        drawn = None if name in history.learnt_given else flat(made[name]).take(pa.array(begins[of_first]))
        columns[name] = flat(history.learnt[name]).take(whose) if drawn is None else drawn
    if plan.order is not None:
        start = flat(history.rows[plan.order]).take(pa.array(np.arange(first, first + len(begins))))
        columns[plan.order] = inner.ordered(start, columns[plan.gap], begins, of_first)
    schema = inner.typed_schema
    table = pa.table([columns[name] for name in schema.names], schema=schema)
    if isinstance(codec, ConstrainedSequences):
        table, schema = codec.plan.rebuilt(table), codec.typed_schema
        for name in codec.static & history.given:
            # To the bit: a cell beyond those of the training rows is brought back where it is rebuilt.
            at = schema.get_field_index(name)
            table = table.set_column(at, schema.field(name), flat(history.rows[name]).take(whose))
    return write_texts(table, decoded.noise(np.arange(len(position)))) if forms_of(schema) else table


def _known(codec: SequenceCodec, wide: pa.Table, given: frozenset[str]) -> Tensor:
    """Which codes are known of the rows after the wide rows, bool (G, S)."""
    plan, steps, inner = codec.plan, codec.steps, codec.inner
    made = {plan.gap, plan.start} if plan.order is not None else set()
    can_miss = {span.column for span in inner.layout.discrete if span.missing is not None}

    def known(name: str, cells: pa.Array) -> Bool:
        if name not in given and name not in made:
            return np.zeros(len(cells), dtype=bool)
        missing = ~valid_rows(cells)
        # A cell that was missing in the history says so, where the model knows of missing cells.
        return inner.is_known(name, cells) | (missing & (name in can_miss))

    known_GS = torch.ones(wide.num_rows, len(steps.layout.discrete), dtype=torch.bool)
    spans = inner.layout.discrete
    for span, place in zip(spans, steps.place, strict=True):
        if place in steps.fixed:
            known_GS[:, place] = torch.from_numpy(known(span.column, flat(wide[span.column])))
    for column, place in zip(steps.memory.columns, steps.memory.places, strict=True):
        known_GS[:, place] = column in given or column in made
    moving = [span.column for span, place in zip(spans, steps.place, strict=True) if place in steps.moving]
    for lag, places in enumerate(steps.before):
        for name, place in zip(moving, places, strict=True):
            cells = flat(wide[name if lag == 0 else plan.before(lag, name)])
            none = pc.less(wide[plan.position], lag).to_numpy() if lag else np.zeros(wide.num_rows, bool)
            known_GS[:, place] = torch.from_numpy(known(name, cells) | none)
    return known_GS
