"""A total that is computed: the sum of some columns, less some others."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.data.columns import Bool, Int64, Numbers, flat, to_float64, valid_rows
from synthmill.data.constraints._line import Line, added, decimals_of, family
from synthmill.data.constraints.base import Arrays, Constraint, Learnt, Step, free_name
from synthmill.data.schema import ColumnRule

RELATIVE = 1e-9
"""By which totals of floats without a last digit may differ, as they were added up in some other order."""


class Sum(Constraint):
    """Rows with a missing cell are not added up."""

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.config.total, *self.config.plus, *self.config.minus)

    @property
    def text(self) -> str:
        minus = "".join(f" - {name}" for name in self.config.minus)
        return f"{self.config.total} = {' + '.join(self.config.plus)}{minus}"

    def holds(self, table: pa.Table) -> Bool:
        adder = _Adder(self.config, table.schema)
        adder.fit(table)
        arrays = {name: flat(table[name]) for name in self.columns}
        made, complete = adder.places(arrays)
        there, has = adder.line.place(arrays[self.config.total])
        if adder.line.exact:
            # A total of fewer digits than its parts is rounded, in one direction or the other.
            held: Bool = ~(complete & has) | (np.abs(made - there) <= adder.step // 2)
            return held
        scale = np.max([np.abs(adder.line.place(arrays[name])[0]) for name in self.columns], axis=0)
        off = np.abs(made - there)
        digits = adder.decimals.get(self.config.total)
        half = 0.0 if digits is None else 0.5 * 10.0**-digits
        near: Bool = ~(complete & has) | (off <= half + RELATIVE * scale)
        return near

    def fault(self, schema: pa.Schema) -> str | None:
        for name in self.columns:
            kind = schema.field(name).type
            if family(kind) not in ("numbers", "durations"):
                return f"{name!r} is {kind}, which can't be added up; use numbers"
        if len({family(schema.field(name).type) for name in self.columns}) > 1:
            return "numbers and durations can't be added up; use columns of one kind"
        return None

    def step(self, schema: pa.Schema) -> Step:
        return _Total(self.field, self.config, schema)


class _Adder:
    """Adds up columns on the line of all of them."""

    def __init__(self, config: Any, schema: pa.Schema) -> None:
        self.config = config
        names = (config.total, *config.plus, *config.minus)
        self.kinds = {name: schema.field(name).type for name in names}
        self.decimals: dict[str, int | None] = {}

    def fit(self, table: pa.Table) -> None:
        floats = [name for name, kind in self.kinds.items() if pa.types.is_floating(kind)]
        self.decimals = {name: decimals_of(flat(table[name])) for name in floats}
        self.settle()

    def settle(self) -> None:
        """The line that the decimals come to."""
        self.line = Line.of(self.kinds, self.decimals)

    @property
    def step(self) -> int:
        """Places from one total to the next, on an exact line."""
        name = self.config.total
        return self.line.ticks(self.kinds[name], self.decimals.get(name))

    def places(self, arrays: Arrays) -> tuple[Numbers, Bool]:
        """Where the totals (N,) lie, and the rows where all parts are there."""
        places: Numbers | None = None
        complete = np.ones(len(next(iter(arrays.values()))), dtype=bool)
        for sign, names in ((1, self.config.plus), (-1, self.config.minus)):
            for name in names:
                own, there = self.line.place(arrays[name])
                complete &= there
                part = sign * own
                if places is None:
                    places = part
                else:
                    places = added(places, part) if self.line.exact else places + part
        assert places is not None, "a sum has a part"
        return places, complete

    def total(self, arrays: Arrays) -> tuple[pa.Array, Bool]:
        """Totals in the type of the column, null where a part is missing, and where none is."""
        places, complete = self.places(arrays)
        digits = self.decimals.get(self.config.total)
        if self.line.exact:
            places = (places + self.step // 2) // self.step * self.step if self.step > 1 else places
        elif digits is not None:
            places = np.round(places, digits)
        return self.line.cells(places, complete, self.kinds[self.config.total]), complete


class _Total(Step):
    """The total is not learnt, but where it can't be computed."""

    def __init__(self, field: str, config: Any, schema: pa.Schema) -> None:
        self.field, self._adder = field, _Adder(config, schema)
        self.writes, self.reads = (config.total,), (*config.plus, *config.minus)
        self._total = config.total
        self._gone = free_name(f"{config.total} (missing)", schema.names)
        self._alone = free_name(f"{config.total} (alone)", schema.names)
        self._learns: list[str] = []

    def fit(self, table: pa.Table, people: Int64 | None) -> None:
        self._adder.fit(table)
        arrays = self._arrays(table)
        _, complete = self._adder.total(arrays)
        own = self._there(arrays)
        self.sure = self._has_room(arrays)
        self._learns = [
            name
            for name, rows in ((self._gone, complete & ~own), (self._alone, ~complete & own))
            if rows.any()
        ]

    def learnt(self, table: pa.Table, *, known: bool = False) -> dict[str, list[Learnt]]:
        arrays = self._arrays(table)
        _, complete = self._adder.total(arrays)
        own, found = self._there(arrays), []
        if self._gone in self._learns:
            # Of an incomplete sum it says nothing; of a row that is to be filled, that the total is wanted.
            gone = pa.array(~own & (not known), pa.bool_(), mask=~complete & (not known))
            found.append(Learnt(self._gone, gone, ColumnRule(kind="boolean")))
        if self._alone in self._learns:
            kind = self._adder.kinds[self._total]
            array = pc.if_else(pa.array(~complete & (not known)), arrays[self._total], pa.scalar(None, kind))
            rule = ColumnRule(kind="integer") if pa.types.is_integer(kind) else ColumnRule()
            found.append(Learnt(self._alone, array, rule))
        return {self._total: found}

    def implied(self, table: pa.Table) -> pa.Table:
        """A part that alone is missing of a total that is there."""
        arrays = self._arrays(table)
        adder = self._adder
        total, has = adder.line.place(arrays[self._total])
        parts = {name: adder.line.place(arrays[name]) for name in self.reads}
        lacking = np.sum([~there for _, there in parts.values()], axis=0)
        others, _ = adder.places(arrays)
        for name, (own, there) in parts.items():
            rows = has & ~there & (lacking == 1)
            if rows.any():
                sign = 1 if name in adder.config.plus else -1
                # Its own place counts as 0, or as what Arrow keeps where nothing is.
                place = sign * (total - (others - sign * own))
                cells = adder.line.cells(np.where(rows, place, 0), rows, adder.kinds[name])
                filled = pc.if_else(pa.array(rows), cells, arrays[name])
                at = table.schema.get_field_index(name)
                table = table.set_column(at, table.schema.field(name), filled)
        return table

    def rebuilt(self, columns: Arrays, learnt: Arrays, *, bounded: bool) -> dict[str, pa.Array]:
        cells, complete = self._adder.total(columns)
        if self._gone in self._learns:
            gone = np.asarray(pc.fill_null(learnt[self._gone], False))
            cells = pc.if_else(pa.array(gone), pa.scalar(None, cells.type), cells)
        if self._alone in self._learns:
            cells = pc.if_else(pa.array(complete), cells, learnt[self._alone])
        return {self._total: cells}

    def state(self) -> dict[str, Any]:
        return {"decimals": self._adder.decimals, "learns": self._learns, "sure": self.sure}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._adder.decimals, self._learns = dict(state["decimals"]), list(state["learns"])
        self._adder.settle()
        self.sure = bool(state["sure"])

    def names(self) -> tuple[str, ...]:
        return tuple(self._learns)

    def _has_room(self, arrays: Arrays) -> bool:
        """Whether the column's type holds the sum of the largest parts, with some to spare."""
        kind = self._adder.kinds[self._total]
        if pa.types.is_floating(kind):
            return True
        parts = (np.abs(self._adder.line.place(arrays[name])[0]).max(initial=0) for name in self.reads)
        largest = 2.0 * sum(map(float, parts)) / self._adder.step
        if pa.types.is_integer(kind):
            return largest < float(np.iinfo(kind.to_pandas_dtype()).max)
        return largest < (10.0 ** min(kind.precision, 18) if pa.types.is_decimal(kind) else 2.0**62)

    def _arrays(self, table: pa.Table) -> dict[str, pa.Array]:
        return {name: flat(table[name]) for name in (self._total, *self.reads)}

    def _there(self, arrays: Arrays) -> Bool:
        own = arrays[self._total]
        if pa.types.is_floating(own.type):
            there: Bool = ~np.isnan(to_float64(own))
            return there
        return valid_rows(own)
