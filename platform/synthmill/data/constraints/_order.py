"""Columns in order, all `inequality` and `range` constraints of a recipe at once.

A column that others precede is learnt as its distance from the highest of those, which is never negative, and
rebuilt as their sum. What has no such distance is learnt as it is, beside it: cells before which nothing
stands, and dates that stand for none. Bounds are handed on, so that a column never ends above what a later
one may reach.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from graphlib import CycleError, TopologicalSorter
from typing import Any

import numpy as np
import pyarrow as pa

from synthmill.data.bounds import common_step, outer_bound, scaled_bound
from synthmill.data.columns import Bool, Int64, Numbers, flat, from_int64, to_int64, valid_rows
from synthmill.data.constraints._line import Line, added, compared, decimals_of, family
from synthmill.data.constraints.base import Arrays, Learnt, Limit, Precedes, Step, free_name
from synthmill.data.people import NEIGHBOURS, count_sharers, outermost, picked
from synthmill.data.schema import ColumnRule
from synthmill.data.sentinels import apart

_FREE = 2**62
"""Places are kept within it, so that one more step is a number of 64 bits."""


class Ordered(Step):
    """Columns that are compared with one another, directly or by way of others, and their bounds."""

    def __init__(
        self,
        field: str,
        names: Sequence[str],
        precedes: Sequence[Precedes],
        limits: Sequence[Limit],
        schema: pa.Schema,
    ) -> None:
        """`names`: as the table has them. Raises CycleError where columns precede themselves."""
        self.field, self.kinds = field, {name: schema.field(name).type for name in names}
        self.limits = tuple(limits)
        before: dict[str, dict[str, bool]] = {name: {} for name in names}
        for low, high, strict in precedes:
            before[high][low] = strict or before[high].get(low, False)
        self.sequence = list(TopologicalSorter(before).static_order())
        self.before: dict[str, dict[str, bool]] = {}
        """Of each column all that precede it, and whether it lies strictly above."""
        for name in self.sequence:
            reached = dict(before[name])
            for low, strict in before[name].items():
                for far, far_strict in self.before[low].items():
                    reached[far] = reached.get(far, False) or strict or far_strict
            self.before[name] = reached
        self.bounded = {limit.column for limit in limits}
        self.distant = [name for name in self.sequence if self.before[name]]
        later = {low for name in self.bounded for low in self.before[name]}
        clipped = self.bounded | later | (set(self.distant) if limits else set())
        self.writes = tuple(name for name in self.sequence if name in clipped or self.before[name])
        self.kept = frozenset(name for name in self.writes if not self.before[name])
        self.reads = tuple(name for name in self.sequence if name not in self.writes)
        taken = [*schema.names]
        self._gap = {name: free_name(f"{name} (distance)", taken) for name in self.distant}
        self._alone = {name: free_name(f"{name} (alone)", taken) for name in self.distant}

    def fit(self, table: pa.Table, people: Int64 | None) -> None:
        arrays = {name: flat(table[name]) for name in self.sequence}
        self._decimals = {
            name: decimals_of(arrays[name]) for name, kind in self.kinds.items() if pa.types.is_floating(kind)
        }
        self._line = Line.of(self.kinds, self._decimals)
        self._sentinels = {name: _sentinels(arrays[name], people) for name in self.sequence}
        self._steps: dict[str, int] = {}
        self._most: dict[str, int | float] = {}
        self._has_alone: list[str] = []
        for name in self.sequence:
            self._steps[name] = self._step_of(name, arrays[name])
        for name in self.distant:
            places, there = self._places(name, arrays[name])
            inner = outermost(places[there], picked(people, there), lowest=False)
            if len(inner) >= NEIGHBOURS and self._line.exact:
                self._most[name] = int(outer_bound(inner, None, 1, None))
            elif len(inner) >= NEIGHBOURS:
                self._most[name] = float(np.mean(inner))
            base, has_base = self._base(name, arrays)
            _, fits = self._gaps(places, base, there & has_base)
            if (valid_rows(arrays[name]) & ~fits).any():
                self._has_alone.append(name)

    def learnt(self, table: pa.Table, *, known: bool = False) -> dict[str, list[Learnt]]:
        arrays = {name: flat(table[name]) for name in self.sequence}
        found: dict[str, list[Learnt]] = {}
        for name in self.distant:
            places, there = self._places(name, arrays[name])
            base, has_base = self._base(name, arrays)
            if known:
                # What precedes it and is missing may come to lie above all that is there.
                has_base &= np.logical_and.reduce([valid_rows(arrays[low]) for low in self.before[name]])
            gaps, fits = self._gaps(places, base, there & has_base)
            kind = self._line.gap_type
            gap = from_int64(gaps, fits, kind) if self._line.exact else pa.array(gaps, kind, mask=~fits)
            rule = ColumnRule(kind="integer") if pa.types.is_integer(kind) else ColumnRule()
            found[name] = [Learnt(self._gap[name], gap, rule)]
            if name in self._has_alone:
                alone = pa.array(valid_rows(arrays[name]) & ~fits & (not known))
                array = pa.compute.if_else(alone, arrays[name], pa.scalar(None, self.kinds[name]))
                whole = pa.types.is_integer(self.kinds[name])
                rule = ColumnRule(kind="integer") if whole else ColumnRule()
                found[name].append(Learnt(self._alone[name], array, rule))
        return found

    def rebuilt(self, columns: Arrays, learnt: Arrays, *, bounded: bool) -> dict[str, pa.Array]:
        out = {name: columns[name] for name in (*self.reads, *self.kept)}
        lowest, highest = self._ends()
        for name in self.sequence:
            kind = self.kinds[name]
            if name in self.reads:
                continue
            if name in self.kept:
                places, there = self._places(name, out[name])
                held = self._within(name, places, lowest.get(name), highest.get(name))
                out[name] = _replaced(
                    out[name], self._line.cells(held, there, kind), there & (held != places)
                )
                continue
            base, has_base = self._base(name, out)
            gap = learnt[self._gap[name]]
            gaps = to_int64(gap) if self._line.exact else np.nan_to_num(gap.to_numpy(zero_copy_only=False))
            use = valid_rows(gap) & has_base
            if not self._line.exact:
                use &= ~np.isnan(gap.to_numpy(zero_copy_only=False).astype(np.float64))
            gaps = np.maximum(gaps, 0)
            places = added(base, gaps) if self._line.exact else base + gaps
            top = highest.get(name)
            if bounded and name in self._most:
                top = self._most[name] if top is None else min(top, self._most[name])
            places = self._above(name, self._within(name, places, lowest.get(name), top), base, has_base)
            cells = self._line.cells(places, use, kind)
            if name in self._has_alone:
                cells = self._beside(name, cells, use, learnt[self._alone[name]], out)
            out[name] = self._raised(name, cells, out)
        return {name: out[name] for name in self.writes}

    def names(self) -> tuple[str, ...]:
        return (*self._gap.values(), *(self._alone[name] for name in self._has_alone))

    def decided_by(self, column: str) -> frozenset[str]:
        return frozenset((column, *self.before[column]))

    def stands_for(self, column: str) -> str | None:
        return column if column in self.kept else None

    def contradiction(self, limits: Sequence[Limit], schema: pa.Schema) -> str | None:
        """Bounds that leave no value for a column, with what the bounds of others come to."""
        self._decimals = {name: 9 for name, kind in self.kinds.items() if pa.types.is_floating(kind)}
        self._line = Line.of(self.kinds, self._decimals)
        self._steps = {name: self._line.ticks(kind, 9) for name, kind in self.kinds.items()}
        lowest, highest = self._ends()
        for name in self.sequence:
            low, high = lowest.get(name), highest.get(name)
            if low is not None and high is not None and low > high:
                return name
        return None

    def state(self) -> dict[str, Any]:
        return {
            "decimals": self._decimals,
            "sentinels": {name: found.tolist() for name, found in self._sentinels.items() if len(found)},
            "steps": self._steps,
            "most": self._most,
            "alone": self._has_alone,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self._decimals = dict(state["decimals"])
        self._line = Line.of(self.kinds, self._decimals)
        self._sentinels = {
            name: np.array(state["sentinels"].get(name, ()), np.int64) for name in self.sequence
        }
        self._steps, self._most = dict(state["steps"]), dict(state["most"])
        self._has_alone = list(state["alone"])

    def _step_of(self, name: str, array: pa.Array) -> int:
        """Ticks between values that the column can have."""
        kind = self.kinds[name]
        if not self._line.exact:
            return 1
        own = self._line.ticks(kind, self._decimals.get(name))
        if pa.types.is_floating(kind):
            return own
        whole = to_int64(array)[valid_rows(array)]
        whole = whole[~np.isin(whole, self._sentinels[name])]
        return own * common_step(np.unique(whole), kind)

    def _places(self, name: str, array: pa.Array) -> tuple[Numbers, Bool]:
        """Where a column's values lie, and which of them are not missing and stand for a value."""
        places, there = self._line.place(array)
        if len(self._sentinels[name]):
            there = there & ~np.isin(to_int64(array), self._sentinels[name])
        if self._line.exact:
            there = there & (np.abs(places) < _FREE)
        return places, there

    def _base(self, name: str, arrays: Arrays) -> tuple[Numbers, Bool]:
        """The lowest place that the columns before one leave to it, and where there is one."""
        base: Numbers | None = None
        has = np.zeros(0, dtype=bool)
        for low, strict in self.before[name].items():
            places, there = self._places(low, arrays[low])
            if strict and self._line.exact:
                places = places + 1
            elif strict:
                places = np.nextafter(places, np.inf)
            if base is None:
                base, has = np.where(there, places, 0), there
            else:
                base = np.where(there & (~has | (places > base)), places, base)
                has = has | there
        assert base is not None, f"nothing precedes {name}"
        return base, has

    def _gaps(self, places: Numbers, base: Numbers, both: Bool) -> tuple[Numbers, Bool]:
        """Distances, and where they are numbers of 64 bits."""
        with np.errstate(over="ignore", invalid="ignore"):
            gaps = np.where(both, places - base, 0)
        fits = both & (gaps >= 0) & np.isfinite(gaps)
        return np.where(fits, gaps, 0), fits

    def _within(self, name: str, places: Numbers, low: Any, high: Any) -> Numbers:
        """Places between bounds, on the column's grid where the bounds hold a value of it."""
        if high is not None:
            places = np.minimum(places, high)
        return places if low is None else np.maximum(places, low)

    def _above(self, name: str, places: Numbers, base: Numbers, has_base: Bool) -> Numbers:
        """Places on the column's grid and not below their base: the next one up."""
        if self._line.exact:
            step = self._steps[name]
            up = np.maximum(places, np.where(has_base, base, places))
            whole: Numbers = np.clip(-(-up // step) * step, -(2**63) + 1, 2**63 - 1)
            return whole
        digits = self._decimals.get(name, 0)
        if digits is None:
            return np.maximum(places, np.where(has_base, base, places))
        near = np.round(places, digits)
        low = np.where(has_base, base, near)
        up = np.ceil(low * 10.0**digits) / 10.0**digits
        near = np.where(near < low, up, near)
        return np.where(near < low, up + 10.0**-digits, near)

    def _beside(self, name: str, cells: pa.Array, use: Bool, alone: pa.Array, out: Arrays) -> pa.Array:
        """The cells with those that were learnt as they are where no distance tells of one. After a date that
        stands for none nothing but such a cell is likely, whatever distance came with it."""
        valid, odd = valid_rows(alone), np.zeros(len(use), dtype=bool)
        for low in self.before[name]:
            if len(self._sentinels[low]):
                odd |= valid_rows(out[low]) & np.isin(to_int64(out[low]), self._sentinels[low])
        return _replaced(cells, alone, valid & (~use | odd))

    def _raised(self, name: str, cells: pa.Array, out: Arrays) -> pa.Array:
        """Cells that lie below a cell before them, as one that is learnt alone can, as the least that does
        not. Compared as they are written: places of floats are rounded."""
        kind = self.kinds[name]
        for low, strict in self.before[name].items():
            wrong = ~compared(out[low], cells, strict=strict)
            if not wrong.any():
                continue
            places, there = self._line.place(out[low])
            if pa.types.is_floating(kind):
                least = self._line.cells(places, there, kind)
                own = least.to_numpy(zero_copy_only=False)
                floats = np.asarray(out[low].cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))
                over = np.nextafter(floats.astype(own.dtype), np.array(np.inf, own.dtype))
                least = pa.array(over if strict else np.maximum(own, floats.astype(own.dtype)), kind)
            else:
                base = places + (1 if strict else 0) if self._line.exact else np.floor(places) + 1
                step = self._steps[name]
                least = self._line.cells(-(-base // step) * step, there, kind)
            cells = _replaced(cells, least, wrong)
        return cells

    def _ends(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The least and the largest place of each column that its own bounds, and those of others, leave."""
        lowest: dict[str, Any] = {}
        highest: dict[str, Any] = {}
        for limit in self.limits:
            for bound, side in ((limit.minimum, lowest), (limit.maximum, highest)):
                if bound is None:
                    continue
                place = self._bound(limit.column, bound, limit.strict, up=side is lowest)
                known = side.get(limit.column, place)
                side[limit.column] = max(known, place) if side is lowest else min(known, place)
        for name in self.sequence:
            for low, strict in self.before[name].items():
                if low in lowest:
                    least = self._up(name, self._next(lowest[low], strict, 1))
                    lowest[name] = max(lowest.get(name, least), least)
        for name in reversed(self.sequence):
            for low, strict in self.before[name].items():
                if name in highest:
                    most = self._down(low, self._next(highest[name], strict, -1))
                    highest[low] = min(highest.get(low, most), most)
        return lowest, highest

    def _bound(self, name: str, bound: int | float | str, strict: bool, *, up: bool) -> Any:
        """A stated bound as a place on the column's grid, inside."""
        if not self._line.exact:
            return self._next(float(bound), strict, 1 if up else -1)
        if isinstance(bound, str):
            stated = pa.array([scaled_bound(name, bound, 0, pa.timestamp("us"))]).cast(pa.timestamp("us"))
            whole = Line(exact=True, per=10**6, unit="us")
            place = int(whole.place(stated)[0][0])
            # Microseconds on the column's line, rounded to the inside.
            per = self._line.per if self._line.unit != "d" else 1
            numerator, divisor = (place * per, 10**6) if self._line.unit != "d" else (place, 86_400 * 10**6)
            at, rest = divmod(numerator, divisor)
            at += 1 if rest and up else 0
            strict = strict and not rest
        else:
            exact = Fraction(str(bound)) * self._line.per
            at = int(-(-exact.numerator // exact.denominator)) if up else exact.numerator // exact.denominator
            strict = strict and exact.denominator == 1
        at = max(-_FREE, min(_FREE, self._next(at, strict, 1 if up else -1)))
        return self._up(name, at) if up else self._down(name, at)

    def _next(self, place: Any, strict: bool, way: int) -> Any:
        if not strict:
            return place
        return place + way if self._line.exact else float(np.nextafter(place, way * np.inf))

    def _up(self, name: str, place: Any) -> Any:
        step = self._steps[name] if self._line.exact else 0
        return -(-place // step) * step if step else place

    def _down(self, name: str, place: Any) -> Any:
        step = self._steps[name] if self._line.exact else 0
        return place // step * step if step else place


def ordered_steps(
    precedes: Sequence[tuple[str, Precedes]], limits: Sequence[tuple[str, Limit]], schema: pa.Schema
) -> tuple[list[Ordered], list[str]]:
    """The steps of all comparisons and bounds, each with the field that states it, one for each group of
    columns that hang together; and what contradicts itself."""
    group = {name: {name} for _, one in precedes for name in (one.low, one.high)}
    group |= {limit.column: {limit.column} for _, limit in limits if limit.column not in group}
    for _, one in precedes:
        both = group[one.low] | group[one.high]
        for name in both:
            group[name] = both
    steps, faults = [], []
    for names in {id(found): found for found in group.values()}.values():
        own = [(field, one) for field, one in precedes if one.low in names]
        bounds = [(field, limit) for field, limit in limits if limit.column in names]
        fields = sorted({field for field, _ in (*own, *bounds)})
        ordered = [name for name in schema.names if name in names]
        try:
            step = Ordered(
                fields[0], ordered, [one for _, one in own], [limit for _, limit in bounds], schema
            )
        except CycleError as fault:
            circle = " <= ".join(reversed(fault.args[1]))
            faults.append(f"{', '.join(fields)}: contradict each other ({circle}); leave one of them out")
            continue
        empty = step.contradiction(step.limits, schema)
        if empty is not None:
            faults.append(f"{', '.join(fields)}: leave no value for {empty!r}; widen the bounds")
        steps.append(step)
    return steps, faults


def order_fault(names: Sequence[str], schema: pa.Schema) -> str | None:
    """Why columns can't be compared with each other."""
    families = {name: family(schema.field(name).type) for name in names}
    odd = next((name for name, found in families.items() if found is None), None)
    if odd is not None:
        return f"{odd!r} is {schema.field(odd).type}, which has no order; use numbers, dates or times"
    first, other = names[0], next((name for name in names if families[name] != families[names[0]]), None)
    if other is not None:
        return (
            f"{first!r} holds {families[first]} and {other!r} {families[other]}; compare columns of one kind"
        )
    return None


def _sentinels(array: pa.Array, people: Int64 | None) -> Int64:
    """Dates of a column that stand for none, in its own unit."""
    if not (pa.types.is_date(array.type) or pa.types.is_timestamp(array.type)):
        return np.zeros(0, np.int64)
    valid = valid_rows(array)
    distinct, codes = np.unique(to_int64(array)[valid], return_inverse=True)
    sharers = count_sharers(codes.reshape(-1), len(distinct), picked(people, valid))
    return distinct[apart(distinct, sharers, array.type, NEIGHBOURS).sentinels]


def _replaced(cells: pa.Array, others: pa.Array, where: Bool) -> pa.Array:
    return pa.compute.if_else(pa.array(where), others, cells) if where.any() else cells
