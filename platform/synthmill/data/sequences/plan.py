"""How the rows of sequences are unrolled: what a model learns of each row, and from what.

For each row a wide row: [its position | what all rows before come to | the changing columns of the rows
before it | the columns that are equal in the whole sequence | the gap since the row before, its changing
columns | whether it is the last].
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthmill.config import DataConfig, FrozenModel
from synthmill.data.columns import Int64, Numbers, flat
from synthmill.data.people import NEIGHBOURS
from synthmill.data.sequences.check import is_static
from synthmill.data.sequences.memory import MOST_LEVELS
from synthmill.data.sequences.order import Runs, order_numbers

LAGS = 2
EXACT_POSITIONS, MOST_POSITIONS = 32, 300
"""Positions below it have a code each; beyond, there are eight codes for each doubling."""


class SequencePlan(FrozenModel):
    """What the columns of a source are to its sequences; nothing of it is one person's."""

    keys: tuple[str, ...]
    made_anew: str
    """The key column whose values are new for each sequence; other key columns are static."""
    order: str | None
    static: tuple[str, ...]
    """In the order of the source."""
    changing: tuple[str, ...]
    lags: int
    max_length: int
    """Rows of the longest sequence that is generated."""
    mean_length: float
    """Of the training sequences."""
    positions: int
    """Codes of positions."""
    unit: int = 1
    """Of the order's whole numbers, dates and times: rows come a multiple of it after the one before."""
    remembers: bool = False
    """Whether rows are learnt from what their sequence has been like so far, too; models of before do not."""
    prefix: str = ""
    """Of the wide rows' own columns, so that no column of the source is called so."""

    @property
    def start(self) -> str:
        return f"{self.prefix}first {self.order}"

    @property
    def gap(self) -> str:
        return f"{self.prefix}{self.order} since the row before"

    @property
    def last(self) -> str:
        return f"{self.prefix}last row"

    @property
    def position(self) -> str:
        return f"{self.prefix}position"

    @property
    def fixed(self) -> tuple[str, ...]:
        """Columns of a wide row that are equal in the whole sequence."""
        return self.static if self.order is None else (*self.static, self.start)

    @property
    def moving(self) -> tuple[str, ...]:
        """Columns of a wide row that are drawn for each row."""
        return self.changing if self.order is None else (self.gap, *self.changing)

    @property
    def own(self) -> tuple[str, ...]:
        """Columns of a wide row but for its position and the rows before."""
        return (*self.fixed, *self.moving, self.last)

    def before(self, lag: int, name: str) -> str:
        """A moving column of the row `lag` rows before."""
        return f"{self.prefix}{name}, {lag} before"

    def so_far(self, number: int, name: str) -> str:
        """A figure of a moving column over all rows before."""
        return f"{self.prefix}{name}, so far ({number})"

    def code_of_position(self, position: Int64) -> Int64:
        """The code of each number of rows before, (N,)."""
        edges = position_edges(self.positions)
        codes: Int64 = np.searchsorted(edges, position, side="right") - 1
        return codes


def position_edges(codes: int) -> Int64:
    """The lowest position of each code, (codes,)."""
    beyond = [round(EXACT_POSITIONS * 2 ** (step / 8)) for step in range(1, max(1, codes - EXACT_POSITIONS))]
    edges: Int64 = np.array([*range(EXACT_POSITIONS + 1), *beyond], dtype=np.int64)[:codes]
    return edges


def plan_sequences(train: pa.Table, runs: Runs, config: DataConfig) -> SequencePlan:
    """The plan of the training rows, which are in `runs`."""
    assert config.group_by is not None
    # Different for each sequence whatever the other key columns are: the one that tells most of them apart.
    made_anew = max(config.group_by, key=lambda name: pc.count_distinct(train[name]).as_py())
    names = [name for name in train.column_names if name not in (made_anew, config.order_by)]
    static = [
        name
        for name in names
        if name in config.group_by
        or (name in config.static if config.static is not None else is_static(train, name, runs))
    ]
    lengths = np.sort(runs.lengths)
    # As many rows as five sequences reach, so that no length is one person's.
    longest = config.max_length or int(lengths[-NEIGHBOURS])
    positions = int(np.searchsorted(position_edges(MOST_POSITIONS), int(lengths[-1]) - 1, side="right"))
    plan = SequencePlan(
        keys=config.group_by,
        made_anew=made_anew,
        order=config.order_by,
        static=tuple(static),
        changing=tuple(name for name in names if name not in static),
        lags=config.lags or LAGS,
        max_length=longest,
        mean_length=float(lengths.mean()),
        positions=positions,
        remembers=True,
        unit=1 if config.order_by is None else _unit(order_numbers(train[config.order_by])[runs.rows], runs),
    )
    while _taken(plan) & set(train.column_names):
        plan = plan.model_copy(update={"prefix": plan.prefix + "_"})
    return plan


def _unit(numbers: Numbers, runs: Runs) -> int:
    """The largest number that all differences of neighbouring rows are multiples of; 1 for floats."""
    if numbers.dtype != np.int64:
        return 1
    return int(np.gcd.reduce(np.diff(numbers)[runs.position[1:] > 0])) or 1


def notes_of_plan(plan: SequencePlan, runs: Runs) -> tuple[str, ...]:
    """What a person should know of how sequences are learnt."""
    said = [
        f"{len(runs.starts):,} sequences to train on, of {plan.mean_length:.1f} rows on average; generated"
        f" ones have at most {plan.max_length:,}"
    ]
    static = [name for name in plan.static if name not in plan.keys]
    if static:
        said.append(f"drawn once a sequence, being equal in all its rows: {', '.join(map(repr, static))}")
    return tuple(said)


def unroll(table: pa.Table, plan: SequencePlan, runs: Runs, gaps: pa.Array | None) -> pa.Table:
    """A wide row for each row, in the order of the runs; `gaps` (N,) are in that order, missing for first
    rows."""
    place = np.arange(len(runs.rows))
    position = runs.position
    first = np.repeat(runs.starts, runs.lengths)
    columns: dict[str, pa.Array] = {}
    fields: list[pa.Field] = []

    def add(name: str, array: pa.Array, like: pa.Field | None = None) -> None:
        columns[name] = array
        fields.append(pa.field(name, array.type, metadata=None if like is None else like.metadata))

    taken = {name: flat(table[name]).take(pa.array(runs.rows)) for name in (*plan.static, *plan.changing)}
    if plan.order is not None:
        assert gaps is not None
        taken[plan.start] = flat(table[plan.order]).take(pa.array(runs.rows[first]))
        taken[plan.gap] = gaps
    taken[plan.last] = pa.array(np.append(position[1:] == 0, True)[: len(position)])
    add(plan.position, pa.array(plan.code_of_position(position)))
    for lag in range(plan.lags, 0, -1):
        # Taking at a missing place gives a missing cell.
        earlier = pa.array(np.maximum(place - lag, 0), mask=position < lag)
        for name in plan.moving:
            add(plan.before(lag, name), taken[name].take(earlier))
    for name in plan.own:
        add(name, taken[name], table.schema.field(name) if name in table.column_names else None)
    return pa.table(list(columns.values()), schema=pa.schema(fields))


def _taken(plan: SequencePlan) -> set[str]:
    """Names of the wide rows' own columns."""
    lags = {plan.before(lag, name) for lag in range(1, plan.lags + 1) for name in plan.moving}
    so_far = {plan.so_far(number, name) for number in range(2 * MOST_LEVELS) for name in plan.moving}
    return {plan.start, plan.gap, plan.last, plan.position, *lags, *so_far}
