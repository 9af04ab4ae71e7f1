"""What can be wrong with several tables, all of it at once and before anything is trained: a line for each
fault, with counts and rows."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa

from synthmill.data.columns import Int64
from synthmill.data.relations.cells import comparable, examples, family, places, repeated
from synthmill.data.relations.graph import Relation, in_order
from synthmill.data.relations.schema import ForeignKey
from synthmill.errors import did_you_mean

Keys = Mapping[str, tuple[str, ...]]
Foreign = Mapping[str, Sequence[ForeignKey]]


def faults_of_names(names: Mapping[str, Sequence[str]], keys: Keys, foreign: Foreign) -> list[str]:
    """Tables and columns that are not there; `names` are the columns of each table."""
    faults = []
    for table, key in keys.items():
        for column in key:
            if column not in names[table]:
                faults.append(_no_column(table, "key", column, names[table]))
        if len(set(key)) < len(key):
            faults.append(f"tables.{table}.key: names a column twice")
    for table, own in foreign.items():
        for one in own:
            faults += [
                _no_column(table, "foreign_keys", column, names[table])
                for column in one.columns
                if column not in names[table]
            ]
            faults += _faults_of_parent(table, one, keys)
        texts = [set(one.columns) for one in own]
        if any(texts.count(columns) > 1 for columns in texts):
            faults.append(f"tables.{table}.foreign_keys: two of them have the same columns; keep one")
    return faults


def _faults_of_parent(table: str, one: ForeignKey, keys: Keys) -> list[str]:
    where = f"tables.{table}.foreign_keys"
    if one.table not in keys:
        return [f"{where}: no table named {one.table!r}{did_you_mean(one.table, keys)}"]
    key = keys[one.table]
    if not key:
        return [f"{where}: {one.text!r}, but {one.table!r} has no key; state `key` there"]
    if len(key) != len(one.columns):
        return [
            f"{where}: {one.text!r} has {len(one.columns)} columns, the key of {one.table!r} has {len(key)}"
            f" ({', '.join(key)}); name as many, in that order"
        ]
    return []


def faults_of_order(names: Sequence[str], foreign: Foreign) -> list[str]:
    """A cycle between tables: none of them could be generated first."""
    edges = [(table, one.table) for table, own in foreign.items() for one in own]
    _, cycle = in_order(list(names), edges)
    if not cycle:
        return []
    ways = [
        f"{child} ({', '.join(next(one.columns for one in foreign[child] if one.table == parent))})"
        for child, parent in pairwise(cycle)
    ]
    return [
        f"tables: {' -> '.join([*ways, cycle[-1]])} is a cycle, so that no table could come first; leave one"
        " of these foreign keys out of the schema, and drop its column or learn it as categories"
    ]


def faults_of_rows(tables: Mapping[str, pa.Table], keys: Keys, foreign: Foreign) -> list[str]:
    """Keys that are missing or come twice, and foreign keys of another type or without a row."""
    faults = []
    for table, key in keys.items():
        if key:
            faults += _key_faults(table, tables[table], key)
    for table, own in foreign.items():
        for one in own:
            fault = _foreign_fault(table, one, tables, keys[one.table])
            faults += [fault] if fault else []
    return faults


def relations_of(tables: Mapping[str, pa.Table], keys: Keys, foreign: Foreign) -> list[Relation]:
    """The foreign keys with the rows that they name, of tables without faults."""
    return [
        Relation(
            table,
            one.columns,
            one.table,
            places(comparable(tables[table], one.columns), comparable(tables[one.table], keys[one.table])),
        )
        for table, own in foreign.items()
        for one in own
    ]


def levels_of(relation: Relation) -> tuple[Int64, Int64]:
    """Of a table's relation to itself: how many rows are above each row, and the rows that never come to one
    without a parent; rows that name themselves are at the top."""
    rows = len(relation.index)
    above = np.where(relation.index == np.arange(rows), -1, relation.index)
    level = (above >= 0).astype(np.int64)
    # Steps double each turn: after log2(rows) turns, whoever has a row above is in a cycle or below one.
    for _ in range(rows.bit_length() + 1):
        there = np.maximum(above, 0)
        level += np.where(above >= 0, level[there], 0)
        above = np.where(above >= 0, above[there], -1)
    return level, np.flatnonzero(above >= 0)


def cycle_fault(relation: Relation, table: pa.Table, rows: Int64) -> str:
    """The line for rows that are above themselves."""
    shown = examples(table, relation.columns, rows)
    return (
        f"tables.{relation.child}: {len(rows):,} rows of {table.num_rows:,} never come to a row without"
        f" {', '.join(relation.columns)!r}, as some are above themselves, such as {shown}; mend them"
    )


def _key_faults(name: str, table: pa.Table, key: tuple[str, ...]) -> list[str]:
    where, rows = f"tables.{name}.key", table.num_rows
    cells = comparable(table, key)
    missing = np.flatnonzero(np.asarray(cells.is_null()))
    again = repeated(cells)
    faults = []
    if len(missing):
        numbers = ", ".join(f"{row + 1:,}" for row in missing[:3].tolist())
        faults.append(
            f"{where}: {', '.join(key)!r} is missing in {len(missing):,} rows of {rows:,} (row {numbers})"
        )
    if len(again):
        fix = "drop them, or state a key that tells rows apart"
        faults.append(
            f"{where}: {len(again):,} rows of {rows:,} repeat {', '.join(key)!r} of an earlier row, such as"
            f" {examples(table, key, again)}; {fix}"
        )
    return faults


def _foreign_fault(
    name: str, one: ForeignKey, tables: Mapping[str, pa.Table], key: tuple[str, ...]
) -> str | None:
    table, parent = tables[name], tables[one.table]
    for column, other in zip(one.columns, key, strict=True):
        kinds = family(table[column]), family(parent[other])
        if kinds[0] != kinds[1] and "nothing" not in kinds:
            return (
                f"tables.{name}.foreign_keys: {column!r} holds {kinds[0]}, and {other!r} of {one.table!r}"
                f" {kinds[1]}; store both as the same type"
            )
    index = places(comparable(table, one.columns), comparable(parent, key))
    orphans = np.flatnonzero(index == -2)
    if not len(orphans):
        return None
    return (
        f"tables.{name}.foreign_keys: {', '.join(one.columns)!r} of {len(orphans):,} rows of"
        f" {table.num_rows:,} is in no row of {one.table!r}, such as"
        f" {examples(table, one.columns, orphans)}; drop these rows, add what they name, or leave it out of"
        " the table's foreign_keys"
    )


def _no_column(table: str, section: str, column: str, names: Sequence[str]) -> str:
    return f"tables.{table}.{section}: no column named {column!r}{did_you_mean(column, names)}"
