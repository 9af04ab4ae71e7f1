"""Several tables as one: read, their keys and relations settled and checked, families of rows divided.

Everything that is wrong is said here, before anything is fitted, and everything that was guessed is a note.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from synthmill.config import DataConfig, SplitConfig, parse_model
from synthmill.data.columns import Int64
from synthmill.data.readers.base import Source
from synthmill.data.relations import checks
from synthmill.data.relations.graph import Relation, decide, in_order, owner_of
from synthmill.data.relations.guess import guess_foreign_keys, guess_key
from synthmill.data.relations.schema import ForeignKey, TableConfig, TablesConfig
from synthmill.data.schema import ColumnRule, Rules
from synthmill.data.split import sides_of_keys
from synthmill.data.written import form_of
from synthmill.errors import ColumnsError, DataError, TablesError, UserError

Read = Callable[[str, DataConfig, Rules], Source]
"""Reads the source of a table, by its name, with what is known of its columns."""


@dataclass(frozen=True)
class Database:
    """Tables without faults, in an order in which parents come first."""

    config: TablesConfig
    sources: dict[str, Source]
    keys: dict[str, tuple[str, ...]]
    relations: list[Relation]
    """With their roles."""
    sides: dict[str, Int64]
    """Of each row: 0 train, 1 validation, 2 holdout; that of the row at the top of its family."""
    levels: dict[str, Int64] = field(default_factory=dict)
    """Of tables with a relation to themselves: how many rows are above each."""
    notes: tuple[str, ...] = ()

    @property
    def order(self) -> list[str]:
        return list(self.sources)

    def table(self, name: str) -> pa.Table:
        """All rows, typed."""
        return self.sources[name].table

    def of(self, name: str) -> list[Relation]:
        """A table's relations to its parents."""
        return [one for one in self.relations if one.child == name]

    def to(self, name: str) -> list[Relation]:
        """Relations whose parent a table is, those to itself among them, but for those that only follow."""
        return [one for one in self.relations if one.parent == name and one.role != "follows"]

    def key_columns(self, name: str) -> set[str]:
        """Columns that are made anew: of the key and of foreign keys."""
        return set(self.keys[name]).union(*(one.columns for one in self.of(name)))

    def owner(self, name: str) -> Relation | None:
        return owner_of(name, self.relations)


def assemble(config: TablesConfig, read: Read) -> Database:
    """Read every table and settle what the schema leaves open.

    Raises:
        DataError: whatever is wrong with the tables, every fault at once where they can be seen together.
    """
    sources = _read_all(config, read)
    names = {name: source.table.column_names for name, source in sources.items()}
    keys, foreign, notes = _settle(config, sources)
    _stop(checks.faults_of_names(names, keys, foreign))
    sources = _reread(config, sources, keys, foreign, read)
    tables = {name: source.table for name, source in sources.items()}
    _stop([*checks.faults_of_order(list(tables), foreign), *checks.faults_of_rows(tables, keys, foreign)])
    relations = checks.relations_of(tables, keys, foreign)
    order, _ = in_order(list(tables), [(one.child, one.parent) for one in relations])
    relations = decide(order, relations, keys)
    levels, faults = {}, []
    for one in (one for one in relations if one.role == "self"):
        if one.child in levels:
            faults.append(f"tables.{one.child}: has two foreign keys to itself; keep one, and drop the other")
        levels[one.child], stuck = checks.levels_of(one)
        if len(stuck):
            faults.append(checks.cycle_fault(one, tables[one.child], stuck))
    _stop([*faults, *_shared_columns(relations)])
    sides = _sides(config, order, tables, relations)
    return Database(
        config, {name: sources[name] for name in order}, keys, relations, sides, levels, tuple(notes)
    )


def data_config(name: str, table: TableConfig, split: SplitConfig | None = None) -> DataConfig:
    """What a recipe of one table would say of its data.

    Raises:
        RecipeError: a value of another type; names the key.
    """
    given = {**table.data, "source": table.source, "kind": "table"}
    return parse_model(DataConfig, {**given, **({"split": split} if split else {})}, prefix="data")


def _read_all(config: TablesConfig, read: Read) -> dict[str, Source]:
    sources, faults = {}, []
    for name, table in config.tables.items():
        try:
            sources[name] = read(name, data_config(name, table), table.columns)
        except UserError as fault:
            faults += told(name, fault)
    _stop(faults)
    return sources


def _rules(table: TableConfig, keys: set[str]) -> Rules:
    return {
        **table.columns,
        **{name: table.columns.get(name, ColumnRule(kind="identifier")) for name in keys},
    }


def told(name: str, fault: UserError) -> list[str]:
    """The lines of a fault of one table, which say whose it is."""
    lines = fault.faults if isinstance(fault, ColumnsError) else [str(fault)]
    here = "in its section of the schema"
    plain = [line.replace("with a schema file", here).replace("in a schema file", here) for line in lines]
    return [f"tables.{name}: {line.removeprefix('data.source: ')}" for line in plain]


def _settle(
    config: TablesConfig, sources: Mapping[str, Source]
) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[ForeignKey, ...]], list[str]]:
    tables = {name: source.table for name, source in sources.items()}
    keys, foreign, notes = {}, {}, []
    for name, table in config.tables.items():
        keys[name] = table.key or ()
        if table.key is None:
            keys[name], note = guess_key(name, tables)
            notes.append(note)
    for name, table in config.tables.items():
        foreign[name] = table.foreign_keys or ()
        if table.foreign_keys is None:
            there = {one: key for one, key in keys.items() if set(key) <= set(tables[one].column_names)}
            foreign[name], said = guess_foreign_keys(name, tables, there)
            notes += said
    return keys, foreign, notes


def _reread(
    config: TablesConfig,
    sources: dict[str, Source],
    keys: checks.Keys,
    foreign: checks.Foreign,
    read: Read,
) -> dict[str, Source]:
    """Keys may have been read as numbers or dates in some form, which they are not: as they are, instead."""
    again = dict(sources)
    for name, table in config.tables.items():
        columns = set(keys[name]).union(*(one.columns for one in foreign[name]))
        if any(form_of(sources[name].table.schema.field(column)) for column in columns):
            again[name] = read(name, data_config(name, table), _rules(table, columns))
    return again


def _shared_columns(relations: list[Relation]) -> list[str]:
    """Foreign keys that share a column must say the same, or none could be filled without the other."""
    faults = []
    for one in relations:
        for other in relations:
            both = set(one.columns) & set(other.columns)
            ordered = (one.child, relations.index(one)) < (other.child, relations.index(other))
            if one.child == other.child and ordered and both and "follows" not in (one.role, other.role):
                faults.append(
                    f"tables.{one.child}.foreign_keys: {min(both)!r} is in both"
                    f" {'+'.join(one.columns)} -> {one.parent} and {'+'.join(other.columns)} ->"
                    f" {other.parent}, which name rows of their own; leave one of them out"
                )
    return faults


def _sides(
    config: TablesConfig, order: list[str], tables: Mapping[str, pa.Table], relations: list[Relation]
) -> dict[str, Int64]:
    split = SplitConfig(
        validation=config.split.validation, holdout=config.split.holdout, seed=config.split.seed
    )
    if split.validation + split.holdout >= 1:
        raise DataError(
            "validation and holdout leave nothing to train on; their sum must be below 1", field="split"
        )
    sides: dict[str, Int64] = {}
    for name in order:
        own = sides_of_keys(np.arange(tables[name].num_rows, dtype=np.uint64), split).astype(np.int64)
        owner = owner_of(name, relations)
        if owner is not None:
            own = np.where(owner.index >= 0, sides[owner.parent][np.maximum(owner.index, 0)], own)
        sides[name] = own
    return sides


def _stop(faults: list[str]) -> None:
    if len(faults) > 1:
        raise TablesError(faults)
    if faults:
        raise DataError(faults[0])
