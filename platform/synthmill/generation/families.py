"""Rows of several tables that belong together: parents first, children given their parents, keys last.

The unit of work is a stretch: rows of a table without an owner, with everything that hangs on them. A stretch
follows from the seed and its place alone, so stretches are computed anywhere, in any order. Only keys are
numbered over all of them, from the sizes of the stretches before; and tables of which rows are chosen for
others are computed whole, by whoever needs them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
import torch

from synthmill.data.batch import Batch, concat
from synthmill.data.codecs.base import Codec
from synthmill.data.columns import Int64, flat
from synthmill.data.constraints.base import FIELD as CONSTRAINTS
from synthmill.data.relations import match
from synthmill.data.relations.keys import cast_cells
from synthmill.data.relations.spec import NAMED, NONE, FamiliesSpec, RelationSpec, TableSpec
from synthmill.errors import TooRareError, UserError
from synthmill.generation.completing import ATTEMPTS, as_block
from synthmill.generation.condition import Where
from synthmill.generation.family_plan import FamilyPlan, Stretch
from synthmill.generation.generator import Generator
from synthmill.generation.rejection import subject
from synthmill.generation.sampler import BLOCK_ROWS, block_seed, device_of, one_thread

PATH = 2**32
"""Of these blocks' seeds, beside those of completed and of sampled rows."""
AGAIN = 2**21
"""Of rows that are drawn again, beside the blocks of the first draw."""
DEALT = 2**20
"""Of what is drawn once for a relation, beside the stretches."""


@dataclass(frozen=True)
class Part:
    """Rows of one table in one stretch, before they have keys."""

    batch: Batch
    typed: pa.Table
    """As they are compared; without what is made anew."""
    owner: Int64
    """The row of the owner in the same stretch, -1 where there is none, (N,)."""
    named: dict[int, Int64]
    """By place of the relation: rows chosen from a whole table, or rows above in the same stretch."""

    @property
    def rows(self) -> int:
        return len(self.owner)


@dataclass(frozen=True)
class Whole:
    """All rows of a table of which rows are chosen: what choosing needs of them."""

    typed: pa.Table
    """Columns that tell of a row."""
    keys: pa.Table
    tickets: dict[str, Int64] = field(default_factory=dict)
    """By column of counts: rows as often as they are due children, shuffled."""


class Families:
    """Models of tables that belong together, ready to sample a plan."""

    def __init__(
        self,
        spec: FamiliesSpec,
        generators: Mapping[str, Generator],
        plan: FamilyPlan,
        wholes: Mapping[str, Whole] | None = None,
    ) -> None:
        """`wholes`: the plan's tables of which rows are chosen, where somebody has computed them; else they
        are, when they are needed."""
        self.spec, self.generators, self.plan = spec, dict(generators), plan
        self._wholes: dict[str, Whole] = dict(wholes or {})

    def wholes(self) -> dict[str, Whole]:
        """All tables of which rows are chosen.

        Raises:
            UserError: one would have no rows.
        """
        return {name: self._whole(name) for name in self.spec.chosen()}

    def tables(self) -> dict[str, pa.Table]:
        """All rows of all tables, as they are published, in the order of the schema.

        Raises:
            UserError: keys whose type has no room for so many rows.
        """
        parts: dict[str, list[pa.Table]] = {table.name: [] for table in self.spec.tables}
        offsets = dict.fromkeys(parts, 0)
        for stretch in self.plan.stretches():
            for name, table in self.finished(stretch, self.parts(stretch), offsets).items():
                parts[name].append(table)
                offsets[name] += table.num_rows
        return {name: pa.concat_tables(tables) for name, tables in parts.items()}

    def sizes(self, stretch: Stretch) -> dict[str, int]:
        """Rows of each table in a stretch, at the least cost: what nothing hangs on is only counted."""
        family = self.spec.family(stretch.root)
        owners = {table.owner.parent for table in family if table.owner is not None}
        parts = self.parts(stretch, owners)
        sizes = {}
        for table in family:
            known = parts.get(table.name)
            sizes[table.name] = len(self._owners(table, stretch, parts)) if known is None else known.rows
        return sizes

    def parts(self, stretch: Stretch, wanted: set[str] | None = None) -> dict[str, Part]:
        """The tables of a stretch, parents first; `wanted`: those and what is above them."""
        family = self.spec.family(stretch.root)
        if wanted is not None:
            family = [table for table in family if table.name in self._with_owners(wanted)]
        parts: dict[str, Part] = {}
        with one_thread():
            for table in family:
                parts[table.name] = self._part(table, stretch, parts)
        return parts

    def finished(
        self, stretch: Stretch, parts: Mapping[str, Part], offsets: Mapping[str, int]
    ) -> dict[str, pa.Table]:
        """Rows with keys, as they are published; `offsets` are the numbers of each table's first rows."""
        made: dict[str, pa.Table] = {}
        for name, part in parts.items():
            table, first = self.spec.table(name), offsets[name]
            keys = self._keys(table, part, parts, made, first)
            codec = self.generators[name].codec
            with one_thread():
                decoded = (
                    codec.decode(part.batch, first_row=first) if part.rows else codec.schema.empty_table()
                )
            form = codec.form.select(table.own)
            own = form.write(decoded.select(table.own))
            cells = [keys[column] if column in keys else own[column] for column in table.columns]
            kinds = table.schema_of_keys
            fields = [
                kinds.field(column) if column in keys else form.schema.field(column)
                for column in table.columns
            ]
            made[name] = pa.table(cells, schema=pa.schema(fields))
        return made

    def _part(self, table: TableSpec, stretch: Stretch, parts: Mapping[str, Part]) -> Part:
        owner = self._owners(table, stretch, parts)
        given = self._given(table, owner, parts)
        named: dict[int, Int64] = {}
        path = (self._number(table.name), stretch.index)
        chosen = [place for place, one in enumerate(table.relations) if one.role == "chosen"]
        if chosen and len(owner):
            # What the rows' other parents should be like is drawn first; then they are chosen, and the rows
            # are drawn again, given what was chosen.
            wish = self._typed(table, self._drawn(table, given, len(owner), (*path, 0)))
            for place in chosen:
                named[place] = self._choose(table, place, stretch, owner, wish)
                given |= self._known(table.relations[place], named[place])
        if table.name in self.plan.where:
            batch = self._asked(table, len(owner), path)
        else:
            batch = self._drawn(table, given, len(owner), (*path, 1))
        typed = self._typed(table, batch)
        for place, one in enumerate(table.relations):
            if one.role == "chosen" and not len(owner):
                named[place] = np.zeros(0, np.int64)
            if one.role == "self":
                named[place] = self._above(table, one, stretch, owner, typed)
        return Part(batch, typed, owner, named)

    def _owners(self, table: TableSpec, stretch: Stretch, parts: Mapping[str, Part]) -> Int64:
        """The owner's row of each row, in order; the owner's drawn number of children decides how many."""
        relation = table.owner
        if relation is None:
            return np.full(stretch.stop - stretch.first, -1, dtype=np.int64)
        counts = _whole_numbers(parts[relation.parent].typed, relation.count)
        most = relation.most
        if table.unique_parent is not None:
            # No row of the owner can have more different ones than there are.
            most = self._whole(table.relations[table.unique_parent].parent).keys.num_rows
        counts = counts if most is None else np.minimum(counts, most)
        first, stop = self.plan.share(self.plan.free.get(table.name, 0), stretch)
        nobody = np.full(stop - first, -1, dtype=np.int64)
        return np.concatenate([np.repeat(np.arange(len(counts)), counts), nobody])

    def _given(self, table: TableSpec, owner: Int64, parts: Mapping[str, Part]) -> dict[str, pa.Array]:
        """What the owner, and who is above it, tell of each row."""
        relation = table.owner
        if relation is None:
            return {}
        index, above = {relation.parent: owner}, self.spec.table(relation.parent).owner
        if above is not None:
            index[above.parent] = _through(parts[relation.parent].owner, owner)
        return {
            column.name: column.texts(
                _through(column.codes(parts[column.table].typed[column.source]), index[column.table])
            )
            for column in relation.contexts
        }

    def _known(self, relation: RelationSpec, named: Int64) -> dict[str, pa.Array]:
        """What the chosen rows tell."""
        typed = self._whole(relation.parent).typed
        rows = pa.array(np.maximum(named, 0))
        known = {
            column.name: column.texts(
                np.where(named >= 0, column.codes(flat(typed[column.source]).take(rows)), -1)
            )
            for column in relation.contexts
        }
        if relation.flag is not None:
            known[relation.flag] = pa.array(np.where(named >= 0, NAMED, NONE).tolist(), pa.string())
        return known

    def _choose(self, table: TableSpec, place: int, stretch: Stretch, owner: Int64, wish: pa.Table) -> Int64:
        """Rows of a whole table, for rows that are drawn as `wish` says."""
        relation = table.relations[place]
        whole = self._whole(relation.parent)
        rng = self._rng(table.name, place, stretch.index)
        rows = np.arange(len(owner))
        if relation.flag is not None:
            rows = np.flatnonzero(
                np.asarray(
                    flat(wish[relation.flag]).cast(pa.string()).to_numpy(zero_copy_only=False) == NAMED
                )
            )
        tickets = whole.tickets[relation.count]
        first, _ = self.plan.share(len(tickets), stretch)
        offered = match.dealt(tickets, first, len(rows))
        wanted_NK = _stack(
            [column.codes_of_texts(wish[column.name])[rows] for column in relation.contexts], len(rows)
        )
        offered_TK = _stack(
            [
                column.codes(flat(whole.typed[column.source]).take(pa.array(offered)))
                for column in relation.contexts
            ],
            len(rows),
        )
        named = np.full(len(owner), -1, dtype=np.int64)
        named[rows] = offered[match.pair(wanted_NK, offered_TK, rng)]
        if table.unique_parent == place:
            named = match.apart(owner, named, whole.keys.num_rows, rng)
        return named

    def _above(
        self, table: TableSpec, relation: RelationSpec, stretch: Stretch, owner: Int64, typed: pa.Table
    ) -> Int64:
        """The row above each row; rows at the top name themselves where the source's do."""
        level = _whole_numbers(typed, str(relation.level))
        wanted = [column.codes_of_texts(typed[column.name]) for column in relation.contexts]
        own = [column.codes(typed[column.source]) for column in relation.contexts]
        above = match.above(
            level,
            owner if relation.within_owner else np.zeros(len(level), np.int64),
            _whole_numbers(typed, relation.count),
            _stack(wanted, len(level)),
            _stack(own, len(level)),
            self._rng(table.name, table.relations.index(relation), stretch.index),
        )
        return np.where(above < 0, np.arange(len(above)), above) if relation.itself else above

    def _keys(
        self,
        table: TableSpec,
        part: Part,
        parts: Mapping[str, Part],
        made: Mapping[str, pa.Table],
        first: int,
    ) -> dict[str, pa.Array]:
        """The cells of keys and foreign keys."""
        cells: dict[str, pa.Array] = {}
        kinds = table.schema_of_keys
        for one in table.parts:
            numbers = first + np.arange(part.rows)
            if one.style == "counted":
                numbers = _within(part.owner)
            cells[one.column] = one.made(numbers, kinds.field(one.column).type)
        # A relation to the table itself needs its keys; one that follows says what others have said already.
        for place in sorted(range(len(table.relations)), key=lambda p: table.relations[p].role == "self"):
            relation = table.relations[place]
            if relation.role == "chosen":
                source, index = self._whole(relation.parent).keys, part.named[place]
            elif relation.role == "self":
                source, index = pa.table({c: cells[c] for c in table.key}), part.named[place]
            else:
                source, index = made[relation.parent], self._ancestor(table, relation.parent, parts)
            for column, key in zip(relation.columns, self.spec.table(relation.parent).key, strict=True):
                found = flat(source[key]).take(pa.array(np.maximum(index, 0), mask=index < 0))
                cells[column] = cast_cells(found, kinds.field(column).type)
        return cells

    def _ancestor(self, table: TableSpec, name: str, parts: Mapping[str, Part]) -> Int64:
        """The row of a table above each row, along owners."""
        index, relation = parts[table.name].owner, table.owner
        while relation is not None and relation.parent != name:
            index, relation = (
                _through(parts[relation.parent].owner, index),
                self.spec.table(relation.parent).owner,
            )
        return index

    def _whole(self, name: str) -> Whole:
        if name not in self._wholes:
            table = self.spec.table(name)
            typed, keys = [], []
            offsets = {one.name: 0 for one in self.spec.tables}
            for stretch in self.plan.stretches():
                if stretch.root != self.spec.root_of(name):
                    continue
                parts = self.parts(stretch, {name})
                made: dict[str, pa.Table] = {}
                for one, part in parts.items():
                    cells = self._keys(self.spec.table(one), part, parts, made, offsets[one])
                    made[one] = pa.table(cells)
                    offsets[one] += part.rows
                typed.append(parts[name].typed.select(self._telling(name)))
                keys.append(made[name].select(list(table.key)))
            # In one piece: rows are then taken without a copy of the column.
            whole = Whole(pa.concat_tables(typed).combine_chunks(), pa.concat_tables(keys).combine_chunks())
            for count in self._counts_of(name):
                rng = self._rng(name, table.counts.index(count), DEALT)
                whole.tickets[count] = match.tickets(_whole_numbers(whole.typed, count), rng)
            if not whole.keys.num_rows:
                raise UserError(
                    f"{name!r} would have no rows, and others name them; ask for more", field="scale"
                )
            self._wholes[name] = whole
        return self._wholes[name]

    def _counts_of(self, name: str) -> list[str]:
        return [relation.count for relation in self._choosing(name)]

    def _telling(self, name: str) -> list[str]:
        """Columns that are compared where rows of a table are chosen, and those of how many are due."""
        sources = [column.source for one in self._choosing(name) for column in one.contexts]
        return list(dict.fromkeys([*sources, *self._counts_of(name)]))

    def _choosing(self, name: str) -> list[RelationSpec]:
        relations = [relation for table in self.spec.tables for relation in table.relations]
        return [one for one in relations if one.parent == name and one.role == "chosen"]

    def _drawn(
        self, table: TableSpec, given: Mapping[str, pa.Array], rows: int, path: tuple[int, ...]
    ) -> Batch:
        """Rows of a table's model given some of its columns, in blocks of 1,024 computed at that shape."""
        generator = self.generators[table.name]
        codec = generator.codec
        spans = len(codec.layout.discrete)  # type: ignore[attr-defined]
        codes_NS, given_NS = (
            torch.zeros(rows, spans, dtype=torch.int64),
            torch.zeros(rows, spans, dtype=torch.bool),
        )
        # Codecs leave out what is the same in all rows.
        known = {name: cells for name, cells in given.items() if name in codec.schema.names}
        if known and rows:
            batch, given_NS = codec.encode_known(pa.table(known), field="given")
            codes_NS = batch["codes"]
        batch = self._blocks(generator, codes_NS, given_NS, path)
        wrong = self._broken(codec, batch)
        for attempt in range(1, ATTEMPTS):
            if not len(wrong):
                return batch
            # What breaks a constraint is drawn again, given the same; rows of one block stay together.
            rows_W = torch.from_numpy(wrong)
            again = self._blocks(generator, codes_NS[rows_W], given_NS[rows_W], (*path, AGAIN, attempt))
            order = np.arange(rows)
            order[wrong] = rows + np.arange(len(wrong))
            batch = concat([batch, again]).take(torch.from_numpy(order))
            wrong = wrong[self._broken(codec, again)]
        if len(wrong):
            raise TooRareError(
                f"tables.{table.name}: of {rows:,} rows {len(wrong):,} break {subject(codec, '')} however"
                " often they are drawn; relax it, or train on more rows",
                field=CONSTRAINTS,
            )
        return batch

    def _blocks(
        self, generator: Generator, codes_NS: torch.Tensor, given_NS: torch.Tensor, path: tuple[int, ...]
    ) -> Batch:
        """Rows given some of their codes."""
        model, rows = generator.model, len(codes_NS)
        device, blocks = device_of(model), []
        for block, first in enumerate(range(0, max(rows, 1), BLOCK_ROWS)):
            draws = torch.Generator(device).manual_seed(block_seed(self.plan.seed, PATH, *path, block))
            codes_BS, given_BS = (as_block(part, first).to(device) for part in (codes_NS, given_NS))
            with torch.inference_mode():
                made = model.complete(codes_BS, given_BS, generator=draws)
            noise = torch.randint(2**62, (BLOCK_ROWS,), generator=draws, device=device)
            blocks.append(made.with_(noise=noise).to("cpu").take(slice(0, rows - first)))
        return concat(blocks)

    def _broken(self, codec: Codec, batch: Batch) -> Int64:
        """Rows that break a constraint which no construction meets."""
        if not batch.num_rows or not codec.checked:
            return np.zeros(0, dtype=np.int64)
        met = codec.accepts(codec.condition_table(batch))
        return np.zeros(0, dtype=np.int64) if met is None else np.flatnonzero(~met)

    def _asked(self, table: TableSpec, rows: int, path: tuple[int, ...]) -> Batch:
        """Rows of a table without an owner that meet the plan's conditions; nothing is given of them."""
        where = Where.parse(self.plan.where[table.name])
        sampler = self.generators[table.name].sampler
        return concat(list(sampler.seeded(rows, seed=self.plan.seed, path=(PATH + 1, *path), where=where)))

    def _typed(self, table: TableSpec, batch: Batch) -> pa.Table:
        codec = self.generators[table.name].codec
        return codec.condition_table(batch) if batch.num_rows else codec.typed_schema.empty_table()

    def _with_owners(self, names: set[str]) -> set[str]:
        found, waiting = set(), list(names)
        while waiting:
            name = waiting.pop()
            found.add(name)
            owner = self.spec.table(name).owner
            waiting += [owner.parent] if owner is not None else []
        return found

    def _rng(self, name: str, *path: int) -> np.random.Generator:
        seed = block_seed(self.plan.seed, PATH, self._number(name), *path)
        return np.random.Generator(np.random.Philox(key=seed))

    def _number(self, name: str) -> int:
        return self._numbers[name]

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {table.name: number for number, table in enumerate(self.spec.tables)}


def _whole_numbers(table: pa.Table, name: str) -> Int64:
    """A column of whole numbers that are not missing, (N,)."""
    return np.maximum(np.asarray(flat(table[name]).fill_null(0), dtype=np.int64), 0)


def _through(values: Int64, index: Int64) -> Int64:
    """The values at an index, -1 where it is -1."""
    return np.where(index >= 0, values[np.maximum(index, 0)], -1) if len(values) else np.full(len(index), -1)


def _within(owner: Int64) -> Int64:
    """The place of each row among those of its owner, which are neighbours."""
    starts = np.flatnonzero(np.r_[True, owner[1:] != owner[:-1]]) if len(owner) else np.zeros(0, np.int64)
    return np.arange(len(owner)) - np.repeat(starts, np.diff(np.r_[starts, len(owner)]))


def _stack(codes: list[Int64], rows: int) -> Int64:
    return np.column_stack(codes) if codes else np.zeros((rows, 0), np.int64)
