"""Several tables: a table of what each model learns, and the codecs, parents first. Needs no cluster.

A model learns its table's own columns, how many children a row has in each other table, and codes of the
parents' columns (`data.relations.context`). Whatever it is told or asks for later is one of its columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from synthmill.config import DataConfig, ModelConfig, Recipe, SplitConfig, dump, parse_model
from synthmill.data.codecs.constrained import ConstrainedCodec, fit_codec
from synthmill.data.codecs.discrete import DiscreteCodec
from synthmill.data.columns import Int64
from synthmill.data.constraints.base import constraints_of
from synthmill.data.people import MOST_ROWS, NEIGHBOURS
from synthmill.data.rebuilding import check_rows, make_plan
from synthmill.data.relations.context import ContextColumn, association, fit_context
from synthmill.data.relations.database import Database, data_config, told
from synthmill.data.relations.graph import Relation, ancestors
from synthmill.data.relations.keys import KeyPart, can_be_made, fit_counted, fit_made
from synthmill.data.relations.spec import NAMED, NONE, FamiliesSpec, RelationSpec, TableSpec, packed_schema
from synthmill.data.schema import ColumnRule, Rules
from synthmill.data.split import Split, SplitTables
from synthmill.errors import ConstraintsError, DataError, RecipeError, TablesError, UserError
from synthmill.models.base import model_class
from synthmill.training.prepare import Rows, resolve

WEAK = 0.03
"""Association below which a parent's column is no help to its children."""


@dataclass(frozen=True)
class Task:
    """One table's model before it is trained."""

    recipe: Recipe
    """Resolved."""
    rows: Rows
    spec: TableSpec


def plan_tables(base: Database) -> list[Task]:
    """What to train, parents first; every table's codec is fitted on its training rows.

    Raises:
        DataError: tables that can't be learnt, all faults of all of them at once.
    """
    name = base.config.model.name
    if not model_class(name).completes:
        raise RecipeError(
            f"{name!r} can't complete rows, as children of given parents need; choose autoregressive",
            field="model.name",
        )
    tasks: dict[str, Task] = {}
    faults: list[str] = []
    for table in base.order:
        if any(relation.parent not in tasks for relation in base.of(table) if relation.parent != table):
            continue  # A parent is at fault; its children need its columns.
        try:
            tasks[table] = _Planner(base, table, tasks).task()
        except UserError as fault:
            faults += told(table, fault)
    if len(faults) > 1:
        raise TablesError(faults)
    if faults:
        raise DataError(faults[0])
    return list(tasks.values())


def families_of(tasks: Sequence[Task]) -> FamiliesSpec:
    """What sampling needs beside the models."""
    return FamiliesSpec(tables=tuple(task.spec for task in tasks))


class _Planner:
    """One table, whose parents are planned."""

    def __init__(self, base: Database, name: str, tasks: dict[str, Task]) -> None:
        self.base, self.name, self.tasks = base, name, tasks
        self.config = base.config.tables[name]
        self.table = base.table(name)
        self.train = np.flatnonzero(base.sides[name] == 0)
        self.own = [column for column in self.table.column_names if column not in base.key_columns(name)]
        self.names = set(self.table.column_names)
        self.columns: dict[str, pa.Array] = {}
        """Of the model beside the table's own, in order."""
        self.rules: dict[str, ColumnRule] = {}

    def task(self) -> Task:
        parts, unique = self._key_parts()
        relations = tuple(self._relation(relation, unique) for relation in self.base.of(self.name))
        # Own columns come after what is given: half of the batches are learnt in this order.
        given = dict(self.columns)
        # Codes are categories even where few rows have each.
        codes = [name for name, cells in given.items() if pa.types.is_string(cells.type)]
        self.rules |= {name: ColumnRule(kind="categorical") for name in codes}
        self.columns = {}
        counts = tuple(self._count(relation) for relation in self.base.to(self.name))
        if not given and not self._varies(counts):
            # Nothing but keys, as of a table that only pairs others: a coin is all that there is to learn.
            coin = self._fresh("coin")
            self.columns[coin] = pa.array(["heads", "tails"]).take(
                pa.array(np.arange(self.table.num_rows) % 2)
            )
            self.rules[coin] = ColumnRule(kind="categorical")
        family = self._fresh("family")
        table = self._model_table(given, family)
        recipe = self._recipe(family)
        rows = self._fit(recipe, table, family)
        owner = next((one for one in self.base.of(self.name) if one.role == "owner"), None)
        made = self.base.key_columns(self.name) - set(self.own)
        spec = TableSpec(
            name=self.name,
            columns=tuple(self.table.column_names),
            key_schema=packed_schema(pa.schema([field for field in self.table.schema if field.name in made])),
            key=self.base.keys[self.name],
            parts=parts,
            unique_parent=unique,
            relations=relations,
            own=tuple(self.own),
            counts=tuple(dict.fromkeys(counts)),
            rows=self.table.num_rows,
            free_rows=0 if owner is None else int((owner.index < 0).sum()),
        )
        return Task(recipe, rows, spec)

    def _key_parts(self) -> tuple[tuple[KeyPart, ...], int | None]:
        """How columns of the key that no foreign key fills are made, and the relation that tells rows of an
        owner apart where there are none."""
        relations = self.base.of(self.name)
        filled = set().union(*(one.columns for one in relations)) if relations else set()
        key = self.base.keys[self.name]
        free = [column for column in key if column not in filled]
        if not key:
            return (), None
        if not free:
            inside = [n for n, one in enumerate(relations) if set(one.columns) <= set(key)]
            chosen = [n for n in inside if relations[n].role == "chosen"]
            return (), chosen[0] if chosen else None
        owner = next((one for one in relations if one.role == "owner" and set(one.columns) <= set(key)), None)
        made = [column for column in free if can_be_made(self.table[column])]
        if not made:
            raise DataError(
                f"key {', '.join(key)!r} has no column of whole numbers or text that could be numbered anew;"
                " state another key, or none"
            )
        telling = max(
            made,
            key=lambda column: self.table[column].combine_chunks().dictionary_encode().dictionary.__len__(),
        )
        part = fit_counted(telling, self.table, owner.index) if owner is not None else None
        if part is None:
            rule = self.config.columns.get(telling, ColumnRule())
            part = fit_made(telling, self.table.take(pa.array(self.train)), self.table, rule)
        # One column tells rows apart; the others are learnt like any.
        self.own = [c for c in self.table.column_names if c in self.own or (c in free and c != telling)]
        return (part,), None

    def _relation(self, relation: Relation, unique: int | None) -> RelationSpec:
        spec = RelationSpec(
            columns=relation.columns,
            parent=relation.parent,
            role=relation.role,
            count="" if relation.role == "follows" else count_name(relation),
        )
        if relation.role == "follows":
            return spec
        if relation.role == "self":
            return self._above(relation, spec)
        if relation.role == "owner":
            key = self.base.keys[self.name]
            alone = bool(key) and set(relation.columns) == set(key)
            spec = spec.model_copy(update={"most": 1 if alone else None})
        elif (relation.index < 0).any():
            spec = spec.model_copy(update={"flag": self._fresh(f"{relation.parent} named")})
            words = np.where(relation.index >= 0, NAMED, NONE)
            self.columns[str(spec.flag)] = pa.array(words.tolist(), pa.string())
        contexts = self._contexts(relation)
        for column, codes in contexts:
            self.columns[column.name] = column.texts(codes)
        return spec.model_copy(update={"contexts": tuple(column for column, _ in contexts)})

    def _above(self, relation: Relation, spec: RelationSpec) -> RelationSpec:
        """A relation to the table itself: the level is learnt, and some columns of the row above."""
        level = self._fresh("level")
        self.columns[level] = pa.array(self.base.levels[self.name])
        self.rules[level] = ColumnRule(kind="integer", minimum=0)
        owner = next((one for one in self.base.of(self.name) if one.role == "owner"), None)
        named = np.flatnonzero((relation.index >= 0) & (relation.index != np.arange(len(relation.index))))
        within = owner is not None and np.array_equal(owner.index[named], owner.index[relation.index[named]])
        at_top = relation.index[self.base.levels[self.name] == 0]
        found: list[ContextColumn] = []
        index = np.where(relation.index == np.arange(len(relation.index)), -1, relation.index)
        for column, codes in self._ranked(
            self._candidates({self.name: index}), self.base.config.context_columns // 3
        ):
            found.append(column)
            self.columns[column.name] = column.texts(codes)
        return spec.model_copy(
            update={
                "level": level,
                "within_owner": within,
                "itself": bool((at_top >= 0).sum() * 2 > len(at_top)),
                "contexts": tuple(found),
            }
        )

    def _contexts(self, relation: Relation) -> list[tuple[ContextColumn, Int64]]:
        """Columns of the parent that tell most of the child, with the codes of each row; of an owner those
        of the tables above it too."""
        limit = self.base.config.context_columns
        if relation.role == "owner":
            return self._ranked(self._candidates(ancestors(relation, self.base.relations)), limit)
        return self._ranked(self._candidates({relation.parent: relation.index}), limit // 3)

    def _candidates(self, above: dict[str, Int64]) -> list[tuple[ContextColumn, Int64]]:
        found = []
        for parent, index in list(above.items())[:2]:
            table = self._learnt(parent)
            train = np.flatnonzero(self.base.sides[parent] == 0)
            for source in table.column_names:
                name = self._fresh(f"{parent}.{source}")
                column = fit_context(name, parent, source, table[source].take(pa.array(train)))
                if column is not None:
                    codes = column.codes(table[source])
                    found.append((column, np.where(index >= 0, codes[np.maximum(index, 0)], -1)))
        return found

    def _learnt(self, parent: str) -> pa.Table:
        """The columns of a parent that its model learns and its generated rows have."""
        if parent == self.name:
            return self.table.select(self._plain_own())
        task = self.tasks[parent]
        profile = task.rows.codec.profile
        assert profile is not None, "a table's codec has a profile"
        kept = [
            name
            for name in (*task.spec.own, *task.spec.counts)
            if profile.column(name).kind not in ("identifier", "constant")
        ]
        return task.rows.source.table.select(kept)

    def _plain_own(self) -> list[str]:
        """Own columns that are no identifiers, as far as can be seen before the codec is fitted."""
        rows = max(1, self.table.num_rows)
        return [
            name
            for name in self.own
            if self.config.columns.get(name, ColumnRule()).kind not in ("identifier", "drop")
            and not (
                pa.types.is_string(self.table.schema.field(name).type)
                and len(self.table[name].unique()) * 2 > rows
            )
        ]

    def _ranked(
        self, candidates: list[tuple[ContextColumn, Int64]], most: int
    ) -> list[tuple[ContextColumn, Int64]]:
        """The candidates that tell most of any own column, or of what is given already, the best first."""
        asked = []
        train = pa.array(self.train)
        for name in self._plain_own():
            column = fit_context(name, self.name, name, self.table[name].take(train))
            if column is not None:
                asked.append((column.codes(self.table[name].take(train)), column.width))
        for relation in self.base.to(self.name):
            numbers = pa.array(_children(relation, self.table.num_rows)[self.train])
            column = fit_context("count", self.name, "count", numbers)
            if column is not None:
                asked.append((column.codes(numbers), column.width))
        for cells in self.columns.values():
            coded = cells.take(train).cast(pa.string()).fill_null("").dictionary_encode()
            asked.append((np.asarray(coded.indices, dtype=np.int64), len(coded.dictionary)))
        scores = []
        for column, codes in candidates:
            own = np.where(codes < 0, column.width - 1, codes)[self.train]
            best = max((association(own, column.width, other, width) for other, width in asked), default=0.0)
            scores.append(best)
        order = sorted(range(len(candidates)), key=lambda i: -scores[i])
        return [candidates[i] for i in order if scores[i] > WEAK][:most]

    def _varies(self, counts: Sequence[str]) -> bool:
        """Whether a model of the table alone would have something to learn."""
        columns = [self.columns[name] for name in counts] + [self.table[name] for name in self._plain_own()]
        return any(len(column.unique()) > 1 for column in columns)

    def _count(self, relation: Relation) -> str:
        name = count_name(relation)
        self.columns[name] = pa.array(_children(relation, self.table.num_rows))
        self.rules[name] = ColumnRule(kind="integer", minimum=0)
        return name

    def _model_table(self, given: dict[str, pa.Array], family: str) -> pa.Table:
        table = self.table.select(self.own)
        for place, (name, cells) in enumerate(given.items()):
            table = table.add_column(place, name, pa.chunked_array([cells]))
        for name, cells in self.columns.items():
            table = table.append_column(name, pa.chunked_array([cells]))
        return table.append_column(family, pa.array(self._people()))

    def _people(self) -> Int64:
        """Whose each row is: the highest row above it whose table has few of these rows each; the row itself
        without one. What few of them share is not learnt."""
        owner = next((one for one in self.base.of(self.name) if one.role == "owner"), None)
        rows = np.arange(self.table.num_rows)
        people = rows
        if owner is not None:
            for index in ancestors(owner, self.base.relations).values():
                named = len(np.unique(index[index >= 0]))
                if named and named * MOST_ROWS > len(rows) and named > 2 * NEIGHBOURS:
                    people = np.where(index >= 0, index, len(rows) + rows)
        return people

    def _recipe(self, family: str) -> Recipe:
        base = self.base.config
        split = SplitConfig(
            validation=base.split.validation, holdout=base.split.holdout, seed=base.split.seed, group=family
        )
        target = self.config.target
        if target is not None and target not in self.own:
            raise RecipeError(
                f"{target!r} is no column that is learnt; choose another, or none", field="target"
            )
        data = data_config(self.name, self.config, split).model_copy(update={"target": target})
        training = {**dump(base.training), **self.config.training}
        plain: dict[str, Any] = {
            "name": base.name,
            "data": dump(data),
            "model": dump(
                ModelConfig(name=base.model.name, config={**base.model.config, **self.config.model})
            ),
            "training": training,
        }
        return resolve(parse_model(Recipe, plain))

    def _fit(self, recipe: Recipe, table: pa.Table, family: str) -> Rows:
        source = self.base.sources[self.name]
        # Keys were read as such; those that are learnt all the same are what they look like.
        stated = self.config.columns.keys() | (source.rules.keys() - self.base.key_columns(self.name))
        rules = {name: rule for name, rule in source.rules.items() if name in stated and name in self.own}
        rules |= self.rules
        rules[family] = ColumnRule(kind="identifier")
        parts = [table.filter(pa.array(self.base.sides[self.name] == side)) for side in range(3)]
        train, validation, holdout = parts
        if train.num_rows < NEIGHBOURS:
            raise DataError(
                f"{train.num_rows} training rows are too few to learn from without copying one; leave the"
                " table out, and its key is a column of categories where it is a foreign key"
            )
        self._check_constraints(recipe.data, rules)
        codec = fit_codec(model_class(recipe.model.name).encoding, train, recipe.data, rules)
        assert isinstance(codec, DiscreteCodec | ConstrainedCodec), "models that complete rows read codes"
        if codec.unique:
            raise DataError(
                f"{codec.unique[0].text}: families of rows are made apart from one another, and can't know"
                " each other's values; leave it out, or make it the table's key",
                field="data.constraints",
            )
        codec = codec.beside(table).without(family)
        counts = {"train": train.num_rows, "validation": validation.num_rows, "holdout": holdout.num_rows}
        split = Split(
            seed=recipe.data.split.seed,
            group=family,
            validation=recipe.data.split.validation,
            holdout=recipe.data.split.holdout,
            counts=counts,
            source_sha256=source.sha256,
        )
        learnt = replace(source, table=table, rules=rules)
        return Rows(learnt, SplitTables(train, validation, holdout, split), codec)

    def _check_constraints(self, data: DataConfig, rules: Rules) -> None:
        """
        Raises:
            ConstraintsError: constraints that name other tables' columns or keys, contradict each other, or
            that rows of the source break.
        """
        if not data.constraints:
            return
        others = sorted(set(self.base.order) - {self.name})
        faults = []
        for one in constraints_of(data.constraints):
            for column in one.columns:
                if column in self.own:
                    continue
                if column in self.table.column_names:
                    faults.append(f"{one.field}: {column!r} is of a key, which is made anew; leave it out")
                elif any(column.startswith(f"{other}.") for other in others):
                    faults.append(
                        f"{one.field}: {column!r} is another table's; constraints hold within a row of one"
                    )
        if faults:
            raise ConstraintsError(faults, field="data.constraints")
        plan = make_plan(data.constraints, self.table.select(self.own).schema, rules)
        check_rows(plan.constraints, self.table.select(self.own))

    def _fresh(self, name: str) -> str:
        """A name that no column has."""
        while name in self.names:
            name += "'"
        self.names.add(name)
        return name


def count_name(relation: Relation) -> str:
    """The parent's column of how many children a row has."""
    return f"rows of {relation.text}"


def _children(relation: Relation, rows: int) -> Int64:
    """How many rows name each row of the parent, (rows,); rows that name themselves are not their own."""
    index = relation.index
    if relation.parent == relation.child:
        index = np.where(index == np.arange(len(index)), -1, index)
    return np.bincount(index[index >= 0], minlength=rows).astype(np.int64)
