"""Sequences under constraints that hold within a row: a codec of sequences of the columns that are learnt in
place of the source's, which are rebuilt row by row.

Key and order are made anew and by sums of gaps, so no constraint may speak of them; and rows of a sequence
are drawn one from the other, so none is drawn again: what no construction meets is refused.
"""

from typing import Any, ClassVar, Self

import pyarrow as pa
import pyarrow.compute as pc

from synthmill.config import DataConfig
from synthmill.data.batch import Batch
from synthmill.data.codecs.constrained import ConstrainedCodec, inner_config, learnt_table
from synthmill.data.columns import flat, plain_type
from synthmill.data.constraints.base import FIELD, constraints_of
from synthmill.data.constraints.unique import Unique
from synthmill.data.profile import TableProfile
from synthmill.data.rebuilding import Plan, make_plan
from synthmill.data.resolution import FINE
from synthmill.data.schema import NO_RULES, Rules
from synthmill.data.sequences.check import is_static
from synthmill.data.sequences.codec import SequenceCodec
from synthmill.data.sequences.order import key_ids, runs_of
from synthmill.data.summary import summarise
from synthmill.errors import ConstraintsError


class ConstrainedSequences(ConstrainedCodec):
    """A fitted codec of sequences whose rows meet the constraints of their recipe."""

    format: ClassVar[str] = "synthmill.codec.constrained_sequences/1"
    incomparable: ClassVar[str] = SequenceCodec.incomparable
    inner: SequenceCodec

    def __init__(self, inner: SequenceCodec, *given: Any, **options: Any) -> None:
        super().__init__(inner, *given, **options)
        self.steps = inner.steps

    @classmethod
    def fit(cls, train: pa.Table, config: DataConfig, rules: Rules = NO_RULES) -> Self:
        """Fit on training rows as the source has them.

        Raises:
            ConstraintsError: constraints that can't be met row by row. DataError: as `SequenceCodec.fit`.
        """
        assert config.group_by is not None
        fields = [pa.field(f.name, plain_type(f.type), metadata=f.metadata) for f in train.schema]
        plan = make_plan(config.constraints, pa.schema(fields), rules)
        plan.fit(train, key_ids(train, config.group_by))
        _refuse_unmet(plan, _static(train, plan, config))
        table, own_rules = learnt_table(plan, train, rules)
        own = inner_config(config, plan)
        if config.static is not None:
            made = {name: found for step in plan.steps for name, found in step.learnt(train).items()}
            kept = [name for name in config.static if name not in plan.writers]
            named = [one.name for name in config.static for one in made.get(name, ())]
            own = own.model_copy(update={"static": tuple(dict.fromkeys([*kept, *named]))})
        return cls.of(SequenceCodec.fit(table, own, own_rules), plan, train, config, rules, FINE)

    def unroll(self, table: pa.Table) -> pa.Table:
        """A wide row of learnt columns for each row of a table as the source has it, sequence after
        sequence."""
        return self.inner.unroll(self.plan.learnt(self._typed(table))[0])

    def encode(self, table: pa.Table) -> Batch:
        return self.inner.encode(table)

    def condition_table(self, batch: Batch) -> pa.Table:
        """The wide rows, decoded, with the source's columns beside the learnt ones."""
        return self._with_source(self.inner.condition_table(batch))

    @property
    def static(self) -> frozenset[str]:
        """Columns of the source that all rows of a sequence share."""
        return frozenset(name for name in self.schema.names if self._is_static(name))

    def condition_columns(self) -> list[str]:
        return [name for name in super().condition_columns() if name in self.static]

    def learnt_history(self, table: pa.Table, field: str) -> pa.Table:
        """The learnt columns of rows of some sequences that lack some columns or cells.

        Raises:
            DataError: a column that the model does not know, or of another type; names `field`.
        """
        return self._known(table, field)

    def summary(self, train: pa.Table, group: str | None) -> dict[str, Any] | None:
        table = self._with_source(train)
        columns = tuple(c for c in self.profile.columns if c.name in table.column_names)
        first = pc.equal(train[self.inner.plan.position], 0).to_numpy()
        profile = TableProfile(rows=train.num_rows, columns=columns)
        return summarise(table.select([c.name for c in columns]), profile, first.cumsum())

    def _is_static(self, name: str) -> bool:
        step, fixed = self.plan.writers.get(name), self.inner.plan.static
        if step is None:
            return name in fixed
        return set(step.names()) <= set(fixed) and all(map(self._is_static, (*step.reads, *step.kept)))

    def _with_source(self, wide: pa.Table) -> pa.Table:
        """Wide rows with the columns that are rebuilt from theirs."""
        lacking = [
            name for name in self.plan.schema.names if name not in (*wide.column_names, *self.plan.writers)
        ]
        table = wide
        for name in lacking:
            # Key and order: no constraint speaks of them.
            table = table.append_column(name, pa.nulls(wide.num_rows, self.plan.schema.field(name).type))
        rebuilt = self.plan.rebuilt(table)
        for name in self.plan.schema.names:
            if name not in lacking:
                column = rebuilt[name]
                at = wide.schema.get_field_index(name)
                wide = wide.append_column(name, column) if at < 0 else wide.set_column(at, name, column)
        return wide


def check_within_rows(config: DataConfig) -> None:
    """
    Raises:
        ConstraintsError: constraints on sequences that do not hold within a row, or are on key or order: all
        of them at once.
    """
    faults = []
    for one in constraints_of(config.constraints):
        made = next((name for name in one.columns if name in (config.group_by or ())), None)
        if isinstance(one, Unique) or not one.by_construction:
            why = "needs rows to be drawn again, and rows of sequences follow from one another; leave it out"
        elif made is not None:
            why = f"{made!r} is the key of the sequences, and made anew; leave it out"
        elif config.order_by in one.columns:
            why = (
                f"{config.order_by!r} orders the rows, and follows from the row before: it never falls, and"
                " comes in the steps that the source has; leave it out"
            )
        else:
            continue
        faults.append(f"{one.field} ({one.text}): {why}")
    if faults:
        raise ConstraintsError(faults, field=FIELD)


def _static(train: pa.Table, plan: Plan, config: DataConfig) -> set[str]:
    """Columns of the source that all rows of a sequence share, constant ones aside."""
    if config.static is not None:
        return {*config.static, *(config.group_by or ())}
    runs = runs_of(train, config.group_by or (), config.order_by)
    return {
        name
        for name in plan.schema.names
        if name != config.order_by
        and is_static(train, name, runs)
        and (name not in plan.writers or pc.count_distinct(flat(train[name])).as_py() > 1)
    }


def _refuse_unmet(plan: Plan, static: set[str]) -> None:
    faults = [
        f"{one.field} ({one.text}): the largest values of the training rows leave no room to compute it in"
        " every row; give the column a wider type"
        for one in plan.unsure()
    ]
    for name in plan.writers:
        step = plan.writers[name]
        changing = sorted(step.decided_by(name) - static)
        if name in static and changing:
            faults.append(
                f"{step.field}: all rows of a sequence share {name!r}, which would be rebuilt from"
                f" {changing[0]!r}, which changes; leave one of them out"
            )
    if faults:
        raise ConstraintsError(faults, field=FIELD)
