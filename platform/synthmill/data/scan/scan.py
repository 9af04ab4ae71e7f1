"""A source that is scanned, not loaded: its rows, typed as reading it whole would type them, in as many
passes as are needed and never more than a block in memory.

Types are decided on a keyed sample of rows, and every pass holds every cell against them. The first pass runs
on what the first rows say, which is nearly always right; where the sample, or a cell that does not fit,
says otherwise, it runs again.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import numpy as np
import pyarrow as pa

from synthmill.config import DataConfig
from synthmill.data.columns import Int64, UInt64
from synthmill.data.conform import Conformed
from synthmill.data.formats.base import FIELD
from synthmill.data.inspection import Inspection
from synthmill.data.scan.block import Block, typed
from synthmill.data.scan.found import Found, Part, Runner, in_turn
from synthmill.data.scan.plan import Plan, make_plan
from synthmill.data.scan.raw import PART_BYTES, PART_ROWS, Raw
from synthmill.data.scan.sample import SAMPLE_ROWS, KeyedSample
from synthmill.data.scan.sides import common_contents
from synthmill.data.schema import Rules
from synthmill.errors import DataError

MOST_PASSES = 6
PROBE_ROWS = 65_536


class Consumer(Part, Protocol):
    """What goes over all rows once."""

    def accepts(self, terms: "Terms") -> bool:
        """Whether what was found holds on the terms that the pass ended with."""


C = TypeVar("C", bound=Consumer)


class _Nobody:
    """Goes over the rows for what the scan itself finds."""

    def add(self, block: Block) -> None:
        """Nothing is kept."""

    def merge(self, other: "_Nobody") -> None:
        """There is nothing."""

    def accepts(self, terms: "Terms") -> bool:
        return True


@dataclass(frozen=True)
class Terms:
    """What a pass takes for granted."""

    sample: pa.Table
    """Rows that decided, typed."""
    common: UInt64
    """Hashes of the contents that are dealt out row by row."""

    @property
    def schema(self) -> pa.Schema:
        return self.sample.schema


class Scan:
    """One source. `settle` first."""

    schema: pa.Schema
    """Columns as `Source.table` would have them."""
    sample: pa.Table
    """The keyed sample, typed, in the order of the source."""
    sample_rows: Int64
    """Numbers of its rows."""
    num_rows: int
    common: UInt64
    runner: Runner
    """Goes over the rows of a pass that settles; those of a job may be others' than this process's."""

    def __init__(
        self,
        raw: Raw,
        config: DataConfig,
        rules: Rules,
        check: Callable[[Conformed], None],
        look: Callable[[Conformed, tuple[str, ...]], Inspection],
    ) -> None:
        """`check` raises DataError for columns that no model can learn from; `look` tells of all columns,
        those among them."""
        self._raw, self._config, self._check, self._look = raw, config, check, look
        self.rules = rules
        self.runner = in_turn
        self._plan: Plan | None = None
        self._first: tuple[Plan, Terms] | None = None

    @property
    def uri(self) -> str:
        return self._raw.uri

    @property
    def sha256(self) -> str:
        """Of the source's bytes, as `Source` has it."""
        assert self._raw.digest is not None, "settled scans know it"
        return self._raw.digest

    @property
    def weight_bytes(self) -> int:
        """About what training would hold in memory if the source were read whole."""
        return self._raw.weight_bytes

    @property
    def weight_parts(self) -> float:
        """About how many parts of `PART_ROWS` rows it has, or of as many bytes of text."""
        rows = self._raw.num_rows
        return self._raw.num_bytes / PART_BYTES if rows is None else rows / PART_ROWS

    @property
    def notes(self) -> tuple[str, ...]:
        """How it was read, and what is learnt of which column."""
        assert self._plan is not None
        notes = self._plan.conformed.notes
        if self.sample.num_rows < self.num_rows:
            notes = tuple(f"{note} (in a sample of {self.sample.num_rows:,} rows)" for note in notes)
        return (*self._raw.notes, *notes)

    def probe(self) -> Terms:
        """What the first rows say.

        Raises:
            DataError: what they alone show, and a rule for an unknown column.
        """
        if self._first is None:
            first = next(self._raw.blocks(), None)
            if first is None:
                raise self._too_few(0)
            first = first.slice(0, PROBE_ROWS)
            plan = make_plan(first, self._raw.cells, self._config, self.rules, np.arange(first.num_rows))
            self._first = plan, Terms(plan.conformed.table, common_contents(plan.conformed.table))
        return self._first[1]

    def settle(self, begin: Callable[[Terms], C]) -> C:
        """Go over all rows with what `begin` makes, once more whenever the terms turn out to be others.

        Raises:
            DataError: all that reading the source whole would raise, each column at fault in one line.
        """
        self.probe()
        assert self._first is not None, "probed"
        (plan, terms), self._first = self._first, None
        odd: list[tuple[pa.Table, Int64]] = []
        for _ in range(MOST_PASSES):
            seen = self._pass(plan, begin(terms))
            found = seen.odd_rows()
            odd += [found] if found is not None else []
            raw_rows, numbers = seen.sample.rows()
            decided, typed = self._decide(raw_rows, numbers, odd)
            now = Terms(typed, common_contents(typed))
            same = found is None and decided.key == plan.key and np.array_equal(now.common, terms.common)
            if same and seen.consumer.accepts(now):
                table = self._raw.described(typed)
                self._plan, self.common, self.schema = decided, now.common, table.schema
                self.sample, self.sample_rows = table, numbers
                return seen.consumer
            plan, terms = decided, now
        assert found is not None, "terms that nothing contradicts are settled"
        raise self._unsettled(plan, *found)

    def inspect(self) -> Inspection:
        """What the columns hold, those at fault among them: of the sample, which every cell was held
        against."""
        self._check = lambda made: None
        self.settle(lambda terms: _Nobody())
        assert self._plan is not None, "settled"
        seen = self._look(self._plan.conformed, self._raw.notes)
        how = (
            f"{self.uri} has {self.num_rows:,} rows and is read in blocks: this is what {seen.rows:,} of them"
            " hold, and all cells agree with it"
        )
        return replace(seen, notes=(how, *seen.notes))

    def blocks(self) -> Iterator[Block]:
        """All rows, once more.

        Raises:
            DataError: they are not those that the scan settled on.
        """
        assert self._plan is not None, "settle first"
        row = 0
        for raw in self._raw.blocks():
            block, odd = typed(self._plan.columns, raw, row)
            if odd:
                at = np.unique(np.concatenate(list(odd.values())))
                raise self._unsettled(self._plan, raw.take(pa.array(at)), row + at)
            yield block
            row += raw.num_rows

    def column(self, name: str) -> Iterator[pa.Array]:
        """One column of all rows, block by block."""
        assert self._plan is not None, "settle first"
        plan = next(column for column in self._plan.columns if column.name == name)
        kind = self.schema.field(name).type
        for raw in self._raw.blocks([name]):
            values, _ = plan.apply(raw[name])
            yield values if values.type == kind else values.cast(kind)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All rows as `schema` says, in order."""
        for block in self.blocks():
            yield from as_schema(block.table, self.schema).to_batches()

    def _pass(self, plan: Plan, consumer: C) -> Found[C]:
        sample = KeyedSample(SAMPLE_ROWS, self._config.split.seed, self._raw.num_rows)
        found = Found(plan.columns, sample, consumer)
        self.runner(found, self._raw)
        self._raw.heed(found.levels)
        self.num_rows = found.rows
        if found.rows < 2:
            raise self._too_few(found.rows)
        return found

    def _too_few(self, rows: int) -> DataError:
        shown = "one row" if rows == 1 else "no rows"
        return DataError(
            f"{self._config.source} has {shown}; a model needs at least 2, and hundreds to be of use",
            field=FIELD,
        )

    def _decide(
        self, rows: pa.Table, numbers: Int64, odd: list[tuple[pa.Table, Int64]]
    ) -> tuple[Plan, pa.Table]:
        """The plan of the sampled rows together with all that did not fit before, and the sample as it has
        it."""
        names = self._raw.schema.names
        rows = rows.select(names)
        parts, at = [rows], [numbers]
        for table, found in odd:
            new = ~np.isin(found, np.concatenate(at))
            parts.append(table.select(names).filter(pa.array(new)))
            at.append(found[new])
        both = pa.concat_tables(parts, promote_options="permissive").combine_chunks()
        order = np.argsort(np.concatenate(at), kind="stable")
        if odd:
            both = both.take(pa.array(order))
        plan = make_plan(both, self._raw.cells, self._config, self.rules, np.concatenate(at)[order])
        self._check(plan.conformed)
        typed = plan.conformed.table
        kept = order < rows.num_rows
        return plan, typed if kept.all() else typed.filter(pa.array(kept))

    def _unsettled(self, plan: Plan, raw: pa.Table, rows: Int64) -> DataError:
        """The error for a cell that no plan fits."""
        for column in plan.columns:
            _, odd = column.apply(raw[column.name])
            if odd is not None and odd.any():
                at = int(np.flatnonzero(odd)[0])
                cell = raw[column.name][at].as_py()
                return DataError(
                    f"column {column.name!r} holds {column.field.type}, as a sample of {SAMPLE_ROWS:,} rows"
                    f" has it, but also {cell!r} (row {rows[at] + 1:,}); correct it, take it for missing (add"
                    f" it to `data.null_values`), or state the column's kind in a schema file",
                    field=FIELD,
                )
        return DataError(
            f"{self.uri} holds other values in one pass than in the next; wait until it is complete",
            field=FIELD,
        )


def as_schema(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """A block's rows with plain text, as the schema says."""
    columns = [
        column if column.type == field.type else column.cast(field.type)
        for column, field in zip(table.columns, schema, strict=True)
    ]
    return pa.table(columns, schema=schema)
