"""All constraints of a recipe together: what is learnt in place of the source's columns, and how those are
rebuilt.

    source's columns --learnt--> columns of the codec --rebuilt--> the source's columns, constraints met
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

import numpy as np
import pyarrow as pa

from synthmill.constraint_config import ConstraintConfig
from synthmill.data.columns import Bool, Int64, flat, is_text
from synthmill.data.constraints._order import ordered_steps
from synthmill.data.constraints.base import FIELD, Constraint, Learnt, Step, constraints_of
from synthmill.data.constraints.unique import Unique
from synthmill.data.schema import ColumnRule, Rules
from synthmill.errors import ConstraintsError, DataError

SHOWN_ROWS = 3


@dataclass
class Plan:
    """Constraints on tables of one schema."""

    schema: pa.Schema
    """Typed columns of the source."""
    constraints: list[Constraint]
    steps: list[Step]
    """Each after those that rebuild what it reads."""
    writers: dict[str, Step] = field(init=False)
    """The step of each column that is not learnt as it is."""

    def __post_init__(self) -> None:
        self.writers = {name: step for step in self.steps for name in step.writes if name not in step.kept}

    def fit(self, table: pa.Table, people: Int64 | None) -> None:
        """Tell steps and constraints of training rows."""
        for step in self.steps:
            step.fit(table, people)
        for constraint in self.constraints:
            constraint.learn(table)

    def learnt(self, table: pa.Table, *, known: bool = False) -> tuple[pa.Table, dict[str, ColumnRule]]:
        """The table that the codec sees, and what is to be known of its columns. `known`: cells that are
        missing are to be filled."""
        made: dict[str, list[Learnt]] = {}
        for step in self.steps:
            made |= step.learnt(table, known=known)
        columns: dict[str, Any] = {}
        rules = {}
        for name in self.schema.names:
            if name not in self.writers:
                columns[name] = table[name]
            for one in made.get(name, ()):
                columns[one.name], rules[one.name] = one.array, one.rule
        # Without what a schema says of a column's form: texts are written once columns are rebuilt.
        return pa.table(columns), rules

    def rebuilt(self, table: pa.Table, *, bounded: bool = True) -> pa.Table:
        """The source's columns from those of `learnt`."""
        learnt = {name: flat(table[name]) for name in table.column_names}
        out = {name: array for name, array in learnt.items() if name in self.schema.names}
        for step in self.steps:
            out |= step.rebuilt(out, learnt, bounded=bounded)
        columns = [
            out[name] if out[name].type == kind else out[name].cast(kind)
            for name, kind in zip(self.schema.names, self.schema.types, strict=True)
        ]
        return pa.table(columns, schema=self.schema)

    @property
    def keys(self) -> list[str]:
        """Columns that alone are unique, and can be made anew from row numbers."""
        return [
            one.columns[0]
            for one in self.constraints
            if isinstance(one, Unique) and len(one.columns) == 1 and self._can_be_key(one.columns[0])
        ]

    def unsure(self) -> list[Constraint]:
        """Constraints that rebuilt rows are checked for, unique columns aside."""
        doubted = {step.field for step in self.steps if not step.sure}
        return [
            one
            for one in self.constraints
            if one.field in doubted or not (one.by_construction or isinstance(one, Unique))
        ]

    def held(self, constraints: Sequence[Constraint], table: pa.Table) -> Bool:
        """Rows (N,) that meet all of some constraints."""
        held = np.ones(table.num_rows, dtype=bool)
        for one in constraints:
            held &= one.holds(table)
        return held

    def state(self) -> list[dict[str, Any]]:
        """What `fit` found, JSON data."""
        return [step.state() for step in self.steps]

    def restore(self, state: Sequence[dict[str, Any]]) -> None:
        """The inverse of `state`."""
        for step, own in zip(self.steps, state, strict=True):
            step.restore(own)

    def _can_be_key(self, name: str) -> bool:
        kind = self.schema.field(name).type
        return name not in self.writers and (pa.types.is_integer(kind) or is_text(kind))


def make_plan(
    configs: Sequence[ConstraintConfig] | None, schema: pa.Schema, rules: Rules, group: str | None = None
) -> Plan:
    """The constraints of a recipe on typed columns; `rules` are what the schema file states of them, `group`
    names people.

    Raises:
        ConstraintsError: unknown columns, types that a constraint does not take, constraints that contradict
        each other: all of them at once.
    """
    constraints = constraints_of(configs)
    faults = [fault for one in constraints for fault in one.faults(schema)]
    if faults:
        raise ConstraintsError(faults, field=FIELD)
    ordered, faults = ordered_steps(
        [(one.field, pair) for one in constraints for pair in one.order()],
        [(one.field, limit) for one in constraints for limit in one.limits()],
        schema,
    )
    own = (one.step(schema) for one in constraints)
    steps: list[Step] = [*ordered, *(step for step in own if step is not None)]
    writers: dict[str, Step] = {}
    for step in steps:
        for name in step.writes:
            if name in writers:
                faults.append(
                    f"{writers[name].field}, {step.field}: both rebuild {name!r}; state one of them as a"
                    " formula"
                )
            writers.setdefault(name, step)
    faults += [
        fault
        for name, step in writers.items()
        if (fault := _rule_fault(name, step, rules.get(name), group)) is not None
    ]
    if faults:
        raise ConstraintsError(faults, field=FIELD)
    before = {
        at: {steps.index(writers[name]) for name in step.reads if name in writers}
        for at, step in enumerate(steps)
    }
    try:
        order = list(TopologicalSorter(before).static_order())
    except CycleError as fault:
        fields = ", ".join(sorted({steps[at].field for at in fault.args[1]}))
        message = f"{fields}: each rebuilds a column from those of the other; state one as a formula"
        raise ConstraintsError([message], field=FIELD) from None
    return Plan(schema, constraints, [steps[at] for at in order])


def check_rows(constraints: Sequence[Constraint], table: pa.Table) -> None:
    """
    Raises:
        ConstraintsError: rows of the source break a constraint; how many, and some of their numbers.
    """
    broken = Broken(constraints)
    broken.add(table, np.arange(table.num_rows))
    broken.refuse()


class Broken:
    """Counts the rows of a source that break constraints."""

    def __init__(self, constraints: Sequence[Constraint]) -> None:
        self._constraints = list(constraints)
        self._rows = 0
        self._counts = [0] * len(self._constraints)
        self._shown: list[list[int]] = [[] for _ in self._constraints]

    def add(self, table: pa.Table, numbers: Int64) -> None:
        """More rows, and their numbers in the source."""
        self._rows += table.num_rows
        for at, one in enumerate(self._constraints):
            odd = np.flatnonzero(~one.holds(table))
            self._counts[at] += len(odd)
            self._shown[at] += (numbers[odd[:SHOWN_ROWS]] + 1).tolist()

    def merge(self, other: "Broken") -> None:
        """The rows of another, too, in whatever order."""
        self._rows += other._rows
        for at, (count, shown) in enumerate(zip(other._counts, other._shown, strict=True)):
            self._counts[at] += count
            self._shown[at] = sorted([*self._shown[at], *shown])[:SHOWN_ROWS]

    def refuse(self) -> None:
        """Raises ConstraintsError where there is one."""
        faults = []
        for one, count, shown in zip(self._constraints, self._counts, self._shown, strict=True):
            if count:
                numbers = ", ".join(f"{row:,}" for row in shown[:SHOWN_ROWS])
                rows = f"row {numbers}" if count == 1 else f"rows {numbers}{', ...' if count > 3 else ''}"
                faults.append(
                    f"{one.field} ({one.text}): {count:,} of {self._rows:,} rows break it ({rows}); correct"
                    " or remove them, or leave the constraint out"
                )
        if faults:
            raise ConstraintsError(faults, field=FIELD)


def refuse_rebuilt_from_new(plan: Plan, identifiers: Collection[str]) -> None:
    """
    Raises:
        DataError: a column is rebuilt from one of identifiers, which are made anew.
    """
    for step in plan.steps:
        for name in (*step.reads, *step.kept):
            if name in identifiers:
                raise DataError(
                    f"{name!r} is a column of identifiers, which are made anew; leave it out of the"
                    " constraint, or state `kind: integer` for it in a schema file",
                    field=step.field,
                )


def _rule_fault(name: str, step: Step, rule: ColumnRule | None, group: str | None) -> str | None:
    """Why a column can't be rebuilt."""
    if name == group:
        return f"{step.field}: {name!r} tells whose rows are whose (data.split.group); leave it out"
    if rule is None or name in step.kept:
        return None
    if rule.kind not in (None, "integer", "numeric", "boolean", "categorical", "datetime", "date"):
        return (
            f"{step.field}: {name!r} is stated as {rule.kind} in the schema file; leave it out of one of them"
        )
    if rule.minimum is not None or rule.maximum is not None:
        return (
            f"{step.field}: {name!r} has bounds in the schema file, which are lost where it is rebuilt; state"
            " them as a range constraint"
        )
    return None
