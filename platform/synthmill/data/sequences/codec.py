"""The codec of sequences: rows of one key in order, unrolled into wide rows that any model which completes
rows can learn, and whole sequences back.

It is made of a `discrete` codec of a row's own columns: the rows before are the same codes again, so that a
sequence grows without being decoded. The order comes back as a start and sums of gaps, so it holds exactly;
keys are made anew.
"""

import base64
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from synthmill.config import DataConfig
from synthmill.data.batch import Batch, Condition
from synthmill.data.codecs.base import Codec, ColumnSpan
from synthmill.data.codecs.discrete import DiscreteCodec
from synthmill.data.columns import (
    Int64,
    Numbers,
    Rows,
    UInt64,
    flat,
    from_float64,
    from_int64,
    is_integral,
    plain_type,
    to_float64,
    to_int64,
)
from synthmill.data.fixed import IdentifierCodec
from synthmill.data.inspection import Inspection, inspect_profile
from synthmill.data.layout import MixedLayout
from synthmill.data.origin import Form, origin_of
from synthmill.data.profile import ColumnProfile, TableProfile, profile_identifier, profile_table
from synthmill.data.resolution import FINE
from synthmill.data.schema import KEY_KINDS, NO_RULES, ColumnRule, Rules
from synthmill.data.sequences.check import check_train
from synthmill.data.sequences.order import key_ids, order_numbers, runs_of
from synthmill.data.sequences.plan import SequencePlan, notes_of_plan, plan_sequences, unroll
from synthmill.data.sequences.steps import Steps
from synthmill.data.summary import summarise
from synthmill.data.written import forms_of, read_texts, write_texts, written_schema
from synthmill.errors import IntegrityError

FORMAT = "synthmill.codec.sequences/1"
INNER = "own."
LARGEST = 2**63 - 1


class SequenceCodec(Codec):
    """Wide rows in, whole sequences out."""

    incomparable: ClassVar[str] = (
        "is made anew or changes within a sequence, and conditions are on what all rows of one share"
    )
    layout: MixedLayout
    profile: TableProfile
    steps: Steps

    def __init__(
        self,
        plan: SequencePlan,
        inner: DiscreteCodec,
        profile: TableProfile,
        typed_schema: pa.Schema,
        *,
        notes: tuple[str, ...] = (),
        form: Form | None = None,
    ) -> None:
        self.plan, self.inner, self.profile, self.notes = plan, inner, profile, notes
        self._typed_schema = typed_schema
        self.schema = written_schema(typed_schema)
        self._form = Form(self.schema) if form is None else form
        is_last = inner.condition(plan.last, "true")
        assert is_last is not None, "some rows are the last, and some are not"
        self.steps = Steps.of(plan, inner.layout, next(iter(is_last.codes.values())))
        self.layout = self.steps.layout
        self._key = IdentifierCodec(profile.column(plan.made_anew), typed_schema.field(plan.made_anew).type)

    @classmethod
    def fit(cls, train: pa.Table, config: DataConfig, rules: Rules = NO_RULES) -> Self:
        """Fit on training rows as the source has them; bounds and categories are shared by five sequences.

        Raises:
            DataError: too few sequences, or columns that can't be learnt.
        """
        assert config.group_by is not None
        runs = runs_of(train, config.group_by, config.order_by)
        check_train(runs, config)
        plan = plan_sequences(train, runs, config)
        alone = config.model_copy(update={"split": config.split.model_copy(update={"group": None})})
        profile = _profile(train, plan, alone, rules)
        typed = pa.schema([pa.field(f.name, plain_type(f.type), metadata=f.metadata) for f in train.schema])
        wide = unroll(train, plan, runs, _gaps(train, plan, runs.rows, runs.position, profile))
        own = wide.select(list(plan.own))
        inner = DiscreteCodec.fit(own, alone, _own_rules(plan, rules, typed), runs.sequence)
        codec = cls(plan, inner, profile, typed, notes=(*notes_of_plan(plan, runs), *inner.notes))
        codec._form = Form.of_codec(codec.schema, origin_of(train.schema), codec._levels_written)
        return codec

    @property
    def typed_schema(self) -> pa.Schema:
        return self._typed_schema

    @property
    def form(self) -> Form:
        return self._form

    def _levels_written(self, name: str) -> list[str] | None:
        return self.inner.written(name) if name in (*self.plan.static, *self.plan.changing) else None

    def unroll(self, table: pa.Table) -> pa.Table:
        """A wide row for each row of a table as the source has it, sequence after sequence."""
        plan = self.plan
        runs = runs_of(table, plan.keys, plan.order)
        wide = unroll(table, plan, runs, _gaps(table, plan, runs.rows, runs.position, self.profile))
        if not self.steps.memory.places:
            return wide
        codes_NS = self._own_codes(wide)
        totals = self.steps.memory.totals(codes_NS, runs.position)
        so_far = self.steps.memory.codes(totals - self.steps.memory.own(codes_NS))
        for place, codes in zip(self.steps.memory.places, so_far.T, strict=True):
            wide = wide.append_column(self.layout.discrete[place].column, pa.array(codes.numpy()))
        return wide

    def totals(self, wide: pa.Table) -> Tensor:
        """What is to be remembered after each row of unrolled whole sequences, int64 (N, 2 F)."""
        position = to_int64(flat(wide[self.plan.position]))
        return self.steps.memory.totals(self._own_codes(wide), position)

    def _own_codes(self, wide: pa.Table) -> Tensor:
        """Codes of wide rows but for those of what comes before, which are 0, int64 (N, S)."""
        own = self.inner.encode(wide.select(list(self.plan.own)))
        codes_NS = torch.zeros(wide.num_rows, len(self.layout.discrete), dtype=torch.int64)
        codes_NS[:, list(self.steps.place)] = own["codes"]
        return codes_NS

    def encode(self, table: pa.Table) -> Batch:
        """Codes of wide rows; they stand for themselves, so any of them in any order."""
        steps, plan = self.steps, self.plan
        own = self.inner.encode(table.select(list(plan.own)))
        codes_NS = torch.zeros(table.num_rows, len(self.layout.discrete), dtype=torch.int64)
        codes_NS[:, list(steps.place)] = own["codes"]
        position_N = torch.from_numpy(to_int64(flat(table[plan.position])).copy())
        codes_NS[:, steps.position] = position_N.clamp_max(plan.positions - 1)
        for place in steps.memory.places:
            so_far = to_int64(flat(table[self.layout.discrete[place].column]))
            codes_NS[:, place] = torch.from_numpy(so_far.copy())
        for lag, spans in enumerate(steps.before, 1):
            found = [
                codes
                for name in plan.moving
                for codes in self.inner.encode_column(name, flat(table[plan.before(lag, name)]))
            ]
            for span, codes, coarser_V in zip(spans, found, steps.coarser, strict=True):
                earlier_N = coarser_V[torch.from_numpy(codes)]
                codes_NS[:, span] = torch.where(position_N >= lag, earlier_N, steps.none_of(span))
        return Batch(codes=codes_NS, values=own["values"])

    def condition_table(self, batch: Batch) -> pa.Table:
        """The wide rows, decoded."""
        plan, steps = self.plan, self.steps
        own = self.inner.condition_table(steps.own(batch))
        columns = {
            self.layout.discrete[place].column: pa.array(batch["codes"][:, place].cpu().numpy())
            for place in (steps.position, *steps.memory.places)
        }
        for lag in range(plan.lags, 0, -1):
            rows, there = steps.row_before(batch, lag)
            earlier, there = self.inner.condition_table(rows), pa.array(there.cpu().numpy())
            for name in plan.moving:
                cells = flat(earlier[name])
                columns[plan.before(lag, name)] = pc.if_else(there, cells, pa.scalar(None, cells.type))
        return pa.table({**columns, **{name: own[name] for name in plan.own}})

    def decode(self, batch: Batch, *, first_row: int) -> pa.Table:
        """Rows of whole sequences, each one after the other from its first row on, as the source has them;
        `first_row` is the number of the first sequence."""
        position = batch["position"].cpu().numpy()
        sequence = np.cumsum(position == 0) - 1 + first_row
        # A row's own identifiers count on through all rows that sequences can have.
        numbers = sequence.astype(np.uint64) * np.uint64(self._rows_each) + position.astype(np.uint64)
        own = self.steps.own(batch)
        table, rows = self.inner.decode_numbered(own, numbers)
        first = np.flatnonzero(position == 0)
        of_first = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(position))))
        # Once a sequence: what a code leaves open follows from a row's noise, which differs between rows.
        fixed, _ = self.inner.decode_numbered(own.take(torch.from_numpy(first)), numbers[first])
        columns = {name: flat(fixed[name]).take(pa.array(of_first)) for name in self.plan.fixed}
        columns |= {name: flat(table[name]) for name in self.plan.moving}
        noise = rows.noise
        columns[self.plan.made_anew] = self.new_keys(sequence.astype(np.uint64), noise)
        if self.plan.order is not None:
            start = columns[self.plan.start].take(pa.array(first))
            columns[self.plan.order] = self.ordered(start, columns[self.plan.gap], first, of_first)
        made = pa.table([columns[name] for name in self._typed_schema.names], schema=self._typed_schema)
        return write_texts(made, noise(np.arange(len(position)))) if forms_of(self._typed_schema) else made

    def new_keys(self, numbers: UInt64, noise: Callable[[Int64], UInt64]) -> pa.Array:
        """The keys of sequences of those numbers, (N,)."""
        return self._key.decode(np.zeros((len(numbers), 0), np.int64), None, Rows(numbers, noise))

    def ordered(self, start: pa.Array, gaps: pa.Array, first: Int64, of_first: Int64) -> pa.Array:
        """The order column (N,) of sequences at the places `first` (G,); a row comes `gaps` (N,) after the
        one before it, a first row after `start` (G,), and is of the sequence `of_first` (N,)."""
        assert self.plan.order is not None
        kind = self._typed_schema.field(self.plan.order).type
        decimals = self.profile.column(self.plan.order).decimals
        steps = np.maximum(_or_zero(gaps), 0) * self.plan.unit
        if is_integral(kind):
            begin = to_int64(start)
            total = np.cumsum(steps)
            after = total - (total - steps)[first][of_first]
            # The largest number there is, rather than one that has come round to the smallest.
            return from_int64(
                begin[of_first] + np.minimum(after, LARGEST - np.maximum(begin, 0)[of_first]), None, kind
            )
        begin_float = to_float64(start)
        values = np.empty(len(steps))
        for low, high, value in zip(first, np.append(first[1:], len(steps)), begin_float, strict=True):
            # Sums of what is not negative never fall, also rounded; differences of running totals may.
            values[low:high] = np.cumsum(np.concatenate([[value + steps[low]], steps[low + 1 : high]]))
        rounded = values if decimals is None else np.round(values, decimals)
        return from_float64(rounded, None, kind)

    @property
    def _rows_each(self) -> int:
        """Numbers of rows that each sequence has for itself."""
        return self.plan.max_length

    def read(self, table: pa.Table) -> pa.Table:
        return read_texts(table, self._typed_schema)

    def beside(self, real: pa.Table) -> Self:
        return self.beside_all(lambda name: [flat(real[name])])

    def beside_all(self, identifiers: Callable[[str], Iterable[pa.Array]]) -> Self:
        inner = self.inner.beside_all(identifiers)
        key = self._key.beside(lambda: identifiers(self.plan.made_anew))
        columns = tuple(key.profile if c.name == key.profile.name else c for c in self.profile.columns)
        profile = self.profile.model_copy(update={"columns": columns})
        return type(self)(self.plan, inner, profile, self._typed_schema, notes=self.notes, form=self._form)

    def id_rooms(self) -> list[tuple[str, int]]:
        """In sequences."""
        own = [(name, room // self._rows_each) for name, room in self.inner.id_rooms()]
        return [(self.plan.made_anew, self._key.room), *own]

    def condition_columns(self) -> list[str]:
        return [name for name in self.plan.static if name in self.inner.condition_columns()]

    def condition(self, column: str, value: str) -> Condition | None:
        found = self.inner.condition(column, value) if column in self.plan.static else None
        if found is None:
            return None
        return Condition(codes={self.steps.place[span]: code for span, code in found.codes.items()})

    def column_span(self, column: str) -> ColumnSpan | None:
        found = self.inner.column_span(column) if column in self.plan.static else None
        if found is None:
            return None
        codes = torch.zeros(found.blank.num_rows, len(self.layout.discrete), dtype=torch.int64)
        codes[:, list(self.steps.place)] = found.blank["codes"]
        blank = found.blank.with_(codes=codes)
        return ColumnSpan(self.steps.place[found.span], found.value, found.bins, blank)

    def levels(self, column: str) -> list[str] | None:
        return self.inner.levels(column) if column in (*self.plan.static, *self.plan.changing) else None

    def count_levels(self, column: str, array: pa.Array) -> list[int]:
        return self.inner.count_levels(column, array)

    def learnt_columns(self) -> list[str]:
        return [name for name in self._typed_schema.names if name != self.plan.made_anew]

    def column_info(self, column: str) -> ColumnProfile | None:
        if column in (*self.plan.static, *self.plan.changing):
            return self.inner.column_info(column)
        return self.profile.column(column)

    def inspect(self, source: str) -> Inspection:
        return inspect_profile(self.profile, self._typed_schema, self.inner.views, source, self.notes)

    def summary(self, train: pa.Table, group: str | None) -> dict[str, Any] | None:
        """Of wide rows: their own columns, as the source calls them."""
        names = [name for name in self.profile.names if name in train.column_names]
        columns = tuple(self.profile.column(name) for name in names)
        profile = TableProfile(rows=train.num_rows, columns=columns)
        first = pc.equal(train[self.plan.position], 0).to_numpy()
        return summarise(train.select(names), profile, np.cumsum(first))

    def to_files(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        own, tensors = self.inner.to_files()
        config = {
            "format": FORMAT,
            "plan": self.plan.model_dump(mode="json"),
            "own": own,
            "profile": self.profile.model_dump(mode="json"),
            "arrow_schema": base64.b64encode(self._typed_schema.serialize().to_pybytes()).decode(),
        }
        if not self._form.is_plain(self.schema):
            config["form"] = self._form.to_json()
        return config, {INNER + name: tensor for name, tensor in tensors.items()}

    @classmethod
    def from_files(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Self:
        if config.get("format") != FORMAT:
            raise IntegrityError(
                f"codec.json has format {config.get('format')!r}; this version reads {FORMAT!r}"
            )
        inner = DiscreteCodec.from_files(
            config["own"], {name.removeprefix(INNER): tensor for name, tensor in tensors.items()}
        )
        return cls(
            SequencePlan.model_validate(config["plan"]),
            inner,
            TableProfile.model_validate(config["profile"]),
            pa.ipc.read_schema(pa.py_buffer(base64.b64decode(config["arrow_schema"]))),
            form=Form.from_json(config["form"]) if "form" in config else None,
        )


def _profile(train: pa.Table, plan: SequencePlan, config: DataConfig, rules: Rules) -> TableProfile:
    """Of the columns as the source has them; the key is an identifier, and the order is none."""
    if plan.order is not None:
        rules = {**rules, plan.order: _numeric(rules.get(plan.order), train.schema.field(plan.order).type)}
    people = key_ids(train, plan.keys)
    others = train.drop_columns([plan.made_anew])
    found = {c.name: c for c in profile_table(others, rules, config, FINE, people).columns}
    rule, key = rules.get(plan.made_anew, ColumnRule()), flat(train[plan.made_anew])
    rule = rule if rule.kind in KEY_KINDS else ColumnRule(kind="identifier")
    found[plan.made_anew] = profile_identifier(plan.made_anew, key.type, key, 0, rule)
    return TableProfile(rows=train.num_rows, columns=tuple(found[name] for name in train.column_names))


def _own_rules(plan: SequencePlan, rules: Rules, schema: pa.Schema) -> Rules:
    """What is stated of a wide row's own columns: starts and gaps that count up are no identifiers."""
    kept = {name: rule for name, rule in rules.items() if name in (*plan.static, *plan.changing)}
    if plan.order is None:
        return kept
    kind = schema.field(plan.order).type
    gap = pa.int64() if is_integral(kind) else pa.float64()
    start = _numeric(rules.get(plan.order), kind)
    return {**kept, plan.start: start, plan.gap: _numeric(None, gap)}


def _numeric(rule: ColumnRule | None, kind: pa.DataType) -> ColumnRule:
    """Numbers, whatever they look like, within the bounds that are stated."""
    rule = rule or ColumnRule()
    stated = {"minimum": rule.minimum, "maximum": rule.maximum, "decimals": rule.decimals}
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return ColumnRule(kind="numeric" if is_number else None, **stated)


def _gaps(
    table: pa.Table, plan: SequencePlan, rows: Int64, position: Int64, profile: TableProfile
) -> pa.Array | None:
    """By how much each row comes after the one before it, (N,), in the order of `rows`; missing for first
    rows."""
    if plan.order is None:
        return None
    numbers = order_numbers(table[plan.order])[rows]
    gaps: Numbers = np.diff(numbers, prepend=numbers[:1])
    decimals = profile.column(plan.order).decimals
    if gaps.dtype == np.int64:
        gaps = gaps // plan.unit
    elif decimals is not None:
        gaps = np.round(gaps, decimals)
    return pa.array(gaps, mask=position == 0)


def _or_zero(array: pa.Array) -> Numbers:
    return np.array(to_int64(array) if is_integral(array.type) else np.nan_to_num(to_float64(array)))
